"""The state machine of `Lock` and `Leader`: one turn at a time, and numbers that only grow."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd import Address
from totemd.replica import Rejected
from totemd.services.replica.turns import FENCE_MAX, Ask, Entry, Step, Turns, Yield, encode, next_step

A, B, C = (1, 10, 1), (2, 20, 1), (3, 30, 1)
ENTRIES = st.sampled_from([A, B, C, (1, 10, 2)])


def line(*commands: Ask | Yield) -> Turns:
    turns = Turns()
    for command in commands:
        turns.apply(encode(command))
    return turns


def members(entries: Iterable[Entry]) -> tuple[Address, ...]:
    return tuple(sorted({Address(*entry[:2]) for entry in entries}))


def test_first_come_first_served() -> None:
    turns = line(Ask(A), Ask(B), Ask(A), Ask(C))
    assert (turns.line, turns.first, turns.fence) == ([A, B, C], A, 1)
    turns.apply(encode(Yield(B)))
    assert (turns.first, turns.fence) == (A, 1)
    turns.apply(encode(Yield(A)))
    assert (turns.first, turns.fence) == (C, 2)
    turns.apply(encode(Yield(C)))
    assert (turns.first, turns.fence) == (None, 2)


def test_who_is_gone_has_no_turn() -> None:
    turns = line(Ask(A), Ask(B), Ask(C))
    turns.members_changed(members([C]))
    assert (turns.line, turns.fence) == ([C], 2)


@pytest.mark.parametrize(
    ("before", "seen", "after"),
    [
        ((), 7, 8),  # The first one after a fence that a protected thing remembers.
        ((Ask(B),), 1, 1),  # Seen in this very line: nothing new.
        ((Ask(B),), 7, 8),  # The one who has the turn is above whatever was given out elsewhere.
        ((Ask(B), Yield(B)), 1, 2),
    ],
)
def test_a_fence_that_was_seen_elsewhere_is_passed(before: tuple[Ask | Yield, ...], seen: int, after: int) -> None:
    turns = line(*before)
    turns.apply(encode(Ask(A, seen)))
    assert turns.fence == after


@pytest.mark.parametrize("command", [b"", b"\x93\x01\x02\x03", encode(Ask(A, FENCE_MAX + 1)), encode(Ask(A))[:-1]])
def test_what_is_no_command_is_refused(command: bytes) -> None:
    with pytest.raises(Rejected, match="line"):
        line().apply(command)


def test_an_ask_without_a_fence_is_understood() -> None:
    """As earlier versions send it."""
    turns = line()
    turns.apply(encode((1, A)))
    assert turns.first == A


@pytest.mark.parametrize(
    ("active", "step"), [(False, Step.WAIT), (True, Step.VERIFY)], ids=["not active", "seems to have it"]
)
def test_what_to_do_next_with_the_turn(active: bool, step: Step) -> None:
    assert next_step(line(Ask(A)), A, active) is step


def test_what_to_do_next_without() -> None:
    assert next_step(line(Ask(A)), B, True) is Step.ASK
    assert next_step(line(Ask(A), Ask(B)), B, True) is Step.WAIT


@given(
    st.lists(
        st.one_of(
            st.builds(Ask, ENTRIES, st.integers(0, 20)),
            st.builds(Yield, ENTRIES),
            st.sets(ENTRIES).map(frozenset),
            st.just("transfer"),
        ),
        max_size=40,
    )
)
def test_a_higher_number_for_each_who_gets_the_turn(happenings: list[Ask | Yield | frozenset[Entry] | str]) -> None:
    turns, held = Turns(), dict[int, Entry]()
    for each in happenings:
        before, fence = turns.first, turns.fence
        match each:
            case Ask() | Yield():
                turns.apply(encode(each))
            case frozenset():
                turns.members_changed(members(each))
            case _:
                snapshot, turns = turns.snapshot(), Turns()
                turns.restore(snapshot)
        assert turns.fence >= fence
        if turns.first is not None:
            if turns.first != before:
                assert turns.fence > fence
            assert held.setdefault(turns.fence, turns.first) == turns.first
        assert len(set(turns.line)) == len(turns.line)
