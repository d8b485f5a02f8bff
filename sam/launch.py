"""How an application's main process is started: what, as whom, where, with which limits and descriptors."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

EXIT_FAILED = 125
"""sam-run itself failed, as with env(1) and timeout(1)."""

EXIT_NOT_EXECUTABLE = 126
"""The command was found and cannot be run."""

EXIT_NOT_FOUND = 127
"""There is no such command."""

CHANGED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""Ignored by the interpreter, and not meant to be by the application."""

_OURS_TO_MEND = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


@dataclass(frozen=True, slots=True)
class Launch:
    """What every instance of an application is started with."""

    command: tuple[str, ...]
    signal_mask: frozenset[int] = frozenset()
    """The signals that are blocked in it."""
    own_session: bool = False
    """Away from the keeper's terminal and process group.  A keeper of several applications needs it (`children.py`)."""

    def spawn(self, environment: Mapping[bytes, bytes]) -> int:
        """Start it; return its pid.

        Raises:
            OSError: it cannot be started.
        """
        return os.posix_spawnp(
            self.command[0],
            self.command,
            environment,
            setsid=self.own_session,
            setsigmask=self.signal_mask,
            setsigdef=CHANGED_BY_PYTHON,
        )


def exit_code(error: OSError) -> int:
    """What sam-run exits with when a command cannot be started for this reason."""
    if isinstance(error, FileNotFoundError):
        return EXIT_NOT_FOUND
    return EXIT_FAILED if error.errno in _OURS_TO_MEND else EXIT_NOT_EXECUTABLE
