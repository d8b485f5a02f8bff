"""The run directory and the pid file in it: one executive per run directory.

The lock, not the number in the file, says whether an executive runs; so a file left behind by a crash is harmless.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path

from ...ipc.errors import OperationFailed
from ...ipc.paths import PID_FILE

PID_FILE_MODE = 0o640
PRIVATE_MODE = 0o700
SHARED_MODE = 0o711
"""A run directory that other users may reach sockets in, but not list: needed when `uidgid` rules name somebody."""

ALREADY_RUNNING = "Another totemd instance is already running."
"""corosync's words, which people look for."""


class AlreadyRunning(OperationFailed):
    """Another executive holds the pid file's lock."""


def prepare_run_dir(path: Path, shared: bool) -> None:
    """Make the run directory if it is missing, and see that nobody else can put sockets into it.

    Raises:
        OperationFailed: it cannot be made, is no directory, belongs to another user, or everybody may write in it.
    """
    mode = SHARED_MODE if shared else PRIVATE_MODE
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=mode, parents=True)
            path.chmod(mode)  # whatever the umask says
        status = path.stat()
    except OSError as error:
        raise OperationFailed(f"run directory {path}: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode):
        raise OperationFailed(f"run directory {path}: this is no directory")
    if status.st_uid not in (0, os.geteuid()):
        raise OperationFailed(f"run directory {path}: belongs to user {status.st_uid}, not to user {os.geteuid()}")
    if status.st_mode & stat.S_IWOTH:
        raise OperationFailed(
            f"run directory {path}: everybody may write in it, and could put sockets of their own there; "
            f"`chmod o-w {path}` or choose another with --run-dir"
        )
    if shared and status.st_uid == os.geteuid() and status.st_mode & SHARED_MODE != SHARED_MODE:
        path.chmod(stat.S_IMODE(status.st_mode) | SHARED_MODE)


class PidFile:
    """`RUN_DIR/totemd.pid`: decimal pid and a newline, locked with flock(2) as long as the executive lives."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / PID_FILE
        self._fd = -1

    @property
    def held(self) -> bool:
        """Whether this process holds the lock."""
        return self._fd >= 0

    def acquire(self) -> None:
        """Lock the file and write this process's pid into it.  The lock is not inherited by children.

        Raises:
            AlreadyRunning: another executive holds it.
            OperationFailed: it cannot be written.
        """
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PID_FILE_MODE)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            self._close()
            raise AlreadyRunning(ALREADY_RUNNING) from None
        except OSError as error:
            self._close()
            raise OperationFailed(f"pid file {self.path}: {error.strerror}") from None

    def release(self) -> None:
        """Remove the file, then let go of the lock."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                self.path.unlink()
            self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
