"""Reading logs of applications: the last lines, and what comes after them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from ...ipc.errors import OperationFailed

LINES_SHOWN = 100
"""Lines of the past that are shown unless something else is said."""

BLOCK_BYTES = 64 * 1024
LINE_BYTES_MAX = 1024 * 1024
"""A line that is longer is shown in parts."""

LOOK_SECONDS = 0.1
"""How often it is looked whether a file has grown."""


def follow(logs: Mapping[str, Log]) -> Iterator[tuple[str, str]]:
    """Lines as they are written, each with the name of its application; without end."""
    while True:
        news = False
        for name, log in logs.items():
            for line in log.news():
                news = True
                yield name, line
        if not news:
            time.sleep(LOOK_SECONDS)


class Log:
    """A file, first its last lines, then what follows them: nothing is left out between the two."""

    def __init__(self, path: str) -> None:
        """It begins where the file ends now; one that is not there is empty.

        Raises:
            OperationFailed: the file cannot be read.
        """
        self._path = path
        self._file = _open(path)
        self._rest = b""
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)

    def past(self, count: int, *, unfinished: bool = True) -> list[str]:
        """The last *count* lines.  The one that is still being written is among them, or left for `news`."""
        if self._file is None or not count:
            return []
        *whole, self._rest = self._tail(self._file, count).split(b"\n")
        if unfinished and self._rest:
            whole.append(self._rest)
            self._rest = b""
        return [_text(line) for line in whole[-count:]]

    def _tail(self, file: BinaryIO, lines: int) -> bytes:
        """What there is before the place that was read to, with at least so many lines if they are not too long."""
        end = position = file.tell()
        tail = b""
        while position > 0 and tail.count(b"\n") <= lines and end - position < LINE_BYTES_MAX * lines:
            size = min(BLOCK_BYTES, position)
            position -= size
            file.seek(position)
            tail = file.read(size) + tail
        file.seek(end)
        return tail

    def news(self) -> list[str]:
        """What is new, in whole lines.  A file that is cut, or replaced, is read from its beginning."""
        self._renew()
        if self._file is None:
            return []
        data = self._rest + self._file.read(BLOCK_BYTES)
        *whole, self._rest = data.split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            whole.append(self._rest)
            self._rest = b""
        return [_text(line) for line in whole]

    def _renew(self) -> None:
        """Begin again if this is not the file, or not as long, any more."""
        if self._file is None:
            self._file = _open(self._path)
            return
        mine = os.fstat(self._file.fileno())
        try:
            there = os.stat(self._path)
        except OSError:
            return
        if (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
            if self._file.tell() >= mine.st_size:  # what was written before it was replaced comes first
                self._file.close()
                self._file = _open(self._path)
        elif mine.st_size < self._file.tell():
            self._file.seek(0)


def _open(path: str) -> BinaryIO | None:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OperationFailed(f"{path}: {error.strerror}") from None


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")
