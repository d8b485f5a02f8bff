"""The file of a recording: what is written is read, and whatever else is in a file is refused in words."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorderkit import HEADER, SECRET, dump, live, recorded
from totemd.executive.totem.core.effects import Persist
from totemd.executive.totem.core.timers import Timer
from totemd.executive.totem.recorder import format as recording_format
from totemd.executive.totem.recorder.blanks import BlankFrame, blank_frame, filled_frame
from totemd.executive.totem.recorder.checkpoint import CLASSES, decode_state, decode_value, encode_state, encode_value
from totemd.executive.totem.recorder.format import (
    HEADER_ROOM,
    INPUTS,
    SEGMENT_HEADER_BYTES,
    SLOTS,
    Header,
    Kind,
    Segment,
    decode_header,
    decode_records,
    encode_dump,
    encode_header,
    segment_header,
)
from totemd.executive.totem.recorder.replay import Replay, read_recording
from totemd.executive.totem.recorder.ring import RecordedRing
from totemd.executive.totem.recorder.story import as_json, told
from totemd.executive.totem.recorder.tape import Tape, buffer_bytes
from totemd.executive.totem.wire.codec import decode_encapsulated, encode
from totemd.executive.totem.wire.packets import Mcast
from totemd.executive.totem.wire.packing import Part, pack, unpack
from totemd.ipc.errors import MalformedMessage
from totemd.ipc.ids import Guarantee, RingId
from totemd.ipc.messages.stream import Lane


@cache
def sample() -> bytes:
    ring = recorded(64_000)
    live(ring, rounds=3)
    return dump(ring)


def run(data: bytes) -> Replay:
    """Everything that `totemctl blackbox replay` does with a file."""
    replay = Replay(recording := read_recording(data))
    for step in replay.steps():
        list(told(step, recording.header, None))
        json.dumps(as_json(step, recording.header))
    return replay


def left_behind(ring: RecordedRing) -> bytes:
    """The file of a process that was killed."""
    assert ring.tape is not None
    header = encode_header(msgspec.structs.replace(HEADER, slot_bytes=ring.tape.slot_bytes))
    return header + bytes(ring.tape._buffer[len(header) :])


def refusal(data: bytes) -> str:
    with pytest.raises(MalformedMessage) as caught:
        run(data)
    return str(caught.value)


def test_a_tape_forgets_its_beginning_and_nothing_else() -> None:
    tape = Tape(bytearray(buffer_bytes(64_000)), lambda: b"state")
    for number in range(5_000):
        at = tape.append(Kind.PACKET, number / 10, number, b"x" * (number % 50))
        tape.complete(at, number * 3)
    segments = tape.segments()
    assert len(segments) == SLOTS
    assert [each.generation for each in segments] == list(range(tape.generation - SLOTS + 1, tape.generation + 1))
    found = [record for segment in segments for record in decode_records(segment)]
    inputs = [record for record in found if record.kind is Kind.PACKET]
    assert len(found) - len(inputs) == SLOTS, "one checkpoint each"
    first = inputs[0].sender
    assert [record.sender for record in inputs] == list(range(first, 5_000))
    for record in inputs:
        assert (record.time, record.digest, record.completed) == (record.sender / 10, record.sender * 3, True)
        assert bytes(record.body) == b"x" * (record.sender % 50)


def test_an_input_that_was_not_completed_says_so() -> None:
    tape = Tape(bytearray(buffer_bytes(0)), lambda: b"")
    tape.append(Kind.EXPIRY, 1.0, 0, b"")
    (_, record) = decode_records(tape.segments()[0])
    assert not record.completed


def test_a_state_too_large_for_a_segment_costs_its_checkpoint_only() -> None:
    states = iter([b"small", b"x" * 100_000, b"small"])
    tape = Tape(bytearray(buffer_bytes(64_000)), lambda: next(states))
    while tape.generation < 3:
        tape.append(Kind.PACKET, 1.0, 1, b"x" * 100)
    assert tape.without_checkpoint == 1
    kinds = [next(iter(decode_records(segment))).kind for segment in tape.segments()]
    assert kinds == [Kind.CHECKPOINT, Kind.PACKET, Kind.CHECKPOINT]


def test_what_is_too_long_is_left_out_and_a_checkpoint_follows() -> None:
    tape = Tape(bytearray(buffer_bytes(64_000)), lambda: b"state")
    tape.append(Kind.PACKET, 1.0, 1, b"x")
    assert tape.append(Kind.PACKET, 1.0, 1, b"x" * 60_000) == -1
    tape.complete(-1, 5)
    tape.append(Kind.PACKET, 1.0, 2, b"x")
    kinds = [[record.kind for record in decode_records(segment)] for segment in tape.segments()]
    assert kinds == [[Kind.CHECKPOINT, Kind.PACKET], [Kind.CHECKPOINT, Kind.PACKET]]


def test_a_recording_that_runs_is_as_good_as_its_dump() -> None:
    """What `kill -9` leaves behind: the buffer as it is, slots in whatever order."""
    ring = recorded(64_000)
    live(ring, rounds=150)
    assert ring.tape is not None and ring.tape.generation > SLOTS, "it has forgotten its beginning"
    running, dumped = run(left_behind(ring)), run(dump(ring))
    assert (running.replayed, running.different) == (dumped.replayed, 0)
    assert dumped.replayed > 100


@pytest.mark.parametrize("rounds", [1, 60])
def test_a_process_that_was_killed_early_leaves_slots_that_were_never_used(rounds: int) -> None:
    ring = recorded(64_000)
    live(ring, rounds)
    assert ring.tape is not None and ring.tape.generation < SLOTS
    assert run(left_behind(ring)).replayed == run(dump(ring)).replayed > 10


def test_a_process_that_was_killed_as_it_began_a_segment() -> None:
    ring = recorded(64_000)
    live(ring, rounds=150)
    tape = ring.tape
    assert tape is not None
    whole = run(left_behind(ring)).replayed
    oldest = sum(record.kind in INPUTS for record in decode_records(tape.segments()[0]))
    tape.generation += 1
    at = HEADER_ROOM + (tape.generation - 1) % SLOTS * tape.slot_bytes
    tape._buffer[at : at + SEGMENT_HEADER_BYTES] = segment_header(tape.generation, 0)
    assert run(left_behind(ring)).replayed == whole - oldest


@pytest.mark.parametrize("rounds", [1, 60, 150])
def test_a_recording_that_runs_and_is_cut_off(rounds: int) -> None:
    """Also between two slots, and where nothing was written yet: a process never leaves a file of another length."""
    ring = recorded(64_000)
    live(ring, rounds)
    assert ring.tape is not None
    whole, slot = left_behind(ring), ring.tape.slot_bytes
    for length in (HEADER_ROOM, *(HEADER_ROOM + number * slot + more for number in range(SLOTS) for more in (0, 100))):
        assert refusal(whole[:length]).startswith(f"the recording is cut off at byte {length}: ")
    assert "cut off" in refusal(whole[:-1])
    assert "follow the last slot" in refusal(whole + b"\0")


def test_a_recording_that_runs_with_a_hole() -> None:
    ring = recorded(64_000)
    live(ring, rounds=150)
    assert ring.tape is not None
    whole, slot = left_behind(ring), ring.tape.slot_bytes
    for number in range(SLOTS):
        at = HEADER_ROOM + number * slot
        if number != (ring.tape.generation - 1) % SLOTS:
            assert "is missing" in refusal(whole[:at] + bytes(slot) + whole[at + slot :])


def frame(encapsulated: bool = False) -> Mcast:
    """A frame of another node with a message of 20 kB in two parts' shape: whole, and begun."""
    secret = memoryview(SECRET * 800)
    body = pack(9, [Part(2, 1, 0, len(secret), secret), Part(2, 2, 0, 10**6, secret)])
    plain = Mcast(RingId(5, 1), 1, 2, Guarantee.SAFE, False, body, kept=True)
    return Mcast(RingId(9, 1), 7, 3, Guarantee.AGREED, True, encode(plain)) if encapsulated else plain


def there_and_back(original: Mcast) -> Mcast:
    return filled_frame(msgspec.msgpack.decode(msgspec.msgpack.encode(blank_frame(original)), type=BlankFrame))


@pytest.mark.parametrize("encapsulated", [False, True])
def test_a_frame_is_put_back_with_zeros_for_users_bytes(encapsulated: bool) -> None:
    original = frame(encapsulated)
    restored = there_and_back(original)
    assert len(restored.body) == len(original.body)
    assert msgspec.structs.replace(restored, body=b"") == msgspec.structs.replace(original, body=b"")
    inside = (decode_encapsulated(each.body) if encapsulated else each for each in (original, restored))
    (was, now) = (unpack(each.body) for each in inside)
    assert was.incarnation == now.incarnation
    for old, new in zip(was.parts, now.parts, strict=True):
        assert (old.channel, old.number, old.offset, old.total) == (new.channel, new.number, new.offset, new.total)
        assert bytes(new.chunk) == bytes(len(old.chunk))


def test_a_frame_that_nobody_can_read_is_kept_as_it_came() -> None:
    odd = Mcast(RingId(5, 1), 1, 2, Guarantee.SAFE, False, b"\xc1 nonsense")
    assert there_and_back(odd) == odd


def test_no_users_bytes_are_in_a_recording() -> None:
    ring = recorded()
    live(ring)
    ring.receive(frame(), 2, 99.0)
    ring.receive(frame(encapsulated=True), 3, 99.0)
    ring._context.installed.store.add(frame())
    data = dump(ring) + encode_state(ring._context)
    assert SECRET[:8] not in data
    assert len(data) < 100_000, "thirty messages of up to 20 kB, and nothing of them"


def test_a_state_survives_being_written() -> None:
    ring = recorded()
    live(ring)
    once = encode_state(ring._context)
    restored = decode_state(once, lambda: 0.5)
    assert encode_state(restored) == once
    assert restored.jitter() == 0.5
    assert type(restored) is type(ring._context)


def test_only_the_cores_own_classes_are_made() -> None:
    class Stranger:
        pass

    with pytest.raises(TypeError, match="Stranger is not among"):
        encode_value(Stranger())
    for name in ("object", "Popen", "ZipFile", "Path", "type"):
        assert name not in CLASSES
        crafted = msgspec.msgpack.encode(([(name, ())], ["o", 0]))
        with pytest.raises(MalformedMessage, match="is no class of the core's state"):
            decode_value(crafted, lambda: 0.0)


@pytest.mark.parametrize("field", ["__class__", "__dict__", "count", "store", "is_representative", "no identifier"])
def test_only_fields_are_set(field: str) -> None:
    """Methods, properties and what makes an object what it is are none."""
    crafted = msgspec.msgpack.encode(([("RingContext", (field,))], ["o", 0, 1]))
    with pytest.raises(MalformedMessage, match="has no field"):
        decode_value(crafted, lambda: 0.0)


def test_a_class_with_slots_has_no_other_fields() -> None:
    crafted = msgspec.msgpack.encode(([("Rhythm", ("passed_by",))], ["o", 0, 1]))
    with pytest.raises(MalformedMessage, match="Rhythm has no field 'passed_by'"):
        decode_value(crafted, lambda: 0.0)


def test_fields_that_a_recording_does_not_know_have_their_defaults() -> None:
    ring = recorded()
    table, root = msgspec.msgpack.decode(encode_value(ring._context.episode))
    at = table[0][1].index("leavers")
    del table[0][1][at], root[2 + at]
    restored = decode_value(msgspec.msgpack.encode((table, root)), lambda: 0.0)
    assert restored == ring._context.episode
    needed = table[0][1].index("candidates")
    del table[0][1][needed], root[2 + needed]
    with pytest.raises(MalformedMessage, match="Episode lacks candidates"):
        decode_value(msgspec.msgpack.encode((table, root)), lambda: 0.0)


def test_files_that_are_none() -> None:
    assert "no recording" in refusal(b"")
    assert "no recording" in refusal(b"#!/bin/sh\nrm -rf /\n" * 100)
    future = bytearray(sample())
    future[8:12] = (99).to_bytes(4, "little")
    assert refusal(bytes(future)) == "the recording has format 99; this totemctl reads format 1"
    assert "empty" in refusal(encode_header(HEADER))
    assert "missing" in refusal(encode_dump(HEADER, [Segment(1, b""), Segment(3, b"")]))
    assert "no checkpoint" in refusal(encode_dump(HEADER, [Segment(1, b"")]))
    slotted = encode_header(msgspec.structs.replace(HEADER, slot_bytes=5_000)).ljust(HEADER_ROOM, b"\0")
    whole = HEADER_ROOM + SLOTS * 5_000
    assert "longer than its slot" in refusal((slotted + segment_header(1, 99_999)).ljust(whole, b"\0"))


@pytest.mark.parametrize("left", [4, 30, 90, 200, 2_000, -1])
def test_a_file_that_is_cut_off(left: int) -> None:
    assert ("cut off" if left > 20 or left < 0 else "no recording") in refusal(sample()[:left])


def test_a_dump_that_is_cut_off_between_two_segments() -> None:
    ring = recorded(64_000)
    live(ring, rounds=150)
    data = dump(ring)
    last = ring.tape.segments()[-1].records if ring.tape is not None else b""
    assert refusal(data[: -SEGMENT_HEADER_BYTES - len(last)]).endswith("cut off: it has 7 of 8 segments")


def test_dumps_of_before_their_segments_were_counted_are_read() -> None:
    header, end = decode_header(sample())
    plain = msgspec.structs.replace(header, segments=0)
    assert run(encode_header(plain) + sample()[end:]).replayed == run(sample()).replayed


def test_a_damaged_byte_is_noticed_wherever_it_is() -> None:
    good = sample()
    for at in range(0, len(good), max(1, len(good) // 97)):
        bad = bytearray(good)
        bad[at] ^= 0x40
        refusal(bytes(bad))


def resealed(data: bytes, edits: list[tuple[int, int]]) -> bytes:
    """A file whose records were changed by somebody who mended the checksums."""
    header, end = decode_header(data)
    segments = recording_format.decode_segments(data, header, end)
    changed = []
    for generation, records in segments:
        content = bytearray(records)
        for at, value in edits:
            if content:
                content[at % len(content)] = value
        changed.append(Segment(generation, bytes(content)))
    return encode_dump(header, changed)


@given(st.binary(max_size=300))
def test_random_files_are_refused(data: bytes) -> None:
    refusal(data)
    body = encode_header(HEADER) + data
    refusal(body)
    refusal(encode_header(HEADER) + segment_header(1, len(data), zlib.crc32(data)) + data)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_files_with_mended_checksums_are_run_or_refused(edits: list[tuple[int, int]]) -> None:
    """Whatever a file says, nothing but a refusal in words leaves the reader."""
    try:
        run(resealed(sample(), edits))
    except MalformedMessage as error:
        assert str(error)


@given(st.binary(max_size=200))
def test_random_states_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_state(data, lambda: 0.0)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda deeper: st.lists(st.sampled_from(["o", "l", "t", "d", "c", "s", "f", "q", "m", "p", "e", "z", "j"])
                            | st.sampled_from(sorted(CLASSES)) | deeper, max_size=6),
    max_leaves=20,
)  # fmt: skip


@given(
    st.lists(st.tuples(st.sampled_from(sorted(CLASSES)), st.lists(st.text(max_size=8), max_size=3)), max_size=3), VALUES
)
def test_well_formed_nonsense_is_refused(table: list[tuple[str, list[str]]], value: object) -> None:
    try:
        decode_value(msgspec.msgpack.encode((table, value)), lambda: 0.0)
    except MalformedMessage as error:
        assert str(error)


def with_state(data: bytes, path: list[int], value: object) -> bytes:
    """A file whose checkpoint has *value* somewhere deep inside."""
    header, end = decode_header(data)
    generation, records = recording_format.decode_segments(data, header, end)[0]
    first = next(decode_records(Segment(generation, records)))
    table, root = msgspec.msgpack.decode(first.body)
    node = root
    for step in path:
        deeper = [each for each in range(1, len(node)) if isinstance(node[each], list)]
        if not deeper or step % 4 == 3:
            break
        node = node[deeper[step % len(deeper)]]
    if len(node) > 1:
        node[1 + sum(path) % (len(node) - 1)] = value
    body = msgspec.msgpack.encode((table, root))
    head = recording_format.RECORD.pack(recording_format.RECORD.size + len(body), Kind.CHECKPOINT, 0, 0, 10.0, 0)
    rest = bytes(records)[recording_format.RECORD.size + len(first.body) :]
    return encode_dump(header, [Segment(generation, head + body + rest)])


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.integers(0, 40), max_size=6),
    st.none() | st.integers(-3, 2**40) | st.text(max_size=3) | st.just(["l"]) | st.just(["t", ["t", 1]]) | st.floats(),
)
def test_states_that_no_core_has_are_run_or_refused(path: list[int], value: object) -> None:
    try:
        run(with_state(sample(), path, value))
    except MalformedMessage as error:
        assert str(error)


def timer_by_number(state: Any) -> None:
    state.timers._deadlines = {int(Timer.MERGE): 1.0}


def state_of_another_kind(state: Any) -> None:
    state.state = Lane.SYNC


def effect_that_cannot_be_told(state: Any) -> None:
    state.effects.append(Persist(1.5))  # type: ignore[arg-type]


def counter_without_a_name(state: Any) -> None:
    state.timers.cancel_all()
    state.counters[(1,)] = 1


@pytest.mark.parametrize(
    "edit", [timer_by_number, state_of_another_kind, effect_that_cannot_be_told, counter_without_a_name]
)
def test_what_can_be_run_and_not_told_is_refused(edit: Callable[[Any], None]) -> None:
    """Each of them got past the decoder once, and on to whoever wanted to print it."""
    ring = recorded()
    ring.start(10.0)
    edit(ring._context)
    tape = Tape(bytearray(buffer_bytes(1 << 20)), lambda: encode_state(ring._context))
    tape.complete(tape.append(Kind.EXPIRY, 1000.0, 0, b""), 5)
    try:
        run(encode_dump(HEADER, tape.segments()))
    except MalformedMessage as error:
        assert str(error)


def test_the_header_says_whose_it_is() -> None:
    header, _ = decode_header(encode_header(HEADER))
    assert header == HEADER
    assert isinstance(header, Header)
