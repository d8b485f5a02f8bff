"""Who is in which group: joins and leaves, exchanges, the order of changes (C2 to C9, C14 of `histories`)."""

from __future__ import annotations

import pytest
from totemd.ipc.errors import MalformedMessage
from totemd.ipc.ids import Address, Guarantee, Member, Reason, RingId
from totemd.services.cpg.state import Change, GroupState, Verdict
from totemd.services.cpg.wire import (
    JoinList,
    Mcast,
    ProcJoin,
    ProcLeave,
    decode_header,
    decode_join_list,
    enclose_header,
    encode_join_list,
)
from totemd.services.envelope import disclose

RING = RingId(4, 1)
LIVES = {1: 111, 2: 222, 3: 333}


def join(state: GroupState, node: int, pid: int, group: bytes = b"g") -> list[Change]:
    return state.join(node, ProcJoin(group, pid, LIVES[node]))


def leave(state: GroupState, node: int, pid: int, reason: Reason = Reason.LEAVE) -> list[Change]:
    return state.leave(node, ProcLeave(b"g", pid, LIVES[node], reason))


def mcast(node: int, pid: int, life: int | None = None) -> Mcast:
    return Mcast(b"g", pid, LIVES[node] if life is None else life, 1, Guarantee.AGREED, RING)


@pytest.fixture
def state() -> GroupState:
    """Node 1, in a ring with 2 and 3 where nobody is in a group."""
    made = GroupState(1, LIVES[1])
    made.exchanged((), {node: JoinList(life, {}) for node, life in LIVES.items()})
    return made


def test_members_are_sorted_and_a_joiner_is_among_them(state: GroupState) -> None:
    join(state, 2, 5)
    (change,) = join(state, 1, 70)
    assert change == Change(b"g", (Address(1, 70), Address(2, 5)), joined=(Member(1, 70, Reason.JOIN),))
    assert state.members(b"g") == change.members and state.groups() == [b"g"]


def test_joining_again_changes_nothing(state: GroupState) -> None:
    join(state, 2, 5)
    assert join(state, 2, 5) == []


def test_a_leaver_is_not_in_the_list_that_tells_of_it(state: GroupState) -> None:
    join(state, 2, 5)
    join(state, 3, 5)
    assert leave(state, 2, 5) == [Change(b"g", (Address(3, 5),), left=(Member(2, 5, Reason.LEAVE),))]
    assert leave(state, 2, 5) == []
    assert leave(state, 3, 5, Reason.PROCESS_DOWN)[0].left == (Member(3, 5, Reason.PROCESS_DOWN),)
    assert state.groups() == []


def test_only_members_are_heard(state: GroupState) -> None:
    assert state.judge(2, mcast(2, 5)) is Verdict.UNKNOWN_NODE
    join(state, 2, 5)
    assert state.judge(2, mcast(2, 5)) is Verdict.DELIVER
    assert state.judge(2, mcast(2, 6)) is Verdict.UNKNOWN_PROCESS
    assert state.judge(3, mcast(3, 5)) is Verdict.UNKNOWN_NODE


def test_what_an_earlier_life_left_behind_changes_nothing(state: GroupState) -> None:
    join(state, 2, 5)
    old = LIVES[2] + 1
    assert state.judge(2, mcast(2, 5, life=old)) is Verdict.UNKNOWN_PROCESS
    assert state.leave(2, ProcLeave(b"g", 5, old, Reason.LEAVE)) == []
    assert state.join(2, ProcJoin(b"g", 6, old)) == []
    assert [change.left for change in state.service_gone(2)] == [(Member(2, 5, Reason.PROCESS_DOWN),)]
    assert join(state, 2, 5) == [], "nothing counts until the successor has exchanged its state"


def test_changes_at_a_ring_change_come_in_order(state: GroupState) -> None:
    """C9: per group nodes that went, nodes that came, processes that ended meanwhile; own processes do not change."""
    for node, pid, group in ((1, 1, b"g"), (2, 5, b"g"), (2, 5, b"h"), (3, 5, b"g"), (3, 6, b"g"), (1, 1, b"h")):
        join(state, node, pid, group)
    lists = {
        1: state.join_list(),
        3: JoinList(LIVES[3], {b"g": (6,)}),
        4: JoinList(444, {b"h": (8, 9), b"new": (8,)}),
    }
    changes = state.exchanged((2,), lists)
    assert [(each.group, each.joined, each.left) for each in changes] == [
        (b"g", (), (Member(2, 5, Reason.NODE_DOWN),)),
        (b"h", (), (Member(2, 5, Reason.NODE_DOWN),)),
        (b"h", (Member(4, 8, Reason.NODE_UP), Member(4, 9, Reason.NODE_UP)), ()),
        (b"new", (Member(4, 8, Reason.NODE_UP),), ()),
        (b"g", (), (Member(3, 5, Reason.PROCESS_DOWN),)),
    ]
    assert changes[-1].members == (Address(1, 1), Address(3, 6))


def test_a_node_that_left_and_returned_does_both(state: GroupState) -> None:
    join(state, 1, 1)
    join(state, 2, 5)
    changes = state.exchanged((2,), {1: state.join_list(), 2: JoinList(LIVES[2], {b"g": (5,)})})
    assert [(each.joined, each.left) for each in changes] == [
        ((), (Member(2, 5, Reason.NODE_DOWN),)),
        ((Member(2, 5, Reason.NODE_UP),), ()),
    ]


def test_a_restarted_cpg_process_takes_its_members_along_even_when_they_rejoined(state: GroupState) -> None:
    join(state, 2, 5)
    changes = state.exchanged((), {2: JoinList(999, {b"g": (5,)})})
    assert [(each.joined, each.left) for each in changes] == [
        ((), (Member(2, 5, Reason.PROCESS_DOWN),)),
        ((Member(2, 5, Reason.NODE_UP),), ()),
    ]


def test_members_of_a_node_without_the_service_are_down(state: GroupState) -> None:
    join(state, 2, 5)
    join(state, 3, 5)
    (change,) = state.exchanged((), {3: JoinList(LIVES[3], {b"g": (5,)})}, without=(2,))
    assert change.left == (Member(2, 5, Reason.PROCESS_DOWN),)


def test_a_member_whose_service_ended_during_the_exchange_stays_until_that_place(state: GroupState) -> None:
    join(state, 2, 5)
    assert state.exchanged((), {3: JoinList(LIVES[3], {})}) == []
    assert state.judge(2, mcast(2, 5)) is Verdict.DELIVER


def test_what_processes_say_to_each_other_survives_the_wire() -> None:
    for header in (ProcJoin(b"g" * 128, 1, 2), ProcLeave(b"g", 1, 2, Reason.EXPELLED), mcast(1, 7)):
        envelope = disclose(enclose_header(header, (b"ab", b"c")))
        assert decode_header(envelope.header) == header
        assert bytes(envelope.body) == b"abc"
    joins = JoinList(5, {b"g": (1, 2)})
    assert decode_join_list(encode_join_list(joins)) == joins


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", b"\x94\x09\xc4\x01g\x01\x01", b"\x94\x01\xc4\x00\x01\x01"])
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_header(memoryview(data))
    with pytest.raises(MalformedMessage):
        decode_join_list(data)
