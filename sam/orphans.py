"""Applications whose sam-run was killed: found by their environment, then ended or taken over.

While a sam-run lives, it is an ancestor of all its application's processes: it inherits those that lose their parent.
So a process that carries an application's variables, and does not descend from the sam-run that they name, is an
orphan.  Nobody has to have written anything down for that, so it holds after the loss of any number of processes.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..ipc.errors import InvalidArgument
from . import environment, procstat
from .options import RunOptions
from .probe import Probe, Process, kill_all
from .procstat import ENDED, Stat
from .reception import abstract_address

LOOK_SECONDS = 0.05
"""How often it is looked whether an orphan that shall end has ended."""

APPEAR_SECONDS = 2.0
"""The kernel closes the connections of a process that dies before it gives its children away."""

ANCESTORS_MAX = 1000
"""A longer line of ancestors is not followed."""

_MARK = f"{environment.NAME}=".encode()


@dataclass(frozen=True, slots=True)
class Orphan:
    """What is left of an application whose sam-run is gone."""

    name: str
    pid: int
    """Its main process; if that has ended, too, the oldest of those that it left behind."""
    created: int
    """In ticks since the machine's start."""
    instance: int
    members: tuple[int, ...]
    variables: Mapping[str, str]
    """What the main process was started with."""

    @property
    def reception(self) -> Path:
        """Where the application expects to reach its sam-run."""
        known = self.variables.get(environment.SOCKET, "")
        return Path(known) if known.startswith("@") else abstract_address()


def find(run_dir: Path, name: str = "") -> list[Orphan]:
    """The orphans of a run directory, sorted by name; of one *name* only, if one is given.

    Processes of other users are seen by root alone.
    """
    everybody = procstat.everybody()
    families: dict[str, dict[int, Mapping[str, str]]] = {}
    for pid, stat in everybody.items():
        if stat.state in ENDED or not (variables := _variables(pid)):
            continue
        named = variables.get(environment.NAME, "")
        if (name and named != name) or variables.get(environment.RUN_DIR) != os.fspath(run_dir):
            continue
        if not _descends(pid, variables.get(environment.PID, ""), everybody):
            families.setdefault(named, {})[pid] = variables
    return [_orphan(named, members, everybody) for named, members in sorted(families.items())]


def _orphan(name: str, members: Mapping[int, Mapping[str, str]], everybody: Mapping[int, Stat]) -> Orphan:
    tops = [pid for pid in members if everybody[pid].parent not in members]
    pid = min(tops, key=lambda each: (everybody[each].created, each))
    number = members[pid].get(environment.INSTANCE, "")
    instance = int(number) if number.isdecimal() else 1
    return Orphan(name, pid, everybody[pid].created, instance, tuple(sorted(members)), members[pid])


def _variables(pid: int) -> dict[str, str]:
    """The environment of a process, if it names an application."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            data = file.read()
    except OSError:
        return {}
    if _MARK not in data:
        return {}
    pairs = (os.fsdecode(each).partition("=") for each in data.split(b"\0"))
    return {name: value for name, equals, value in pairs if equals}


def _descends(pid: int, runner: str, everybody: Mapping[int, Stat]) -> bool:
    """Whether the sam-run that a process names is one of its ancestors."""
    for _ in range(ANCESTORS_MAX):
        stat = everybody.get(pid)
        if stat is None or stat.parent <= 0:
            return False
        pid = stat.parent
        if str(pid) == runner:
            return True
    return False


def problem(orphan: Orphan) -> str:
    """Why nothing is started beside an orphan."""
    return (
        f"an application named {orphan.name!r} still runs here (pid {orphan.pid}), though its sam-run was killed: end "
        "it first, have it ended (--if-orphaned end), take it over (--if-orphaned adopt), or choose another name"
    )


async def appear(name: str, run_dir: Path) -> bool:
    """Whether an orphan of this name can be seen, a moment after its sam-run was killed."""
    for _ in range(round(APPEAR_SECONDS / LOOK_SECONDS)):
        if find(run_dir, name):
            return True
        await asyncio.sleep(LOOK_SECONDS)
    return False


async def end(name: str, run_dir: Path, probe: Probe, stop_signal: int, timeout: float) -> bool:
    """End all processes of an orphan: the signal, then SIGKILL for what lives *timeout* seconds later.

    Returns whether nothing is left, another *timeout* or a second after that at the latest.
    """
    loop = asyncio.get_running_loop()

    def left() -> list[Process]:
        pids = [pid for each in find(run_dir, name) for pid in each.members]
        return probe.trees(pids)

    for process in left():
        process.send(stop_signal)
        process.send(signal.SIGCONT)  # a stopped process does not get a signal before it goes on
    kill_at = loop.time() + timeout
    give_up_at = kill_at + max(timeout, 1.0)
    while left():
        await asyncio.sleep(LOOK_SECONDS)
        if loop.time() >= kill_at:
            kill_all(left)
        if loop.time() >= give_up_at:
            return not left()
    return True


async def predecessor(options: RunOptions, probe: Probe, say: Callable[[str], None]) -> Orphan | None:
    """What a sam-run that is about to start has to take over; None: nothing.

    Raises:
        InvalidArgument: an orphan with its name runs, and is not to be touched, or cannot be ended.
    """
    found = find(options.run_dir, options.name) if options.name_is_explicit else []
    if not found:
        return None
    orphan = found[0]
    match options.if_orphaned:
        case "adopt":
            say(f"takes over instance {orphan.instance} (pid {orphan.pid}), whose sam-run was killed")
            return orphan
        case "end":
            policy = options.policy
            say(f"ends instance {orphan.instance} (pid {orphan.pid}), whose sam-run was killed")
            if await end(options.name, options.run_dir, probe, policy.stop_signal, policy.stop_timeout):
                return None
            raise InvalidArgument(f"the application named {orphan.name!r} (pid {orphan.pid}) cannot be ended")
    raise InvalidArgument(problem(orphan))


def belongs(probe: Probe, name: str, pid: int, uid: int) -> bool:
    """Whether a process says that it is of this application, and a user may say so: its own, or root."""
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return False
    return uid in (0, owner) and probe.variables(pid).get(environment.NAME) == name
