"""Where recordings lie: the one that grows, mapped into memory, and the dumps."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import zlib
from datetime import UTC, datetime
from mmap import MAP_ANONYMOUS, MAP_POPULATE, MAP_PRIVATE, MAP_SHARED, mmap
from pathlib import Path
from typing import Final

from ....ipc.errors import OperationFailed
from .. import core, wire
from .format import BEGINNING_BYTES_MAX, FILE_BYTES_MAX, decode_header

LIVE_NAME: Final = "totem.blackbox"
"""The recording of the running process, in the run directory."""

DUMPS_NAME: Final = "blackbox"
"""Directory of the dumps, in the state directory."""

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700
_PREFIX, _TEMPORARY = "blackbox-", ".new"
_NAME_BYTES_KEPT: Final = 200
"""Of a file's name in that of its temporary one, which must not become too long for a name."""


def recording_in_memory(size: int) -> mmap:
    """The same without a file."""
    return mmap(-1, size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE)


def map_recording(path: Path, size: int) -> mmap:
    """A new file of zeros, in memory, all of it allocated, so that a disk that fills up cannot end the process later.

    All its pages are there at once, too: the process is as large at the start as later, and no input waits for one.

    Raises:
        OSError: there is no room, or no such directory.
    """
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        os.posix_fallocate(fd, 0, size)
        return mmap(fd, size, MAP_SHARED | MAP_POPULATE)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def read_file(path: Path) -> bytes:
    """A recording's bytes.  Its header is looked at first: of a file of something else no more than that is read.

    Raises:
        OperationFailed: it cannot be read, or is no file of a size that recordings have.
        MalformedMessage: it is no recording, one of another format, or its header is damaged.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OperationFailed(f"{path}: {_kind(status.st_mode)}, and a recording is a regular file")
            if status.st_size > FILE_BYTES_MAX:
                raise OperationFailed(f"{path}: {status.st_size} bytes; a recording has at most {FILE_BYTES_MAX}")
            decode_header(file.read(BEGINNING_BYTES_MAX))
            file.seek(0)
            return file.read(status.st_size)
    except OSError as error:
        raise OperationFailed(f"{path}: cannot be read: {error.strerror}") from None


def _without_waiting(name: str, flags: int) -> int:
    """Else opening a FIFO would wait for a writer."""
    return os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def destination(path: Path) -> Path:
    """The file that writing to *path* makes or replaces: itself, or what a symbolic link leads to.

    Raises:
        OperationFailed: there is something that is no regular file, or a link that leads nowhere a file could be.
    """
    real = Path(os.path.realpath(path))
    try:
        there, found = _status(path), _status(real)
    except OSError as error:
        raise OperationFailed(f"{path}: cannot be written: {error.strerror}") from None
    if there is not None and not stat.S_ISREG(there.st_mode):
        raise OperationFailed(f"{path}: {_kind(there.st_mode)}, and a recording is written to a regular file")
    # The kernel follows some links that have no path (of /proc, to a file that was removed), and does not follow those
    # that others may have laid as traps in /tmp: it decides, and what the path says must be the same.
    if (there, found) != (None, None) and (there is None or found is None or not os.path.samestat(there, found)):
        raise OperationFailed(f"{path}: cannot be written: what it leads to has no path")
    return real


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"))
    return next((name for is_one, name in kinds if is_one(mode)), "a device")


def write_file(path: Path, content: bytes) -> None:
    """Write a file for its owner only, whole or not at all; what was there under its name is replaced.

    Raises:
        OperationFailed: it cannot be written, or is something that a recording must not replace: see `destination`.
    """
    real = destination(path)
    try:
        # A name that nobody else uses, and that `Dumps` knows for its own if the process is killed before the end.
        prefix = os.fsdecode(os.fsencode(real.name)[:_NAME_BYTES_KEPT]) + "."
        fd, temporary = tempfile.mkstemp(_TEMPORARY, prefix, real.parent)  # of mode 0600
        try:
            with open(fd, "wb") as file:
                file.write(content)
            os.replace(temporary, real)
        except BaseException:
            remove(Path(temporary))
            raise
    except OSError as error:
        raise OperationFailed(f"{path}: cannot be written: {error.strerror}") from None


def remove(path: Path) -> None:
    """Remove a file if that is possible; one that stays is noticed when its place is needed."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


class Dumps:
    """The dumps of a node; the oldest go when there are too many."""

    def __init__(self, state_dir: Path, node_id: int, keep: int) -> None:
        self.directory = state_dir / DUMPS_NAME
        self._node_id = node_id
        self.keep = keep

    def write(self, content: bytes, wall: float) -> Path:
        """Keep a dump; returns its path.

        Raises:
            OperationFailed: it cannot be written.
        """
        try:
            self.directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        except OSError as error:
            raise OperationFailed(f"{self.directory}: cannot be made: {error.strerror}") from None
        moment = datetime.fromtimestamp(wall, UTC).strftime("%Y%m%dT%H%M%S.%f")
        path = self.directory / f"{_PREFIX}{self._node_id}-{moment}"
        write_file(path, content)
        self._forget_oldest()
        return path

    def _forget_oldest(self) -> None:
        for each in sorted(self.directory.glob(f"{_PREFIX}{self._node_id}-*"))[: -self.keep]:
            remove(each)


def core_checksum() -> str:
    """Tells one version of the core (and of the packets that it speaks about) from another; empty without sources."""
    checksum = 0
    for package in (core, wire):
        for folder in package.__path__:
            for path in sorted(Path(folder).glob("*.py")):
                checksum = zlib.crc32(path.read_bytes(), checksum)
    return f"{checksum:08x}" if checksum else ""
