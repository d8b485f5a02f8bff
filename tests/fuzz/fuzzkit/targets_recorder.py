"""Recordings of the flight recorder: whatever a file says, it is replayed, or refused in words."""

from __future__ import annotations

import msgspec
from fuzzkit.examples import encoded_examples
from fuzzkit.target import MSGPACK_BOMBS, Target
from totemd.executive.totem.core.parameters import RingParameters
from totemd.executive.totem.core.submission import Submission
from totemd.executive.totem.recorder.checkpoint import decode_state, encode_state
from totemd.executive.totem.recorder.format import (
    HEADER_ROOM,
    SLOTS,
    Header,
    Segment,
    encode_dump,
    encode_header,
    segment_header,
)
from totemd.executive.totem.recorder.replay import Replay, read_recording
from totemd.executive.totem.recorder.ring import RecordedRing
from totemd.executive.totem.recorder.story import as_json, told
from totemd.executive.totem.recorder.tape import buffer_bytes
from totemd.executive.totem.wire.packets import Join, Mcast
from totemd.executive.totem.wire.packing import Part, pack
from totemd.ipc.errors import MalformedMessage
from totemd.ipc.ids import Guarantee, RingId
from totemd.ipc.messages.stream import Lane
from totemd.ipc.strict import UNDECODABLE

HEADER = Header("0.1.0", "c0ffee00", 1, 4711, 1, "fuzz", wall=1_800_000_000.0, clock=10.0, reason="a sample")
PARAMETERS = RingParameters(node_id=1, token=0.4, token_retransmit=0.1, hold=0.07, join=0.05, consensus=0.5, merge=0.2)
SLOT_BYTES = 4096


def _lived() -> RecordedRing:
    """A core with at least one input of each kind on its tape."""
    ring = RecordedRing(PARAMETERS, 1, lambda: 0.5)
    ring.record(bytearray(buffer_bytes(64_000)))
    now = 10.0
    ring.start(now)
    ring.submit(Submission(2, Lane.APPLICATION, Guarantee.AGREED, b"what users say"), now)
    ring.services_synchronised(now)
    body = pack(9, [Part(2, 1, 0, 5, memoryview(b"whole"))])
    ring.receive(Mcast(RingId(5, 2), 1, 2, Guarantee.SAFE, False, body), 2, now)
    ring.receive(Join((2,), (), 4, 0, False, 0), 2, now)
    for _ in range(8):
        now = max(now, ring.next_deadline() or now)
        ring.expire(now)
    ring.take_effects()
    return ring


def _segments(ring: RecordedRing) -> list[Segment]:
    assert ring.tape is not None
    return ring.tape.segments()


def _check_file(data: bytes) -> bool:
    """Everything that `totemctl blackbox replay` does with a file."""
    try:
        recording = read_recording(data)
        for step in Replay(recording).steps():
            list(told(step, recording.header, None))
            as_json(step, recording.header)
    except MalformedMessage as error:
        assert str(error)
        return False
    again = read_recording(encode_dump(recording.header, list(recording.segments)))
    assert again.header == msgspec.structs.replace(recording.header, slot_bytes=0, segments=len(recording.segments))
    assert list(again.records()) == list(recording.records())
    return True


def _check_records(data: bytes) -> bool:
    """Records whose checksums are right: those of a dump, and the same in the slot of a process that was killed."""
    dumped = _check_file(encode_dump(HEADER, [Segment(1, data)]))
    slotted = encode_header(msgspec.structs.replace(HEADER, slot_bytes=SLOT_BYTES)).ljust(HEADER_ROOM, b"\0")
    slot = segment_header(1, len(data)) + data
    lost = _check_file((slotted + slot).ljust(HEADER_ROOM + SLOTS * SLOT_BYTES, b"\0"))
    assert lost == dumped or len(slot) > SLOT_BYTES
    return dumped


def _check_header(data: bytes) -> bool:
    """Any header whose checksum is right, before records that are in order."""
    try:
        header = msgspec.msgpack.decode(data, type=Header)
    except UNDECODABLE:
        return False
    return _check_file(encode_dump(header, _segments(_lived())))


def _check_state(data: bytes) -> bool:
    try:
        decode_state(data, lambda: 0.5)
    except MalformedMessage as error:
        assert str(error)
        return False
    return True


TARGETS = (
    Target("recording", _check_file, lambda: [encode_dump(HEADER, _segments(_lived()))], MSGPACK_BOMBS),
    Target("recording-header", _check_header, lambda: encoded_examples(Header), MSGPACK_BOMBS),
    Target("recording-records", _check_records, lambda: [bytes(_segments(_lived())[0].records)], MSGPACK_BOMBS),
    Target("recording-checkpoint", _check_state, lambda: [encode_state(_lived()._context)], MSGPACK_BOMBS),
)
