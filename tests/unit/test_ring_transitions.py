"""The tables of the state machine fit together, and the page that is drawn from them is today's."""

from __future__ import annotations

from pathlib import Path

from totemd.executive.totem.core.context import RingState
from totemd.executive.totem.core.diagram import arrows, page
from totemd.executive.totem.core.reactions import REACTIONS, TIMER_REACTIONS
from totemd.executive.totem.core.timers import Timer
from totemd.executive.totem.core.transitions import LEADS_TO, UNREACHABLE, cells

PAGE = Path(__file__).resolve().parents[2] / "docs" / "state-machine.md"


def test_cells_are_those_of_the_tables_of_reactions() -> None:
    assert {cell for cell in cells() if not isinstance(cell[1], Timer)} == set(REACTIONS)
    assert {event for _, event in cells() if isinstance(event, Timer)} == set(TIMER_REACTIONS)
    assert len(cells()) == len(RingState) * (len(REACTIONS) // len(RingState) + len(Timer))


def test_what_cannot_happen_leads_nowhere() -> None:
    assert set(LEADS_TO) <= set(cells())
    assert set(UNREACHABLE) <= set(cells())
    assert not set(LEADS_TO) & set(UNREACHABLE)
    assert all(state not in targets for (state, _), targets in LEADS_TO.items()), "staying is no step"


def test_every_state_can_be_reached_and_left() -> None:
    steps = arrows()
    assert {before for before, _ in steps} == {after for _, after in steps} == set(RingState)
    assert (RingState.GATHER, RingState.COMMIT) in steps
    assert all(after is not RingState.COMMIT for before, after in steps if before is not RingState.GATHER)


def test_the_page_is_drawn_from_the_tables() -> None:
    drawn = "python -m totemd.executive.totem.core.diagram > docs/state-machine.md"
    assert PAGE.read_text(encoding="utf-8") == page(), drawn
