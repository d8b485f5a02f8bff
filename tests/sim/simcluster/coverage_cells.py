"""Which cells of the table of reactions a run used, and where they led: the core's own tables, with counters around.

Counters: `reaction.STATE.EVENT` for each reaction, `leads.STATE.EVENT.STATE` where it left the state.  An event is the
name of a packet's type, or of a timer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from totemd.executive.totem.core import reactions, ring
from totemd.executive.totem.core.context import RingContext, RingState
from totemd.executive.totem.core.transitions import LEADS_TO, UNREACHABLE, Cell, cells, event_name

Used = Counter[tuple[RingState, str, RingState]]


@contextmanager
def reactions_counted(coverage: Counter[str]) -> Iterator[None]:
    """Count every reaction within, also those of a mutant that is active."""
    used: Used = Counter()
    packets = {cell: _of_packet(reaction, event_name(cell[1]), used) for cell, reaction in reactions.REACTIONS.items()}
    timers = {
        timer: _of_timer(reaction, event_name(timer), used) for timer, reaction in reactions.TIMER_REACTIONS.items()
    }
    try:
        with (
            patch.object(ring, "REACTIONS", packets),
            patch.object(reactions, "REACTIONS", packets),
            patch.object(ring, "TIMER_REACTIONS", timers),
        ):
            yield
    finally:
        for (before, event, after), times in used.items():
            coverage[f"reaction.{before.value}.{event}"] += times
            if after is not before:
                coverage[f"leads.{before.value}.{event}.{after.value}"] += times


def _of_packet(reaction: reactions.Reaction, event: str, used: Used) -> reactions.Reaction:
    def counted(context: RingContext, packet: Any, sender: int, now: float) -> None:
        before = context.state
        reaction(context, packet, sender, now)
        used[before, event, context.state] += 1

    return counted


def _of_timer(
    reaction: Callable[[RingContext, float], None], event: str, used: Used
) -> Callable[[RingContext, float], None]:
    def counted(context: RingContext, now: float) -> None:
        before = context.state
        reaction(context, now)
        used[before, event, context.state] += 1

    return counted


def required_cells() -> tuple[str, ...]:
    """The counters of all cells that can be reached."""
    return tuple(_counter(cell) for cell in cells() if cell not in UNREACHABLE)


def unvisited(coverage: Counter[str]) -> list[str]:
    """Cells that can be reached, and were not."""
    return [counter for counter in required_cells() if not coverage[counter]]


def undeclared(coverage: Counter[str]) -> list[str]:
    """What happened although the tables of `transitions` say that it does not."""
    impossible = [_counter(cell) for cell in UNREACHABLE if coverage[_counter(cell)]]
    declared = set(declared_steps())
    return impossible + [name for name in sorted(coverage) if name.startswith("leads.") and name not in declared]


def declared_steps() -> Iterator[str]:
    """The counters of all steps from one state to another."""
    for (state, event), targets in LEADS_TO.items():
        yield from (f"leads.{state.value}.{event_name(event)}.{target.value}" for target in targets)


def _counter(cell: Cell) -> str:
    return f"reaction.{cell[0].value}.{event_name(cell[1])}"
