"""The cluster key: made from the kernel's generator, and refused when it is weak or not private.

Every node needs the same key; who can read it can join the cluster, so the file must be its owner's alone.
Source: corosync-keygen(8).  Unlike it, nothing is overwritten without being asked, and the file appears whole or not
at all.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable
from pathlib import Path

from ..ipc.errors import InvalidArgument, KeyFileError
from .config.model import KEY_BITS_MAX, KEY_BITS_MIN, TotemOptions
from .runtime.files import sync_directory

KEY_BITS_DEFAULT = 1024
"""Size of a new key; it is only ever the input of a key derivation, so more gives nothing."""

KEY_MODE = 0o400
"""Mode of a new key file."""

FORBIDDEN_MODE = 0o077
"""What group and others must not be allowed."""


def create_key(
    path: str | os.PathLike[str],
    bits: int = KEY_BITS_DEFAULT,
    *,
    force: bool = False,
    randomness: Callable[[int], bytes] = os.urandom,
) -> Path:
    """Write a new key to *path*, mode 0400, and return the path; with *force*, an existing file is replaced.

    At no time is there a part of a key at *path*: a complete, durable file takes its name.

    Raises:
        InvalidArgument: *bits* is out of bounds or no whole number of bytes.
        KeyFileError: the file exists (and not *force*), or cannot be written; the text says what to do.
    """
    if bits % 8 or not KEY_BITS_MIN <= bits <= KEY_BITS_MAX:
        raise InvalidArgument(
            f"a key has {KEY_BITS_MIN} to {KEY_BITS_MAX} bits, in whole bytes (a multiple of 8), not {bits}"
        )
    file = Path(path)
    if not file.parent.is_dir():
        raise KeyFileError(f"there is no directory {file.parent}; make it with: mkdir -p {_quoted(file.parent)}")
    if not force and os.path.lexists(file):
        raise _exists(file)
    try:
        _write_new(file, randomness(bits // 8), force=force)
    except FileExistsError:
        raise _exists(file) from None
    except OSError as error:
        raise KeyFileError(f"cannot write key {file}: {error.strerror}") from error
    return file


def read_key(path: str | os.PathLike[str]) -> bytes:
    """The key in *path*.

    Raises:
        KeyFileError: there is none, it is too short or too long, or others than its owner can read it; the text holds
            the command that mends it.
    """
    file = Path(path)
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise KeyFileError(
            f"Could not open {file}: there is no such key; make one with: totemctl keygen -k {_quoted(file)} "
            "and copy it to every node"
        ) from None
    except OSError as error:
        raise KeyFileError(f"Could not open {file}: {error.strerror}; run as its owner, or name another") from error
    try:
        _check_private(file, os.fstat(descriptor))
        with open(descriptor, "rb", closefd=False) as stream:
            key = stream.read(KEY_BITS_MAX // 8 + 1)
    except OSError as error:
        raise KeyFileError(f"Could not read {file}: {error.strerror}") from error
    finally:
        os.close(descriptor)
    _check_size(file, 8 * len(key))
    return key


def cluster_key(options: TotemOptions) -> bytes:
    """The key that the configuration asks for: inline, from its file, or empty if packets are not sealed.

    Raises:
        KeyFileError: as `read_key`.
    """
    if not options.sealed:
        return b""
    return read_key(options.keyfile) if options.key is None else options.key.encode()


def _write_new(file: Path, key: bytes, *, force: bool) -> None:
    """A complete temporary file first; a hard link never replaces anything, a rename always does."""
    temporary = file.with_name(f".{file.name}.{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, KEY_MODE)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, KEY_MODE)
            stream.write(key)
            stream.flush()
            os.fsync(descriptor)
        if force:
            os.replace(temporary, file)
        else:
            os.link(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(file.parent)


def _check_private(file: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{file} is no regular file, so it cannot be a key; make one with: totemctl keygen -k FILE")
    if status.st_uid not in {0, os.geteuid()}:
        raise KeyFileError(
            f"{file} belongs to user {status.st_uid}, who could exchange it; mend it with: "
            f"chown {os.geteuid()} {_quoted(file)}"
        )
    if status.st_mode & FORBIDDEN_MODE:
        raise KeyFileError(
            f"{file} has mode {stat.S_IMODE(status.st_mode):04o}, so others than its owner can use it; mend it with: "
            f"chmod {KEY_MODE:04o} {_quoted(file)}"
        )


def _check_size(file: Path, bits: int) -> None:
    if bits < KEY_BITS_MIN:
        raise KeyFileError(
            f"Could only read {bits} bits of minimum {KEY_BITS_MIN} bits from {file}: the key is too short; make "
            f"another with: totemctl keygen --force -k {_quoted(file)} and copy it to every node"
        )
    if bits > KEY_BITS_MAX:
        raise KeyFileError(
            f"{file} is too long for a key: more than {KEY_BITS_MAX} bits; make another with: "
            f"totemctl keygen --force -k {_quoted(file)} and copy it to every node"
        )


def _exists(file: Path) -> KeyFileError:
    return KeyFileError(
        f"{file} exists, and nodes that use it could no longer speak with those that got the new one; to replace it "
        f"all the same: totemctl keygen --force -k {_quoted(file)}"
    )


def _quoted(file: Path) -> str:
    return shlex.quote(str(file))
