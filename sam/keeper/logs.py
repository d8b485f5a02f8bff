"""Where the output of applications goes that name no log of their own: a file each, which they write to themselves.

No pipe ends in the keeper: an application must neither wait for it nor die with it.  A file that has grown is copied
to `NAME.log.1` and cut; as the application appends, it goes on at the beginning.  What is written between copy and
cut is lost.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from ...ipc.errors import OperationFailed

FOLDER = "apps"
"""Of the run directory."""

BYTES_MAX = 10 * 1024 * 1024
"""A log that is found larger is cut; so much again is kept of what was before."""

ROTATE_SECONDS = 10.0
"""How often the sizes are looked at."""

MODE = 0o600
FOLDER_MODE = 0o700


class Logs:
    """The log files of a run directory."""

    def __init__(self, run_dir: Path) -> None:
        """
        Raises:
            OperationFailed: there is no place for them.
        """
        self._folder = run_dir / FOLDER
        try:
            self._folder.mkdir(FOLDER_MODE, exist_ok=True)
        except OSError as error:
            raise OperationFailed(f"{self._folder}: {error.strerror}") from None

    def path(self, name: str) -> Path:
        """The log of an application."""
        return self._folder / f"{name}.log"

    @staticmethod
    def open(path: str) -> int:
        """A descriptor to append to a log by.  A text: pathlib takes its time, and keeps every name for a while.

        Raises:
            OSError: it cannot be opened.
        """
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)

    def rotate(self) -> None:
        """Cut those that have grown too long."""
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(".log") and entry.stat(follow_symlinks=False).st_size > BYTES_MAX:
                    _cut(Path(entry.path))


def _cut(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("rb+") as file:
        with path.with_suffix(".log.1").open("wb") as older:
            os.fchmod(older.fileno(), MODE)
            file.seek(max(0, os.fstat(file.fileno()).st_size - BYTES_MAX))
            shutil.copyfileobj(file, older)
        file.truncate(0)
