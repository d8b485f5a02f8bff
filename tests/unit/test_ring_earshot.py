"""Who hears whom (docs/totem.md §5.8): what is concluded from merge detects, and what an operational ring ignores."""

from __future__ import annotations

import pytest
from totemd.executive.totem.core.context import RingState
from totemd.executive.totem.core.earshot import Earshot
from totemd.executive.totem.core.effects import Multicast
from totemd.executive.totem.core.parameters import RingParameters
from totemd.executive.totem.core.ring import Ring
from totemd.executive.totem.wire.packets import Join, MergeDetect
from totemd.ipc.ids import RingId

TOKEN, MERGE = 1.0, 0.1
OURS, MEMBERS = RingId(8, 1), (1, 2)
"""This node is 1; its ring has also node 2."""
THEIRS, ALONE = RingId(12, 3), RingId(8, 5)
"""The ring of nodes 3 and 4, and that of node 5."""


@pytest.fixture
def earshot() -> Earshot:
    """Node 1's, after the first words of everybody, who has not heard anybody yet."""
    earshot = Earshot(TOKEN, MERGE)
    for node, ring in ((2, OURS), (3, THEIRS), (4, THEIRS), (5, ALONE)):
        say(earshot, 0.0, node, ring)
    return earshot


def say(
    earshot: Earshot, now: float, node: int, ring: RingId, heard: tuple[int, ...] = (), *, apart: tuple[int, ...] = ()
) -> None:
    """A merge detect of *node* comes."""
    earshot.said(node, MergeDetect(ring, heard, apart), now)
    earshot.heard[node] = now


def all_well(earshot: Earshot, now: float) -> None:
    """Everybody says that they hear everybody."""
    say(earshot, now, 2, OURS, (3, 4, 5))
    say(earshot, now, 3, THEIRS, (1, 2, 5))
    say(earshot, now, 4, THEIRS, (1, 2, 5))
    say(earshot, now, 5, ALONE, (1, 2, 3, 4))


def test_the_first_word_proves_nothing_for_nobody_had_the_time_to_be_heard(earshot: Earshot) -> None:
    assert not any(earshot.apart(node, OURS, MEMBERS, 0.0) for node in (3, 4, 5))
    assert not earshot.cannot_join(3, (1, 2, 5), 0.0)


def test_rings_of_which_all_hear_each_other_are_not_apart(earshot: Earshot) -> None:
    all_well(earshot, 0.1)
    assert not any(earshot.apart(node, OURS, MEMBERS, 0.1) for node in (3, 4, 5))
    assert not earshot.cannot_join(5, (1, 2, 3, 4), 0.1)


@pytest.mark.parametrize(
    ("who", "ring", "heard", "apart"),
    [
        pytest.param(3, THEIRS, (2, 5), (), id="does not hear us"),
        pytest.param(4, THEIRS, (1, 5), (), id="does not hear our fellow"),
        pytest.param(2, OURS, (3, 5), (), id="our fellow does not hear its fellow"),
        pytest.param(3, THEIRS, (1, 2, 5), (2,), id="knows of a fellow whom ours does not hear"),
    ],
)
def test_one_link_that_does_not_work_keeps_two_rings_apart(
    earshot: Earshot, who: int, ring: RingId, heard: tuple[int, ...], apart: tuple[int, ...]
) -> None:
    all_well(earshot, 0.1)
    say(earshot, 0.2, who, ring, heard, apart=apart)
    assert earshot.apart(3, OURS, MEMBERS, 0.2) and earshot.apart(4, OURS, MEMBERS, 0.2), "all of that ring"
    assert not earshot.apart(5, OURS, MEMBERS, 0.2), "no other"
    all_well(earshot, 0.3)
    assert not earshot.apart(3, OURS, MEMBERS, 0.3), "mended"


def test_what_is_not_said_again_is_forgotten(earshot: Earshot) -> None:
    say(earshot, 0.1, 3, THEIRS, (2,))
    assert earshot.apart(3, OURS, MEMBERS, 0.1 + TOKEN) and not earshot.apart(3, OURS, MEMBERS, 0.11 + TOKEN)
    say(earshot, 5.0, 3, THEIRS, (2,))
    assert not earshot.apart(3, OURS, MEMBERS, 5.0), "after a silence the first word proves nothing"
    say(earshot, 5.1, 3, THEIRS, (2,))
    assert earshot.apart(3, OURS, MEMBERS, 5.1)
    earshot.reconfigure(TOKEN / 4, MERGE)
    assert not earshot.apart(3, OURS, MEMBERS, 5.11 + 5 * MERGE), "five merge intervals, if that is longer"


def test_words_of_an_earlier_ring_do_not_count_for_this_one(earshot: Earshot) -> None:
    say(earshot, 0.1, 2, OURS, ())
    assert earshot.apart(3, OURS, MEMBERS, 0.1)
    assert not earshot.apart(3, RingId(16, 1), MEMBERS, 0.1)


def test_two_outsiders_that_do_not_hear_each_other_are_not_proposed_together(earshot: Earshot) -> None:
    all_well(earshot, 0.1)
    say(earshot, 0.2, 5, ALONE, (1, 2, 4))
    assert earshot.cannot_join(5, (1, 2, 3), 0.2) and earshot.cannot_join(3, (1, 2, 5), 0.2)
    assert not earshot.cannot_join(5, (1, 2, 4), 0.2)
    assert not earshot.cannot_join(4, (1, 2, 3), 0.2), "members of one ring do not name each other"
    assert not earshot.cannot_join(9, (1, 2, 3), 0.2), "it has not said anything"


def test_only_the_first_of_a_ring_speaks_while_no_outsider_is_heard() -> None:
    earshot = Earshot(TOKEN, MERGE)
    earshot.heard[2] = 0.0
    assert earshot.merge_detect(OURS, MEMBERS, 0.0, first=False) is None
    assert earshot.merge_detect(OURS, MEMBERS, 0.0, first=True) == MergeDetect(OURS)
    say(earshot, 0.1, 2, OURS, (3,))
    assert earshot.merge_detect(OURS, MEMBERS, 0.1, first=False) == MergeDetect(OURS), "we do not hear 3"
    assert earshot.merge_detect(OURS, MEMBERS, 0.2 + TOKEN, first=False) is None, "nor does 2 any more"


def test_a_merge_detect_tells_who_is_apart_by_the_words_of_members_and_of_themselves(earshot: Earshot) -> None:
    all_well(earshot, 0.1)
    assert earshot.merge_detect(OURS, MEMBERS, 0.1, first=True) == MergeDetect(OURS, (3, 4, 5))
    say(earshot, 0.2, 2, OURS, (4, 5))
    say(earshot, 0.2, 5, ALONE, (1, 3, 4))
    assert earshot.merge_detect(OURS, MEMBERS, 0.2, first=True) == MergeDetect(OURS, (3, 4, 5), (3, 5))


def test_a_rumour_is_not_passed_on(earshot: Earshot) -> None:
    """Else two rings would keep each other in the belief for ever."""
    all_well(earshot, 0.1)
    say(earshot, 0.2, 3, THEIRS, (1, 2, 5), apart=(1, 2))
    assert earshot.merge_detect(OURS, MEMBERS, 0.2, first=True) == MergeDetect(OURS, (3, 4, 5))


# -- what an operational ring does with the joins of others


@pytest.fixture
def alone() -> Ring:
    """Node 1, operational in a ring of its own."""
    parameters = RingParameters(1, token=3.0, token_retransmit=0.7, hold=0.5, join=0.05, consensus=3.6, merge=0.2)
    ring = Ring(parameters, 1, lambda: 0.5)
    ring.start(0.0)
    while ring.take_effects() or ring.state is not RingState.OPERATIONAL:
        ring.expire(ring.next_deadline() or 0.0)
    return ring


@pytest.mark.parametrize(
    ("join", "counted"),
    [
        (Join((2, 3), (), 1, 0, False, 0), "join.for_others"),
        (Join((1, 2), (1,), 1, 0, False, 0), "join.gave_us_up"),
        (Join((2,), (2,), 1, 0, True, 0), "join.leave_of_outsider"),
    ],
)
def test_joins_that_are_not_meant_for_a_ring_do_not_disturb_it(alone: Ring, join: Join, counted: str) -> None:
    alone.receive(join, 2, 1.0)
    assert alone.state is RingState.OPERATIONAL and alone.counters[counted] == 1


@pytest.mark.parametrize("candidates", [(2,), (1, 2), (1, 2, 3)])
def test_joins_that_are_meant_for_a_ring_or_for_anybody_are_answered(alone: Ring, candidates: tuple[int, ...]) -> None:
    alone.receive(Join(candidates, (), 1, 0, False, 0), 2, 1.0)
    assert alone.state is not RingState.OPERATIONAL


def test_who_hears_two_that_do_not_hear_each_other_proposes_one_of_them(alone: Ring) -> None:
    for at in (0.3, 0.5):
        alone.receive(MergeDetect(RingId(20, 2), (1,)), 2, at)
    assert alone.state is RingState.GATHER
    alone.receive(MergeDetect(RingId(20, 3), (1, 2)), 3, 0.5)
    alone.receive(Join((1, 3), (), 1, 0, False, 0), 3, 0.6)
    alone.expire(alone.next_deadline() or 0.6)
    joins = [
        effect.packet
        for effect in alone.take_effects()
        if isinstance(effect, Multicast) and isinstance(effect.packet, Join)
    ]
    assert joins and all(join.candidates == (1, 2) for join in joins)
    assert alone.counters["apart_from_a_candidate"] and alone.counters["join.apart_from_a_candidate"]
