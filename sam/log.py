"""The output of an application, written to files that are rotated.

The application writes into a pipe that sam-run reads.  It has that pipe open for reading as well, so that it is not
killed by SIGPIPE when its sam-run is: an orphan goes on until the pipe is full, and a sam-run that takes it over reads
on (`adopted_pipe`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from ..ipc.errors import InvalidArgument
from .launch import OURS_TO_MEND
from .spec import LogPolicy

READ_BYTES = 65536
READS_AT_ONCE = 16
"""So many reads before the loop turns: one noisy application does not keep others waiting."""

LOOK_SECONDS = 5.0
"""So often, at the most, it is looked whether somebody else (logrotate) has moved the file away."""

FILE_MODE = 0o640


class LogFile:
    """A file that lines are appended to, and that becomes FILE.1 before it grows too large."""

    def __init__(self, policy: LogPolicy, say: Callable[[str], None]) -> None:
        """
        Raises:
            InvalidArgument: the file cannot be opened.
            OSError: no file can be opened at the moment.
        """
        self._policy = policy
        self._say = say
        self._fd = -1
        self._size = 0
        self._at_line_begin = True
        self._complaint = ""
        try:
            self._open()
        except OSError as error:
            if error.errno in OURS_TO_MEND:
                raise
            raise InvalidArgument(f"log {policy.file}: {error.strerror}") from None

    def write(self, data: bytes, now: datetime) -> None:
        """Append; on a full disk say so once, and drop until there is room."""
        try:
            for part in self._parts(data, now):
                self._append(part)
            self._complaint = ""
        except OSError as error:
            if not self._complaint:
                self._complaint = f"log {self._policy.file}: {error.strerror}; output is dropped"
                self._say(self._complaint)

    def look(self) -> None:
        """Begin the file anew if it was moved away or removed."""
        with contextlib.suppress(OSError):
            mine = os.fstat(self._fd)
            try:
                there = os.stat(self._policy.file)
            except FileNotFoundError:
                there = None
            if there is None or (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
                self._open()
            else:
                self._size = mine.st_size  # it may have been truncated in place

    def close(self) -> None:
        """Write no more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _parts(self, data: bytes, now: datetime) -> list[bytes]:
        """Whole lines, each with its time if wanted; the last one may go on in the next call."""
        lines = data.splitlines(keepends=True) if self._policy.stamped else [data]
        if not self._policy.stamped:
            return lines
        stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3].encode() + b"Z "
        stamped = bytearray()
        for line in lines:
            stamped += stamp + line if self._at_line_begin else line
            self._at_line_begin = line.endswith((b"\n", b"\r"))
        return [bytes(stamped)]

    def _append(self, data: bytes) -> None:
        """Rotate where a line ends, if there is such a place before the limit."""
        while data:
            room = self._policy.size - self._size
            if len(data) <= room:
                self._write(data)
                return
            cut = data.rfind(b"\n", 0, max(room, 0)) + 1
            if not cut and not self._size:
                cut = self._policy.size  # one line that is longer than a whole file
            self._write(data[:cut])
            data = data[cut:]
            self._rotate()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self._size += written
            view = view[written:]

    def _rotate(self) -> None:
        file, keep = self._policy.file, self._policy.keep
        names = [file, *(file.with_name(f"{file.name}.{number}") for number in range(1, keep + 1))]
        if keep == 0:
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
        for older, newer in zip(reversed(names), [*reversed(names)][1:], strict=False):
            with contextlib.suppress(FileNotFoundError):
                newer.rename(older)
        self._open()

    def _open(self) -> None:
        fd = os.open(self._policy.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, FILE_MODE)
        self.close()
        self._fd = fd
        self._size = os.fstat(fd).st_size


class Capture:
    """The pipe between an application, all its instances, and a log file."""

    def __init__(self, policy: LogPolicy, say: Callable[[str], None], reading: int | None = None) -> None:
        """*reading* is the descriptor of an earlier pipe that goes on.

        Raises:
            InvalidArgument: the file cannot be opened.
            OSError: nothing can be opened at the moment.
        """
        self._file = LogFile(policy, say)
        self._loop = asyncio.get_running_loop()
        self._looked_at = self._loop.time()
        if reading is None:
            self._reading, only_writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            self.writing = os.open(f"/proc/self/fd/{only_writing}", os.O_RDWR | os.O_CLOEXEC)
            os.close(only_writing)
        else:
            self._reading = reading
            os.set_blocking(reading, False)
            self.writing = os.open(f"/proc/self/fd/{reading}", os.O_RDWR | os.O_CLOEXEC)
        self._loop.add_reader(self._reading, self._read)

    def close(self) -> None:
        """Write down what is still in the pipe, and no more."""
        self._read()
        self._loop.remove_reader(self._reading)
        os.close(self._reading)
        os.close(self.writing)
        self._file.close()

    def _read(self) -> None:
        now = self._loop.time()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._file.look()
        for _ in range(READS_AT_ONCE):
            try:
                data = os.read(self._reading, READ_BYTES)
            except BlockingIOError:
                return
            self._file.write(data, datetime.now(UTC))


class Output:
    """All that is captured of an application; the same file for two descriptors is one pipe."""

    def __init__(self, logs: Mapping[int, LogPolicy], say: Callable[[str], None], orphan: int = 0) -> None:
        """*orphan* is the pid of an application that is taken over: its pipes go on, if it has any.

        Raises:
            InvalidArgument: a file cannot be opened.
            OSError: nothing can be opened at the moment.
        """
        self._captures: dict[LogPolicy, Capture] = {}
        self.descriptors: dict[int, int] = {}
        """What every instance is given."""
        try:
            for number, policy in logs.items():
                if policy not in self._captures:
                    self._captures[policy] = Capture(policy, say, adopted_pipe(orphan, number) if orphan else None)
                self.descriptors[number] = self._captures[policy].writing
        except (InvalidArgument, OSError):
            self.close()
            raise

    def close(self) -> None:
        """Write down what is still on its way, and no more."""
        for capture in self._captures.values():
            capture.close()


def adopted_pipe(pid: int, number: int) -> int | None:
    """The pipe that is descriptor *number* of a process, for reading; None if it is no pipe, or out of reach."""
    path = f"/proc/{pid}/fd/{number}"
    with contextlib.suppress(OSError):
        if os.readlink(path).startswith("pipe:"):
            return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return None
