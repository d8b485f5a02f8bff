"""The application's processes, as their ancestor sees them: start the main one, reap all, signal some, kill all.

sam-run is a subreaper: whatever an application's process forks off and abandons becomes sam-run's child when its
parent ends.  So nothing escapes, and as long as anything of an application exists, sam-run has a child.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Mapping

from .events import Ending, Event, Exited, Froze, NotSpawned, Spawned, Thawed, TreeGone
from .probe import Probe, kill_family

EXIT_FAILED = 125
"""sam-run itself failed, as with env(1) and timeout(1)."""

EXIT_NOT_EXECUTABLE = 126
"""The command was found and cannot be run."""

EXIT_NOT_FOUND = 127
"""There is no such command."""

_CHANGED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""Ignored by the interpreter, and not meant to be by the application."""

_OURS_TO_MEND = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


class Family:
    """All processes of one application; nothing else may be a child of this process."""

    def __init__(self, command: tuple[str, ...], probe: Probe, signal_mask: frozenset[int]) -> None:
        """*signal_mask* is what the application starts with."""
        self._command = command
        self._probe = probe
        self._signal_mask = signal_mask
        self._main = 0
        self._exists = False

    @property
    def main(self) -> int:
        """Pid of the main process; 0 while there is none."""
        return self._main

    @property
    def exists(self) -> bool:
        """Whether any process of the application has not been reaped."""
        return self._exists

    def start(self, environment: Mapping[bytes, bytes]) -> Spawned | NotSpawned:
        """Start the main process, in this process's group and session, with its terminal and open files."""
        program = self._command[0]
        try:
            self._main = os.posix_spawnp(
                program, self._command, environment, setsigmask=self._signal_mask, setsigdef=_CHANGED_BY_PYTHON
            )
        except OSError as error:
            return NotSpawned(_exit_code(error), f"{program}: {error.strerror}")
        self._exists = True
        return Spawned(self._main)

    def reap(self) -> list[Event]:
        """What has happened to children since the last call.  Zombies of any generation are taken away."""
        events: list[Event] = []
        ending: Ending | None = None
        while (status := _next_status()) is not None:
            if status.si_pid != self._main:
                continue
            match status.si_code:
                case os.CLD_EXITED:
                    ending = Ending(code=status.si_status)
                case os.CLD_KILLED | os.CLD_DUMPED:
                    ending = Ending(signal=status.si_status)
                case os.CLD_STOPPED:
                    events.append(Froze())
                case os.CLD_CONTINUED:
                    events.append(Thawed())
            if ending is not None:
                self._main = 0
        existed, self._exists = self._exists, _has_children()
        if ending is not None:
            events.append(Exited(ending, left_behind=self._exists))
        elif existed and not self._exists:
            events.append(TreeGone())
        return events

    def signal_main(self, number: int) -> bool:
        """Signal the main process; False if this user may not (it runs as somebody else)."""
        if not self._main:
            return True
        try:
            # Not reaped yet, or it would not be known here any more: so the pid is still its own.
            os.kill(self._main, number)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return True

    def signal_rest(self, number: int) -> None:
        """Signal everything that the main process left behind."""
        for process in self._probe.descendants(os.getpid()):
            process.send(number)

    def kill(self) -> None:
        """Kill everything."""
        kill_family(self._probe, os.getpid())


def _next_status() -> os.waitid_result | None:
    with contextlib.suppress(ChildProcessError):
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WSTOPPED | os.WCONTINUED | os.WNOHANG)
    return None


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _exit_code(error: OSError) -> int:
    if isinstance(error, FileNotFoundError):
        return EXIT_NOT_FOUND
    return EXIT_FAILED if error.errno in _OURS_TO_MEND else EXIT_NOT_EXECUTABLE
