"""A file that at most one process holds, and that tells which; the kernel lets go of it when the process ends.

A process that was just being started, and has not become its own program yet, holds it as well.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

MODE = 0o600
PID_BYTES_MAX = 32


class LockFile:
    """This process's end of the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def take(self) -> bool:
        """Whether nobody else holds it; it is this process's from now on.

        Raises:
            OSError: the file cannot be made or opened.
        """
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd
        return True


def holder(path: Path) -> int:
    """Pid of the process that holds the file; 0 if none does."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return 0
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(fd, PID_BYTES_MAX, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(fd)
    return 0
