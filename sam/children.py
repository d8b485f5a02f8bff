"""The children of a process that keeps applications: their ends are taken here, and given to whom they belong.

The keeper is a subreaper: whatever a process of an application forks off and abandons becomes the keeper's child when
its parent ends.  Nothing escapes; but where one process keeps several applications, a *stray* has to be given to its
own.  The kernel has forgotten its parents, so the process group tells (each application is given its own),
else the variable that names the application.  With one application alone there is nothing to ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Protocol

from . import environment
from .events import Ending, Event, Exited, Froze, Thawed, TreeGone
from .linux import child_pids
from .probe import Probe

REAPED_AT_ONCE = 16
"""So many ends are dealt with before the loop turns."""


class Kin(Protocol):
    """What the applications of one keeper tell about themselves."""

    @property
    def name(self) -> str: ...

    @property
    def main(self) -> int:
        """Pid of the main process; 0 while there is none."""

    @property
    def group(self) -> int:
        """The process group that the application was given; 0: none of its own."""

    def ended(self) -> None:
        """The main process has been reaped."""

    def happen(self, event: Event) -> None:
        """Something has happened to a process of it."""


class Children:
    """All children of this process; there is one object of this class in it.

    Nothing else in the process may wait for children: not asyncio's subprocesses, not `subprocess.run`.
    """

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._families: dict[Kin, bool] = {}
        """Each family, and whether strays of it were there at the last look."""
        self._mains: dict[int, Kin] = {}
        self._helpers: dict[int, Callable[[Ending], None]] = {}
        self._strays: dict[int, Kin | None] = {}
        self._foreign: dict[Kin, Callable[[], list[int]]] = {}
        """Families whose processes are not ours to wait for, and what finds them."""
        self._more: asyncio.Handle | None = None
        """Others have ended, and have their turn after the loop's."""

    def enrol(self, family: Kin) -> None:
        """From now on strays may belong to this family."""
        self._families.setdefault(family, False)

    def dismiss(self, family: Kin) -> None:
        """Nothing of this family is expected any more."""
        self._families.pop(family, None)
        self._foreign.pop(family, None)

    def has_begun(self, family: Kin, pid: int) -> None:
        """A family's main process was started."""
        self.enrol(family)
        self._mains[pid] = family

    def help(self, pid: int, ended: Callable[[Ending], None]) -> None:
        """A child that belongs to no application (a probe's command, a hook) was started; *ended* is told its end."""
        self._helpers[pid] = ended

    def strays(self, family: Kin) -> list[int]:
        """The processes of a family that have become children of this one, as they are now."""
        self._look_for_strays()
        foreign = self._foreign[family]() if family in self._foreign else []
        return [*foreign, *(pid for pid, owner in self._strays.items() if owner is family)]

    def unknown(self) -> list[int]:
        """The strays of which nobody knows whose they are."""
        self._look_for_strays()
        return [pid for pid, owner in self._strays.items() if owner is None]

    def seen_to_end(self, pid: int, ending: Ending, rest: Callable[[], list[int]]) -> None:
        """A main process that is no child of this one has ended; *rest* finds what it has left behind."""
        family = self._mains.pop(pid, None)
        if family is None:
            return
        family.ended()
        self._foreign[family] = rest
        for owner, event in self._settle({family: ending}):
            owner.happen(event)

    @property
    def has_foreigners(self) -> bool:
        """Whether processes are waited for whose end the kernel does not tell."""
        return bool(self._foreign)

    def look_for_foreigners(self) -> None:
        """Tell if they have ended meanwhile."""
        for owner, event in self._settle({}):
            owner.happen(event)

    def reap(self) -> None:
        """Take away children that have ended, of any generation, and tell everybody what has happened.

        Where there are many, some wait until the loop has turned: what is started in their place takes its time, and
        may have ended by then.  However often this is called meanwhile, they wait.
        """
        if self._more is None:
            self._reap()

    def _reap(self) -> None:
        self._more = None
        happened: list[tuple[Kin, Event]] = []
        exits: dict[Kin, Ending] = {}
        helpers: list[tuple[Callable[[Ending], None], Ending]] = []
        for _ in range(REAPED_AT_ONCE):
            if (status := _next_status()) is None:
                break
            pid, ending = status.si_pid, _ending(status)
            if (family := self._mains.get(pid)) is not None:
                if ending is not None:
                    del self._mains[pid]
                    exits[family] = ending
                    family.ended()
                else:
                    happened.append((family, Froze() if status.si_code == os.CLD_STOPPED else Thawed()))
            elif ending is not None:
                self._strays.pop(pid, None)
                if (helper := self._helpers.pop(pid, None)) is not None:
                    helpers.append((helper, ending))
        else:
            self._more = asyncio.get_running_loop().call_soon(self._reap)
        happened += self._settle(exits)
        for family, event in happened:
            family.happen(event)
        for helper, ending in helpers:
            helper(ending)

    def _settle(self, exits: dict[Kin, Ending]) -> list[tuple[Kin, Event]]:
        """What the ends mean, now that it can be seen what is left."""
        waiting = [family for family, had in self._families.items() if had and family not in exits]
        if not exits and not waiting:
            return []
        self._look_for_strays()
        left = {owner for owner in self._strays.values() if owner is not None}
        for family, rest in list(self._foreign.items()):
            if rest():
                left.add(family)
            else:
                del self._foreign[family]
        events: list[tuple[Kin, Event]] = []
        for family, ending in exits.items():
            self._families[family] = family in left
            events.append((family, Exited(ending, left_behind=family in left)))
        for family in waiting:
            if family not in left:
                self._families[family] = False
                if not family.main:
                    events.append((family, TreeGone()))
        return events

    def _look_for_strays(self) -> None:
        for pid in child_pids():
            if pid not in self._mains and pid not in self._helpers and self._strays.get(pid) is None:
                self._strays[pid] = owner = self._owner_of(pid)
                if owner is not None:
                    self._families[owner] = True

    def _owner_of(self, pid: int) -> Kin | None:
        if len(self._families) == 1:
            return next(iter(self._families))
        with contextlib.suppress(OSError):
            group = os.getpgid(pid)
            for family in self._families:
                if family.group == group:
                    return family
        variables = self._probe.variables(pid)
        if variables.get(environment.PID) == str(os.getpid()):
            named = variables.get(environment.NAME)
            return next((family for family in self._families if family.name == named), None)
        return None


def _ending(status: os.waitid_result) -> Ending | None:
    match status.si_code:
        case os.CLD_EXITED:
            return Ending(code=status.si_status)
        case os.CLD_KILLED | os.CLD_DUMPED:
            return Ending(signal=status.si_status)
    return None


def _next_status() -> os.waitid_result | None:
    with contextlib.suppress(ChildProcessError):
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WSTOPPED | os.WCONTINUED | os.WNOHANG)
    return None
