"""Files of the state directory: read whole, replaced whole."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ...ipc.errors import OperationFailed


def read_file(path: Path) -> bytes | None:
    """The content; None if there is no such file.

    Raises:
        OperationFailed: it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OperationFailed(f"{path}: cannot be read: {error.strerror}") from None


def replace_file(path: Path, content: bytes, *, durable: bool) -> None:
    """Give the file this content, for its owner alone; it is on disk when this returns if it shall be *durable*.

    Raises:
        OperationFailed: it cannot be written; the file is as it was.
    """
    try:
        put_in_place(path, content, durable=durable)
    except OSError as error:
        raise OperationFailed(f"{path}: cannot be written: {error.strerror}") from None


def put_in_place(path: Path, content: bytes, *, durable: bool) -> None:
    """`replace_file` for those who have words of their own for a failure, which is an OSError here."""
    temporary = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(temporary, "wb", opener=_private) as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if durable:
            sync_directory(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _private(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_CLOEXEC, 0o600)


def sync_directory(directory: Path) -> None:
    """Have the names in it on disk."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
