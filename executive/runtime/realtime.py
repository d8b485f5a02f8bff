"""Scheduling and memory for the one process that must not wait: totem.

corosync runs at SCHED_RR's highest priority with all memory locked.  totemd asks for the same class, but for its
*lowest* priority: that is above every ordinary process, which is what the token needs, and below everything else
that an administrator has made real-time, which a Python process should not push aside.  The kernel's real-time
throttling (5 % of each second are left to others) bounds what a bug could do, and the processes that feed the ring
run under the ordinary scheduler, so that a ring that takes all of a core also runs out of messages to send.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource

import msgspec

from ..config.model import SystemOptions
from .logging import Logger

NICE_MAX = -20
NICE_MIN = 19
"""What `system.priority: max` and `min` mean."""

COLLECTOR_THRESHOLDS = (50_000, 20, 100)
"""gc.set_threshold: a look at the young objects per 50,000 of them, at all that is not frozen once in 2,000 looks."""

_MCL_CURRENT = 1
_MCL_FUTURE = 2
_MCL_ONFAULT = 4
"""mlockall(2): pages are locked when they are touched, not brought in beforehand."""


REALTIME_PROCESSORS_MIN = 4
"""Fewer processors than this, and SCHED_RR is used only if the file asks for it: a busy ring would push aside the very
processes that feed it.  Seen with three nodes on two processors: 41,000 single messages a second without it, 24,000
with it."""


def request(system: SystemOptions, log: Logger, *, explicit: bool = True, processors: int | None = None) -> None:
    """Ask for SCHED_RR and locked memory as `system` says.  What is refused is said once, and the node goes on.

    *explicit*: the file says `sched_rr`; if not, its default holds on machines with enough *processors* only.
    """
    refused = []
    if not explicit and (processors or os.cpu_count() or 1) < REALTIME_PROCESSORS_MIN:
        log.info("ordinary scheduling: few processors; `system { sched_rr: yes }` asks for SCHED_RR all the same")
        system = msgspec.structs.replace(system, sched_rr=False, priority="0")
    if system.sched_rr:
        try:
            _schedule_round_robin()
        except OSError as error:
            refused.append(f"SCHED_RR ({error.strerror})")
    if not system.sched_rr or refused:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, nice_value(system.priority))
        except OSError as error:
            refused.append(f"nice {nice_value(system.priority)} ({error.strerror})")
    try:
        _lock_memory()
    except OSError as error:
        refused.append(f"locked memory ({error.strerror})")
    if refused:
        log.info(
            "running without " + ", ".join(refused),
            advice="a busy machine may delay the token; raise totem.token, or grant CAP_SYS_NICE and CAP_IPC_LOCK",
        )
    else:
        log.debug("scheduling and memory granted", sched_rr=system.sched_rr)


def nice_value(priority: str) -> int:
    """The nice value that `system.priority` means; -20 is the most urgent."""
    match priority:
        case "max":
            return NICE_MAX
        case "min":
            return NICE_MIN
        case number:
            return int(number)


def freeze_collector() -> None:
    """Take everything that exists out of the garbage collector's sight, and let it look at the rest rarely.

    A full collection in the middle of a token visit costs milliseconds.  The collector is not stopped: exceptions
    leave cycles behind, and a process that runs for months must not keep them.  Call it when the process is set up.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


def _schedule_round_robin() -> None:
    """For every thread that exists: libzmq's I/O thread must not starve behind the loop that waits for it."""
    # What this process starts later is ordinary again.
    policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
    parameters = os.sched_param(os.sched_get_priority_min(os.SCHED_RR))
    for thread in os.listdir("/proc/self/task"):
        os.sched_setscheduler(int(thread), policy, parameters)


def _lock_memory() -> None:
    """mlockall(2), only where no limit can turn a later allocation into a failure."""
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except ValueError:
        raise PermissionError(1, "RLIMIT_MEMLOCK is limited") from None
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
