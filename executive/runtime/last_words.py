"""Why a child fails, in its own words: one line through a pipe, which the executive reads when the process is gone.

The log has the line too, but not everybody who starts a node reads its log, and a node in the background may have none.
A message on the control socket might be lost with the process that sent it; what is in a pipe stays there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import MutableMapping

LAST_WORDS_VARIABLE = "TOTEMD_LAST_WORDS_FD"
"""Environment variable with the number of the pipe's write end."""

LAST_WORDS_BYTES_MAX = 1024
"""More is cut off.  An empty pipe takes that much at once, so that nobody who has to end waits for a reader."""


class LastWords:
    """The child's end."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Takes the variable away: it means nothing to programs that this process starts.  Without it, nobody reads."""
        number = environment.pop(LAST_WORDS_VARIABLE, "")
        self._fd = int(number) if number.isdecimal() else -1
        if self._fd >= 0:
            os.set_inheritable(self._fd, False)

    def say(self, reason: str) -> None:
        """Once; what fails after that follows from it."""
        if self._fd < 0:
            return
        line = "; ".join(reason.splitlines()).encode("utf-8", "backslashreplace")
        with contextlib.suppress(OSError):  # the executive may be gone
            os.write(self._fd, line[:LAST_WORDS_BYTES_MAX])
        os.close(self._fd)
        self._fd = -1


def read_last_words(fd: int) -> str:
    """What a process that is gone has said; empty if it said nothing.  Does not wait for whoever else has the pipe."""
    os.set_blocking(fd, False)
    try:
        return os.read(fd, LAST_WORDS_BYTES_MAX).decode("utf-8", "replace")
    except BlockingIOError:
        return ""
