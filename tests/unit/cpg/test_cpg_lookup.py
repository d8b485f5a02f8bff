"""Reading who is in which group: pages, and what crosses with an absence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.ipc.ids import Member, Reason, RingId
from totemd.ipc.messages import cpg as wire
from totemd.ipc.messages.common import Welcome
from totemd.services.cpg import lookup
from totemd.services.cpg.channel import Channel
from totemd.services.cpg.lookup import Inquiry, page
from totemd.services.cpg.state import GroupState
from totemd.services.cpg.wire import JoinList, ProcJoin

RING = RingId(4, 1)
LIFE = 7


def state(groups: dict[bytes, set[int]]) -> GroupState:
    made = GroupState(1, LIFE)
    made.exchanged((), {1: JoinList(LIFE, {})})
    for group, pids in groups.items():
        for pid in pids:
            made.join(1, ProcJoin(group, pid, LIFE))
    return made


@given(st.dictionaries(st.binary(min_size=1, max_size=4), st.sets(st.integers(1, 50), min_size=1), max_size=12))
def test_the_pages_together_are_everything(groups: dict[bytes, set[int]]) -> None:
    known, inquiry = state(groups), Inquiry(3, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup, "LOOKUP_MEMBERS", 10)
        question, pages = inquiry.ask(), 0
        while (more := inquiry.page(page(known, question))) is not None:
            question, pages = more, pages + 1
            assert pages <= len(groups)
    assert inquiry.answer is not None
    assert list(inquiry.answer.items()) == [
        (group, tuple(Member(1, pid) for pid in sorted(groups[group]))) for group in sorted(groups)
    ]


def test_one_group_is_answered_alone() -> None:
    known = state({b"a": {1}, b"b": {2, 3}})
    for group, members in ((b"b", (Member(1, 2), Member(1, 3))), (b"none", ())):
        inquiry = Inquiry(1, group)
        assert inquiry.page(page(known, inquiry.ask())) is None
        assert inquiry.answer == ({group: members} if members else {})


class Desk:
    def __init__(self) -> None:
        self.channel = Channel()
        self.welcome()

    def welcome(self) -> None:
        self.channel.welcomed(Welcome((1, 0), 1, 99, 10, 1_000_000))

    def hear(self, message: Any) -> None:
        self.channel.arrived(message, ())

    def asked(self) -> int:
        """How many questions went out."""
        count, self.channel.outgoing = len(self.channel.outgoing), []
        return count


def test_what_is_asked_while_the_node_has_no_ring_is_asked_again_with_the_ring() -> None:
    desk = Desk()
    desk.hear(wire.Ring(None))
    inquiry = desk.channel.inquire(None)
    assert desk.asked() == 1
    desk.hear(wire.Groups(inquiry.number, None))
    assert inquiry.answer is None and desk.asked() == 0
    desk.hear(wire.Ring(RING, (1,)))
    assert desk.asked() == 1
    desk.hear(wire.Groups(inquiry.number, ((b"g", ((1, 5),)),)))
    assert inquiry.answer == {b"g": (Member(1, 5, Reason.UNDEFINED),)}
    desk.hear(wire.Ring(RingId(8, 1), (1,)))
    assert desk.asked() == 0


def test_what_was_lost_with_the_connection_is_asked_again_from_the_start() -> None:
    desk = Desk()
    desk.hear(wire.Ring(RING, (1,)))
    inquiry = desk.channel.inquire(None)
    desk.hear(wire.Groups(inquiry.number, ((b"gone", ((1, 5),)),), complete=False))
    assert desk.asked() == 2
    desk.channel.lost()
    desk.welcome()
    desk.hear(wire.Ring(RING, (1,)))
    assert desk.asked() == 1
    desk.hear(wire.Groups(inquiry.number, ()))
    assert inquiry.answer == {}


def test_an_answer_that_nobody_waits_for_counts_as_read() -> None:
    desk = Desk()
    desk.hear(wire.Ring(RING, (1,)))
    for _ in range(64):
        inquiry = desk.channel.inquire(b"g")
        desk.channel.forget(inquiry)
        desk.channel.outgoing.clear()
        desk.hear(wire.Groups(inquiry.number, ()))
        assert inquiry.answer is None
        if desk.channel.outgoing:
            break
    assert desk.asked() == 1  # `Consumed`
