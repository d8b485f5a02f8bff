"""The terminal that sam-run and its application share, given to each instance as the first one found it."""

from __future__ import annotations

import contextlib
import os
import termios


class Terminal:
    """The terminal on standard input; without one, nothing is done."""

    def __init__(self, fd: int = 0) -> None:
        self._fd = fd
        self._settings: list[object] | None = None
        with contextlib.suppress(termios.error, OSError):
            self._settings = termios.tcgetattr(fd)

    def restore(self) -> None:
        """Undo what a dead instance left: raw mode, a foreground process group that nobody is in any more.

        A terminal that another job is using now is left alone.
        """
        if self._settings is None:
            return
        with contextlib.suppress(termios.error, OSError):
            foreground, ours = os.tcgetpgrp(self._fd), os.getpgrp()
            if foreground != ours and not _exists(foreground):
                os.tcsetpgrp(self._fd, ours)
                foreground = ours
            if foreground == ours and termios.tcgetattr(self._fd) != self._settings:
                termios.tcsetattr(self._fd, termios.TCSANOW, self._settings)  # type: ignore[arg-type]


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
