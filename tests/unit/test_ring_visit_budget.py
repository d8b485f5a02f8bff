"""What one visit of the token may send, repeated and new frames together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.executive.totem.core.context import RingState
from totemd.executive.totem.core.effects import Multicast
from totemd.executive.totem.core.flow import units
from totemd.executive.totem.core.parameters import RingParameters
from totemd.executive.totem.core.ring import Ring
from totemd.executive.totem.core.submission import Submission
from totemd.executive.totem.wire.codec import MCAST_OVERHEAD_BYTES
from totemd.executive.totem.wire.packets import NOBODY, Mcast, Token
from totemd.ipc.ids import Guarantee
from totemd.ipc.messages.stream import Lane

DATAGRAM = 200
FRAME = 1_400 - MCAST_OVERHEAD_BYTES
FRAME_UNITS = 7
MEMBERS = (1, 2, 3)


def ring_with(window: int, kept: list[int], waiting: list[int], **more: int) -> Ring:
    """Node 2 of a ring of three; it has frames of *kept* bytes that others may miss, and has *waiting* to send."""
    ring = Ring(
        RingParameters(2, 3.0, 0.7, 0.5, 0.05, 3.6, 9.0, window_size=window, max_messages=window,
                       frame_bytes=FRAME, datagram_bytes=DATAGRAM, **more),
        1,
        lambda: 0.5,
    )  # fmt: skip
    context = ring._context
    context.rotation = context.new_rotation(MEMBERS)
    context.state = RingState.OPERATIONAL
    context.installed.members, context.installed.synchronised = MEMBERS, True
    for seq, size in enumerate(kept, 1):
        ring.receive(Mcast(context.ring, seq, 1, Guarantee.SAFE, False, bytes(size)), 1, 100.0)
    for size in waiting:
        ring.submit(Submission(2, Lane.APPLICATION, Guarantee.AGREED, bytes(size)), 100.0)
    ring.take_effects()
    return ring


def visit(ring: Ring, hop: int, missing: tuple[int, ...]) -> list[int]:
    """The token comes; the units of each frame that is sent."""
    highest = ring._context.store.highest
    lagging = (0, 3) if missing else (highest, NOBODY)
    ring.receive(Token(ring._context.ring, hop, highest, *lagging, 0, 0, False, missing), 1, 100.0 + hop / 1000)
    packets = [effect.packet for effect in ring.take_effects() if isinstance(effect, Multicast)]
    return [units(len(each.body) + MCAST_OVERHEAD_BYTES, DATAGRAM) for each in packets if isinstance(each, Mcast)]


@given(
    st.integers(1, 30),
    st.lists(st.integers(1, FRAME), max_size=6),
    st.lists(st.integers(0, 4_000), max_size=6),
)
def test_a_visit_keeps_to_its_window(window: int, kept: list[int], waiting: list[int]) -> None:
    sent = visit(ring_with(window, kept, waiting), 3, tuple(range(1, len(kept) + 1)))
    whole = -(-window // FRAME_UNITS) * FRAME_UNITS
    assert sum(sent) <= whole
    assert all(each <= FRAME_UNITS for each in sent)
    assert sent or not (kept or waiting), "one frame may always be sent"


@pytest.mark.parametrize("repeated", [FRAME, 100])
def test_a_repeated_frame_leaves_the_rest_of_the_window_to_news(repeated: int) -> None:
    ring = ring_with(1, [repeated], [4_000])
    assert sum(visit(ring, 3, (1,))) == FRAME_UNITS
    assert visit(ring, 6, ()) == [FRAME_UNITS]


def test_nothing_is_sent_that_a_store_has_no_room_for() -> None:
    """By frames and by bytes: node 3 has confirmed nothing, so all that was sent is still kept."""
    assert len(visit(ring_with(40, [10] * 7, [100] * 40, store_frames_max=20), 3, (1,))) <= 20
    crowded = ring_with(40, [FRAME] * 7, [1_000] * 10, store_bytes_max=7 * FRAME)
    assert visit(crowded, 3, (1,)) == [FRAME_UNITS], "the repeated one"
    assert crowded._context.counters["flow.store_limit"] == 1
    crowded = ring_with(40, [FRAME] * 7, [1_000] * 10, store_bytes_max=8 * FRAME)
    assert visit(crowded, 3, (1,)) == [FRAME_UNITS, FRAME_UNITS - 1]
