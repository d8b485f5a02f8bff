"""What loss changes (docs/totem.md §4.10): the size of frames, and when missing ones are asked for."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.executive.totem.core.adaptation import VISITS_MIN, FrameSize, Repeats, Requests

MOST = 44


def after(loss: float, receivers: int, datagrams: int = 20_000) -> FrameSize:
    """What has been learned on a network that loses *loss* of all datagrams."""
    chance, size, sent = random.Random(7), FrameSize(MOST), 0
    while sent < datagrams:
        frame = size.datagrams(receivers)
        sent += frame
        size.sent(frame, receivers)
        while any(chance.random() < loss for _ in range(frame * receivers)):
            size.repeated()
            if chance.random() < 0.5:
                break
    return size


def test_without_loss_frames_are_as_large_as_they_may_be() -> None:
    assert after(0.0, 2).datagrams(2) == MOST
    assert FrameSize(MOST).datagrams(2) == MOST


def test_a_single_loss_changes_nothing() -> None:
    size = FrameSize(MOST)
    size.repeated()
    assert size.datagrams(2) == MOST


@pytest.mark.parametrize(("loss", "receivers"), [(0.01, 2), (0.05, 2), (0.01, 7)])
def test_frames_shrink_with_loss_and_with_receivers(loss: float, receivers: int) -> None:
    size = after(loss, receivers)
    assert loss / 2 < size.loss < 2 * loss
    assert 1 < size.datagrams(receivers) < MOST
    assert size.datagrams(receivers) < after(loss / 10, receivers).datagrams(receivers)


def test_when_the_loss_ends_frames_grow_again() -> None:
    size = after(0.05, 2)
    for _ in range(2_000):
        size.sent(size.datagrams(2), 2)
    assert size.datagrams(2) == MOST


@given(st.lists(st.integers(0, 20)), st.integers(1, 64), st.integers(0, 30))
def test_a_frame_has_a_datagram_at_least(steps: list[int], most: int, receivers: int) -> None:
    size = FrameSize(most)
    for step in steps:
        if step:
            size.sent(step, receivers)
        else:
            size.repeated()
        assert 1 <= size.datagrams(receivers) <= most


def test_what_is_missing_at_the_second_visit_is_asked_for() -> None:
    requests = Requests()
    assert requests.visit([4, 5], most=5) == []
    requests.came(5)
    assert requests.visit([4, 6], most=5) == [4]
    assert Requests().visit([4], most=1) == [4], "the configuration may ask for less patience"


def test_where_data_come_behind_the_token_we_learn_to_wait() -> None:
    requests = Requests()
    for seq in range(40):
        while seq not in requests.visit([seq], most=5):
            pass
        requests.asked(seq)
        requests.came(seq)
        requests.visit([], most=5)
        requests.came_again(seq, most=5)
    assert [requests.visit([99], most=5) for _ in range(5)] == [[], [], [], [], [99]]
    for seq in range(100, 200):  # and where asking is useful, to ask soon again
        requests.asked(seq)
        requests.came(seq)
    assert [requests.visit([300], most=5) for _ in range(VISITS_MIN)] == [[], [300]]


def test_what_comes_twice_much_later_was_somebody_elses_wish() -> None:
    requests = Requests()
    requests.asked(7)
    requests.came(7)
    requests.visit([], most=5)
    requests.visit([], most=5)
    for _ in range(10):
        requests.came_again(7, most=5)
    assert [requests.visit([9], most=5) for _ in range(VISITS_MIN)] == [[], [9]]


def test_a_frame_that_is_asked_for_again_is_left_to_others_longer_each_time() -> None:
    repeats, sent = Repeats(), []
    for request in range(12):
        if not repeats.leaves_to_others(7):
            repeats.sent(7, others=2)
            sent.append(request)
    assert sent == [0, 2, 5, 8, 11]
    assert not repeats.leaves_to_others(8), "each frame for itself"
    repeats.release(7)
    assert not repeats.leaves_to_others(7)


def test_who_alone_can_send_a_frame_again_does_so_each_time() -> None:
    repeats = Repeats()
    for _ in range(5):
        assert not repeats.leaves_to_others(7)
        repeats.sent(7, others=0)


def test_a_member_that_does_not_hear_the_next_ones_is_served_by_those_behind_them() -> None:
    members = [Repeats() for _ in range(5)]
    served = set[int]()
    for _ in range(30):
        for number, repeats in enumerate(members):
            if not repeats.leaves_to_others(1):
                repeats.sent(1, others=4)
                served.add(number)
                break
    assert served == {0, 1, 2, 3, 4}
