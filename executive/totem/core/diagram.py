"""Draws the state machine from its tables: `python -m totemd.executive.totem.core.diagram > docs/state-machine.md`."""

from __future__ import annotations

from collections.abc import Iterator

from .context import RingState
from .reactions import REACTIONS, TIMER_REACTIONS
from .timers import Timer
from .transitions import COMMIT, GATHER, LEADS_TO, OPERATIONAL, RECOVERY, UNREACHABLE, Cell, Event, cells, event_name

STATES = (OPERATIONAL, GATHER, COMMIT, RECOVERY)

INTRODUCTION = """\
# The state machine of the ring

Made from the tables of `executive/totem/core/reactions.py` and `transitions.py` by
`python -m totemd.executive.totem.core.diagram`; a test holds this page against them. What the states are for is in
[totem.md](totem.md) §3.

An arrow names the packets and timers whose reaction may take it. Besides them, an obituary of a member and an
administrator's request lead to gather. A node that needs nobody else's agreement, since it is alone, passes through
gather in one step."""


def arrows() -> dict[tuple[RingState, RingState], list[str]]:
    """What leads from one state directly to another."""
    found: dict[tuple[RingState, RingState], list[str]] = {}
    for (state, event), targets in LEADS_TO.items():
        for target in targets:
            # A node never skips GATHER on its way to COMMIT.
            step = (state, GATHER) if target is COMMIT and state is not GATHER else (state, target)
            names = found.setdefault(step, [])
            if event_name(event) not in names:
                names.append(event_name(event))
    return found


def mermaid() -> Iterator[str]:
    """The diagram, in the language that code hosts draw."""
    yield "stateDiagram-v2"
    yield "    [*] --> gather: boot"
    for (state, target), names in arrows().items():
        yield f"    {state.value} --> {target.value}: {', '.join(names)}"


def reaction_name(cell: Cell) -> str:
    """The function that a cell calls."""
    state, event = cell
    return TIMER_REACTIONS[event].__name__ if isinstance(event, Timer) else REACTIONS[state, event].__name__


def table() -> Iterator[str]:
    """Events by states: what each does, and where it may lead."""
    yield f"| event | {' | '.join(state.value for state in STATES)} |"
    yield f"| --- |{' --- |' * len(STATES)}"
    events: dict[Event, None] = {event: None for _, event in cells()}
    for event in events:
        yield f"| {event_name(event)} | {' | '.join(_cell((state, event)) for state in STATES)} |"


def _cell(cell: Cell) -> str:
    if cell in UNREACHABLE:
        return "never"
    targets = ", ".join(f"*{target.value}*" for target in LEADS_TO.get(cell, ()))
    return f"{reaction_name(cell)}{f' → {targets}' if targets else ''}"


def reasons() -> Iterator[str]:
    """Why some cells are never reached."""
    groups: dict[tuple[RingState, str], list[str]] = {}
    for (state, event), reason in UNREACHABLE.items():
        groups.setdefault((state, reason), []).append(event_name(event))
    for (state, reason), names in groups.items():
        yield f"- {state.value}, {', '.join(names)}: {reason}."


def page() -> str:
    """The whole document."""
    return "\n".join(
        (
            INTRODUCTION,
            "",
            "```mermaid",
            *mermaid(),
            "```",
            "",
            "Packets are named as in `wire/packets.py`, timers in capitals as in `core/timers.py`.",
            "",
            *table(),
            "",
            "What never happens, and why:",
            "",
            *reasons(),
            "",
        )
    )


if __name__ == "__main__":
    print(page(), end="")
