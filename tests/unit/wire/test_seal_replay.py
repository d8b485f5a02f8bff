"""The replay window against a model that remembers everything, and the floor that a sender states."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from totemd.executive.totem.wire.replay import RECENT_SECONDS, WINDOW_COUNTERS, RecentFloor, ReplayWindow

counters = st.one_of(
    st.integers(0, 50), st.integers(0, 3 * WINDOW_COUNTERS), st.integers(0, 2**64 - 1), st.just(2**64 - 1)
)


@given(st.integers(0, 100), st.lists(counters, max_size=60))
@example(0, [WINDOW_COUNTERS - 1, 0, WINDOW_COUNTERS, 0, 1, 1])
@example(0, [0, WINDOW_COUNTERS, 1, 0])
@example(5, [4, 5, 2**64 - 1, 6])
def test_each_counter_passes_once_and_none_that_is_too_old(floor: int, arrived: list[int]) -> None:
    window, seen, newest = ReplayWindow(floor), set[int](), floor - 1
    for counter in arrived:
        expected = counter >= floor and counter not in seen and counter > newest - WINDOW_COUNTERS
        assert window.accept(counter) == expected
        if expected:
            seen.add(counter)
            newest = max(newest, counter)


def test_a_window_stays_small() -> None:
    window = ReplayWindow(0)
    for counter in (2**64 - 1, 5, 2**63):
        window.accept(counter)
    assert window._map.bit_length() <= WINDOW_COUNTERS


@given(st.lists(st.floats(0, 2, allow_nan=False), min_size=1, max_size=60))
def test_a_floor_lies_within_three_marks_and_never_in_the_future(pauses: list[float]) -> None:
    floor, now, sealed_at = RecentFloor(), 100.0, list[float]()
    for pause in pauses:
        now += pause
        floor.note(len(sealed_at), now)
        sealed_at.append(now)
        stated = floor.at(len(sealed_at), now)
        assert 0 <= stated <= len(sealed_at)
        assert all(now - at <= 3 * RECENT_SECONDS for at in sealed_at[stated:])


def test_a_floor_spares_what_has_just_been_sealed() -> None:
    floor = RecentFloor()
    for counter in range(5):
        floor.note(counter, 100.0 + counter / 1000)
    assert floor.at(5, 100.01) == 0


def test_after_a_silence_everything_earlier_is_old() -> None:
    floor = RecentFloor()
    floor.note(0, 100.0)
    assert floor.at(1, 200.0) == 1
