"""A node's processes seen from outside: the executive and everything that descends from it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterable

import psutil

from ..ipc.errors import NotFound
from .waiting import wait_until

DEATH_SECONDS = 10.0
"""How long the kernel may take to end killed processes."""

MODULES = {
    "totem": "totemd.executive.totem",
    "cpg": "totemd.services.cpg",
    "quorum": "totemd.services.quorum",
    "sam": "totemd.sam",
}
"""Child of the executive -> the module it is started as."""

KEEPER = "totemd.sam.keeper"
"""The module of the process that keeps declared applications; it outlives the executive."""

EXECUTIVE = "executive"
"""The name of the executive itself where a process of a node is meant."""


def family(executive: int) -> list[psutil.Process]:
    """The executive, which comes first, and its descendants; empty when it has ended."""
    try:
        parent = psutil.Process(executive)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def child(executive: int, name: str) -> psutil.Process:
    """The running child of that name.

    Raises:
        NotFound: there is none at this moment.
    """
    if name == EXECUTIVE:
        wanted = family(executive)[:1]
    else:
        wanted = [each for each in family(executive)[1:] if MODULES[name] in _command(each)]
    if not wanted:
        raise NotFound(f"process {executive} has no running {name}")
    return wanted[0]


def kill(executive: int) -> None:
    """SIGKILL all of them.  The executive is stopped first, so that it cannot start anybody meanwhile."""
    send([psutil.Process(executive)] if psutil.pid_exists(executive) else [], signal.SIGSTOP)
    members = family(executive)
    send(members, signal.SIGKILL)
    wait_until(lambda: not any(is_alive(each) for each in members), DEATH_SECONDS, f"{members} have been killed")


def kill_orphans(run_dir: str) -> None:
    """SIGKILL what an executive that has ended left behind.

    Its children would go by themselves within a second; the keeper of declared applications, and these, would stay.
    """
    orphans = [each for each in mentioning(run_dir) if {*MODULES.values(), KEEPER} & set(_command(each))]
    send(orphans, signal.SIGKILL)
    apps = [each for each in psutil.process_iter() if _kept_for(each) == run_dir]
    send(apps, signal.SIGKILL)
    orphans += apps
    wait_until(lambda: not any(is_alive(each) for each in orphans), DEATH_SECONDS, f"{orphans} have been killed")


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; one that has ended and waits for its parent to notice does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to those that still exist."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def mentioning(text: str) -> list[psutil.Process]:
    """All processes of this machine whose command line holds *text*: how leftovers are found."""
    return [each for each in psutil.process_iter() if any(text in word for word in _command(each))]


def _kept_for(process: psutil.Process) -> str:
    """The run directory of the node that an application belongs to; empty if it is none."""
    try:
        return process.environ().get("TOTEMD_SAM_RUN_DIR", "")
    except (psutil.Error, OSError):
        return ""


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []
