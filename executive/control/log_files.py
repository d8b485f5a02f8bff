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


def last_lines(path: str, count: int) -> list[str]:
    """The last *count* lines; none, if nothing was ever written.

    Raises:
        OperationFailed: the file cannot be read.
    """
    file = _open(path)
    if file is None or not count:
        return []
    with file:
        end = position = file.seek(0, os.SEEK_END)
        tail = b""
        while position > 0 and tail.count(b"\n") <= count and end - position < LINE_BYTES_MAX * max(count, 1):
            size = min(BLOCK_BYTES, position)
            position -= size
            file.seek(position)
            tail = file.read(size) + tail
    return [_text(line) for line in tail.splitlines()[-count:]]


def follow(paths: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Lines as they are written from now on, each with the name of its application; without end.

    A file that is cut, or replaced, is read from its beginning.
    """
    tails = {name: _Tail(path) for name, path in paths.items()}
    while True:
        news = False
        for name, tail in tails.items():
            for line in tail.lines():
                news = True
                yield name, line
        if not news:
            time.sleep(LOOK_SECONDS)


class _Tail:
    """Where one file has been read to."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = _open(path)
        self._rest = b""
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)

    def lines(self) -> list[str]:
        """What is new, in whole lines."""
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
