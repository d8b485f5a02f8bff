"""Gather and commit: what a member does that waits for a ring which will not come (docs/totem.md §5.3, §5.4)."""

from __future__ import annotations

import pytest
from totemd.executive.totem.core.context import RingState
from totemd.executive.totem.core.effects import Persist, Unicast
from totemd.executive.totem.core.membership import RETRY_SPREAD
from totemd.executive.totem.core.parameters import RingParameters
from totemd.executive.totem.core.ring import Ring
from totemd.executive.totem.core.timers import Timer
from totemd.executive.totem.wire.packets import CommitToken, Join, MemberEntry
from totemd.ipc.ids import RingId

START, STEP = 100.0, 0.01
ENTRY = MemberEntry(RingId(9, 1), 0, 0, False)


def stored(ring: Ring) -> list[int]:
    return [effect.ring_sequence for effect in ring.take_effects() if isinstance(effect, Persist)]


def alone(node: int) -> Ring:
    """A node in a ring of its own."""
    parameters = RingParameters(node, token=3.0, token_retransmit=0.7, hold=0.5, join=0.05, consensus=3.6, merge=0.2)
    ring = Ring(parameters, 1, lambda: 0.5)
    ring.start(START)
    while ring.take_effects() or ring.state is not RingState.OPERATIONAL:
        ring.expire(ring.next_deadline() or START)
    return ring


@pytest.fixture
def committing() -> Ring:
    """Node 1, which has agreed with node 3 and waits for its commit token to come back."""
    ring = alone(1)
    ring.receive(Join((1, 3), (), 1, 0, False, 0), 3, START + STEP)
    assert ring.state is RingState.COMMIT
    return ring


def test_a_member_that_heard_of_one_more_has_started_over(committing: Ring) -> None:
    committing.receive(Join((1, 2, 3), (), 1, 0, False, 0), 3, START + 3 * STEP)
    assert committing.state is RingState.GATHER


def test_a_member_that_leaves_has_started_over(committing: Ring) -> None:
    attempted = committing.ring
    committing.receive(Join((1,), (3,), 1, 0, True, 0), 3, START + 3 * STEP)
    assert committing.ring > attempted, "it goes on alone, at once"


def test_an_older_join_changes_nothing(committing: Ring) -> None:
    committing.receive(Join((1, 3), (), 1, 0, False, 0), 3, START + 3 * STEP)
    committing.receive(Join((3,), (), 1, 0, False, 0), 3, START + 3 * STEP)
    assert committing.state is RingState.COMMIT


def test_an_outsider_waits_until_the_ring_stands(committing: Ring) -> None:
    committing.receive(Join((1, 2, 3), (), 1, 0, False, 0), 2, START + 3 * STEP)
    assert committing.state is RingState.COMMIT


def test_who_has_lost_an_attempt_is_patient_for_a_while_of_its_own(committing: Ring) -> None:
    """Else two members whose timeouts cross go on crossing for ever."""
    lost = START + STEP + 3.0
    committing.expire(lost)
    assert committing.state is RingState.GATHER
    timers, patience = committing._context.timers, 3.6 * (1 + RETRY_SPREAD * 0.5)
    assert not timers.is_due(Timer.CONSENSUS, lost + patience - STEP)
    assert timers.is_due(Timer.CONSENSUS, lost + patience + STEP)


@pytest.fixture
def agreed() -> Ring:
    """Node 2, which agrees with node 1 and waits for its commit token."""
    ring = alone(2)
    ring.receive(Join((1, 2), (), 9, 0, False, 0), 1, START + STEP)
    return ring


def test_who_waits_for_the_commit_token_stores_the_sequence_meanwhile(agreed: Ring) -> None:
    """Or a ring would take as many writes, one after the other, as it has members."""
    assert stored(agreed) == [13]
    agreed.receive(CommitToken(RingId(13, 1), 1, 1, (1, 2), (ENTRY,)), 1, START + 2 * STEP)
    assert agreed.state is RingState.COMMIT and stored(agreed) == []


def test_a_commit_token_of_a_higher_sequence_is_stored_before_it_goes_on(agreed: Ring) -> None:
    agreed.take_effects()
    agreed.receive(CommitToken(RingId(17, 1), 1, 1, (1, 2), (ENTRY,)), 1, START + 2 * STEP)
    effects = [type(effect) for effect in agreed.take_effects()]
    assert effects.index(Persist) < effects.index(Unicast)
