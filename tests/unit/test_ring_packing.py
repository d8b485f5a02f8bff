"""Messages to frames to messages: every byte arrives once, and a bad part costs its own message only."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.executive.totem.core.assembly import Assembler
from totemd.executive.totem.core.outbox import Frame, Outbox
from totemd.executive.totem.core.submission import Submission
from totemd.executive.totem.wire.packing import Body, Part, pack, unpack
from totemd.ipc.errors import MalformedMessage
from totemd.ipc.ids import Guarantee
from totemd.ipc.messages.stream import Lane

LIMIT = 1 << 20


def submission(payload: bytes, guarantee: Guarantee = Guarantee.AGREED, lane: Lane = Lane.APPLICATION) -> Submission:
    return Submission(1, lane, guarantee, payload)


def frames(outbox: Outbox, frame_bytes: int, *, application: bool = True) -> list[Frame]:
    taken = []
    while (frame := outbox.next_frame(frame_bytes, application=application)) is not None:
        taken.append(frame)
    return taken


def receive(assembler: Assembler, sent: list[Frame], origin: int = 1) -> list[bytes]:
    got = []
    for frame in sent:
        body = unpack(frame.body)
        for part in body.parts:
            message = assembler.feed(origin, body.incarnation, part)
            if message is not None:
                got.append(bytes(message))
    return got


messages = st.lists(
    st.tuples(st.binary(max_size=700), st.sampled_from(list(Guarantee)), st.sampled_from(list(Lane))), max_size=30
)


def test_a_message_that_fits_a_frame_is_not_cut_for_the_sake_of_its_tail() -> None:
    outbox = Outbox(7)
    for size in (800, 800, 300, 500, 700, 2_000):
        outbox.add(submission(bytes(size)))
    made = [[(part.number, len(part.chunk)) for part in unpack(frame.body).parts] for frame in frames(outbox, 1_000)]
    assert made[0] == [(1, 800)], "a fifth of the frame stays empty"
    assert made[1] == [(2, 800)]
    assert [number for number, _ in made[2]] == [3, 4] and made[2][1][1] == 500
    assert made[3][0] == (5, 700) and made[3][1][0] == 6, "what fits no frame is cut anyway"


@given(messages, st.integers(120, 900))
def test_round_trip_in_order_per_lane(sent: list[tuple[bytes, Guarantee, Lane]], frame_bytes: int) -> None:
    outbox = Outbox(7)
    for payload, guarantee, lane in sent:
        outbox.add(submission(payload, guarantee, lane))
    made = frames(outbox, frame_bytes)
    assert all(len(frame.body) <= frame_bytes for frame in made)
    expected = [payload for lane in (Lane.SYNC, Lane.APPLICATION) for payload, _, its in sent if its is lane]
    assert receive(Assembler(LIMIT), made) == expected
    assert outbox.waiting_bytes == 0


@given(messages, st.integers(120, 900), st.integers(0, 40))
def test_a_cut_message_is_put_back_whole(
    sent: list[tuple[bytes, Guarantee, Lane]], frame_bytes: int, cut_after: int
) -> None:
    """Rules F3 and F4: both ends drop what was cut by the new ring; the sender starts that message over."""
    outbox, assembler = Outbox(7), Assembler(LIMIT)
    application = [payload for payload, _, lane in sent if lane is Lane.APPLICATION]
    for payload, guarantee, lane in sent:
        if lane is Lane.APPLICATION:
            outbox.add(submission(payload, guarantee, lane))
    before = []
    for _ in range(cut_after):
        if (frame := outbox.next_frame(frame_bytes, application=True)) is not None:
            before.append(frame)
    got = receive(assembler, before)
    assembler.reset()
    assert outbox.new_ring() == []
    got += receive(assembler, frames(outbox, frame_bytes))
    assert got == application
    assert outbox.waiting_bytes == 0


def test_a_new_ring_voids_the_sync_lane_and_says_what() -> None:
    outbox = Outbox(1)
    outbox.add(submission(b"state", lane=Lane.SYNC))
    outbox.add(submission(b"kept"))
    assert [void.payload_bytes for void in outbox.new_ring()] == [5]
    assert receive(Assembler(LIMIT), frames(outbox, 500)) == [b"kept"]


def test_agreed_and_safe_never_share_a_frame() -> None:
    outbox = Outbox(1)
    for guarantee in (Guarantee.AGREED, Guarantee.AGREED, Guarantee.SAFE, Guarantee.AGREED):
        outbox.add(submission(b"x", guarantee))
    assert [(frame.guarantee, len(frame.completed)) for frame in frames(outbox, 5000)] == [
        (Guarantee.AGREED, 2),
        (Guarantee.SAFE, 1),
        (Guarantee.AGREED, 1),
    ]


def test_the_application_lane_waits_but_a_cut_message_is_finished_first() -> None:
    outbox = Outbox(1)
    outbox.add(submission(b"a" * 500))
    assert outbox.next_frame(200, application=False) is None
    assert outbox.next_frame(200, application=True) is not None
    outbox.add(submission(b"sync", lane=Lane.SYNC))
    assert receive(Assembler(LIMIT), frames(outbox, 200, application=False)) == [b"sync"]  # the rest of a: parts only


def test_a_missing_part_costs_its_message_only() -> None:
    outbox = Outbox(1)
    outbox.add(submission(b"a" * 500))
    outbox.add(submission(b"b" * 20))
    made = frames(outbox, 200)
    assembler = Assembler(LIMIT)
    assert receive(assembler, [made[0], *made[2:]]) == [b"b" * 20]
    assert assembler.dropped > 0


def test_a_message_that_claims_to_be_too_long_is_never_collected() -> None:
    assembler = Assembler(message_bytes_max=100)
    assert assembler.feed(1, 1, Part(1, 1, 0, 1000, memoryview(b"x" * 50))) is None
    assert assembler.feed(1, 1, Part(1, 1, 50, 1000, memoryview(b"x" * 950))) is None
    assert assembler.dropped == 2


def test_parts_of_two_incarnations_are_never_joined() -> None:
    assembler = Assembler(LIMIT)
    assert assembler.feed(1, 1, Part(1, 5, 0, 4, memoryview(b"ab"))) is None
    assert assembler.feed(1, 2, Part(1, 5, 2, 4, memoryview(b"cd"))) is None


@pytest.mark.parametrize(
    "part", [Part(1, 1, 3, 4, memoryview(b"ab")), Part(1, 1, 0, 4, memoryview(b"")), Part(1, 1, 5, 4, memoryview(b""))]
)
def test_contradictory_parts_are_refused(part: Part) -> None:
    with pytest.raises(MalformedMessage):
        unpack(pack(1, [part]))


@given(st.binary(max_size=300))
def test_any_body_is_unpacked_or_refused(body: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        assert isinstance(unpack(body), Body)
