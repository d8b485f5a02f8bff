"""The frame store keeps its invariant whatever arrives, in whatever order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from totemd.executive.totem.core.store import FrameStore
from totemd.executive.totem.wire.packets import Mcast
from totemd.ipc.ids import Guarantee, RingId

RING = RingId(4, 1)


def frame(seq: int) -> Mcast:
    return Mcast(RING, seq, 1, Guarantee.AGREED, False, b"")


def test_received_stops_at_a_hole_and_jumps_when_it_is_filled() -> None:
    store = FrameStore(limit=100)
    for seq in (1, 2, 4, 5):
        assert store.add(frame(seq))
    assert (store.received, store.highest, list(store.holes(6))) == (2, 5, [3, 6])
    assert store.add(frame(3))
    assert (store.received, list(store.holes(5))) == (5, [])


def test_a_frame_is_taken_once_also_after_it_was_freed() -> None:
    store = FrameStore(limit=100)
    assert store.add(frame(1))
    assert not store.add(frame(1))
    store.release(1)
    assert not store.add(frame(1))
    assert (store.released, len(store), store.get(1)) == (1, 0, None)


def test_frames_beyond_the_limit_are_refused_until_earlier_ones_are_freed() -> None:
    store = FrameStore(limit=3)
    assert not store.add(frame(4))
    for seq in (1, 2, 3):
        assert store.add(frame(seq))
    store.release(1)
    assert store.add(frame(4))
    assert store.room(highest_assigned=4) == 0


def test_release_never_goes_beyond_what_was_received() -> None:
    store = FrameStore(limit=10)
    store.add(frame(1))
    store.add(frame(3))
    store.release(3)
    assert store.released == 1
    assert [each.seq for each in store.above(0)] == [3]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=120))
def test_invariant(steps: list[tuple[bool, int]]) -> None:
    store, present = FrameStore(limit=20), set[int]()
    for is_add, seq in steps:
        if is_add:
            if store.add(frame(seq)):
                assert seq not in present and seq > store.released
                present.add(seq)
        else:
            store.release(seq)
        assert store.released <= store.received <= store.highest
        assert all(each in present for each in range(1, store.received + 1))
        assert len(store) <= 20
