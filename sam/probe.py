"""Looking at processes from outside: who they are, how they are, and who descends from them.

A pid alone names nothing for long; together with the time of its creation it does.  What surrounds this module knows
the two protocols only, so that its tests need no processes.
"""

from __future__ import annotations

import contextlib
import enum
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import psutil

from . import procstat


class Finding(enum.StrEnum):
    """How a process looks from outside."""

    ALIVE = "alive"
    STOPPED = "stopped"
    """A signal holds it (state T).  One that a debugger holds counts as alive."""
    ZOMBIE = "zombie"
    """It has ended, and its parent has not asked for its exit code."""
    GONE = "gone"


class Process(Protocol):
    """One process, for ever: never mistaken for a later one with the same pid.  Equal to others that mean the same."""

    @property
    def pid(self) -> int: ...

    def __hash__(self) -> int: ...

    def look(self) -> Finding:
        """How it is."""

    def send(self, number: int) -> bool:
        """Send it a signal; False if it is gone, or this user may not."""


class Probe(Protocol):
    """A view of this machine's processes."""

    def find(self, pid: int, parent: int = 0) -> Process | None:
        """The process that is *pid* now; None if there is none, or its parent is not *parent* (0: any)."""

    def descendants(self, pid: int) -> list[Process]:
        """Children of *pid*, their children, and so on."""

    def ancestors(self, pid: int) -> list[int]:
        """The parent of *pid*, its parent, and so on."""

    def trees(self, pids: Iterable[int]) -> list[Process]:
        """The processes with these pids, and all that descend from them."""

    def variables(self, pid: int) -> Mapping[str, str]:
        """The environment that *pid* was started with; empty if this user may not see it."""


class PsutilProcess:
    """A `Process` by psutil, which compares pid and time of creation; looks are cheaper without (`procstat.py`)."""

    __slots__ = ("_created", "_process")

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        stat = procstat.read(process.pid)
        self._created = -1 if stat is None else stat.created

    @property
    def pid(self) -> int:
        return self._process.pid

    def __hash__(self) -> int:
        return hash(self._process)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PsutilProcess) and self._process == other._process

    def look(self) -> Finding:
        stat = procstat.read(self.pid)
        if stat is None or stat.created != self._created:
            return Finding.GONE
        match stat.state:
            case "T":
                return Finding.STOPPED
            case "Z":
                return Finding.ALIVE if _has_other_threads(self.pid) else Finding.ZOMBIE
            case "X" | "x":
                return Finding.GONE
        return Finding.ALIVE

    def send(self, number: int) -> bool:
        try:
            self._process.send_signal(number)
        except psutil.Error:
            return False
        return True


class PsutilProbe:
    """The `Probe` that psutil offers."""

    def find(self, pid: int, parent: int = 0) -> Process | None:
        try:
            process = psutil.Process(pid)
            if parent and process.ppid() != parent:
                return None
        except psutil.Error:
            return None
        return PsutilProcess(process)

    def descendants(self, pid: int) -> list[Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return [PsutilProcess(each) for each in psutil.Process(pid).children(recursive=True)]
        return []

    def ancestors(self, pid: int) -> list[int]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return [each.pid for each in psutil.Process(pid).parents()]
        return []

    def trees(self, pids: Iterable[int]) -> list[Process]:
        roots = [root for pid in pids if (root := self.find(pid)) is not None]
        return [*roots, *(each for root in roots for each in self.descendants(root.pid))]

    def variables(self, pid: int) -> Mapping[str, str]:
        with contextlib.suppress(psutil.Error, OSError):
            return psutil.Process(pid).environ()
        return {}


def _has_other_threads(pid: int) -> bool:
    """Whether a process whose first thread has ended lives on in others (pthread_exit in main)."""
    try:
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


FREEZE_ROUNDS_MAX = 5
"""How often a family is searched for processes that were forked while the others were being stopped."""


def kill_all(search: Callable[[], list[Process]]) -> int:
    """Kill all processes that *search* finds; return how many.

    They are stopped first, so that none forks, or starts again what another has lost, while they are being killed.
    """
    known: dict[Process, None] = {}
    for _ in range(FREEZE_ROUNDS_MAX):
        new = [each for each in search() if each not in known]
        if not new:
            break
        for each in new:
            each.send(signal.SIGSTOP)
            known[each] = None
    return sum(each.send(signal.SIGKILL) for each in known)
