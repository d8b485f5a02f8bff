"""Where reactions may lead, and which never happen: what the table of `reactions` does not say by itself.

The simulation holds both against what it sees (tests/sim/simcluster/coverage_cells.py); docs/state-machine.md is drawn
from them (`python -m totemd.executive.totem.core.diagram`).
"""

from __future__ import annotations

from itertools import product
from typing import Final

from ..wire.packets import CommitToken, Join, Mcast, MergeDetect, Packet, Token
from .context import RingState
from .timers import Timer

Event = type[Packet] | Timer
Cell = tuple[RingState, Event]

OPERATIONAL, GATHER, COMMIT, RECOVERY = (
    RingState.OPERATIONAL,
    RingState.GATHER,
    RingState.COMMIT,
    RingState.RECOVERY,
)

LEADS_TO: Final[dict[Cell, tuple[RingState, ...]]] = {
    (OPERATIONAL, Token): (GATHER, COMMIT),
    (OPERATIONAL, Mcast): (GATHER,),
    (OPERATIONAL, MergeDetect): (GATHER,),
    (OPERATIONAL, Join): (GATHER, COMMIT),
    (OPERATIONAL, Timer.LOSS): (GATHER,),
    (OPERATIONAL, Timer.HEARTBEAT): (GATHER, COMMIT),
    (OPERATIONAL, Timer.PROBE): (GATHER, COMMIT),
    (GATHER, Join): (COMMIT,),
    (GATHER, CommitToken): (COMMIT,),
    (GATHER, Timer.CONSENSUS): (COMMIT,),
    (GATHER, Timer.PROBE): (COMMIT,),
    (COMMIT, CommitToken): (RECOVERY,),
    (COMMIT, Join): (GATHER,),
    (COMMIT, Timer.LOOPBACK): (RECOVERY,),
    (COMMIT, Timer.LOSS): (GATHER,),
    (COMMIT, Timer.PROBE): (GATHER,),
    (RECOVERY, Token): (OPERATIONAL, GATHER, COMMIT),
    (RECOVERY, Join): (GATHER, COMMIT),
    (RECOVERY, Timer.LOOPBACK): (OPERATIONAL,),
    (RECOVERY, Timer.LOSS): (GATHER,),
    (RECOVERY, Timer.HEARTBEAT): (GATHER,),
    (RECOVERY, Timer.PROBE): (GATHER, COMMIT),
}
"""The states in which a reaction may end, if not where it began.

COMMIT without GATHER before it means that a node passed through GATHER in the same step, since it needs nobody else's
agreement any more: it is alone.
"""

_CANCELLED: Final = {
    GATHER: (
        (Timer.LOOPBACK, Timer.LOSS_WARNING, Timer.HEARTBEAT, Timer.RETRANSMIT, Timer.HOLD, Timer.MERGE),
        "entering GATHER cancels it and nothing there arms it: there is no token",
    ),
    COMMIT: (
        (Timer.HEARTBEAT, Timer.HOLD, Timer.JOIN, Timer.CONSENSUS, Timer.MERGE),
        "entering COMMIT cancels it and a commit token does not arm it",
    ),
    RECOVERY: (
        (Timer.HOLD, Timer.JOIN, Timer.CONSENSUS, Timer.MERGE),
        "cancelled on the way here; only GATHER or an installed ring arms it",
    ),
    OPERATIONAL: (
        (Timer.JOIN, Timer.CONSENSUS),
        "entering COMMIT has cancelled it; only GATHER arms it",
    ),
}

UNREACHABLE: Final[dict[Cell, str]] = {
    (state, timer): reason for state, (timers, reason) in _CANCELLED.items() for timer in timers
}
"""Cells that no run can reach, with the reason.  All others are required of the nightly simulation."""


def cells() -> tuple[Cell, ...]:
    """Every state with every packet and every timer."""
    events: tuple[Event, ...] = (*Packet.__subclasses__(), *Timer)
    return tuple(product((OPERATIONAL, GATHER, COMMIT, RECOVERY), events))


def event_name(event: Event) -> str:
    """How an event is called in counters and documents."""
    return event.name if isinstance(event, Timer) else event.__name__
