"""The file of a recording: a header, then segments of records, each of which can be read without the others.

A recording that runs has its segments in slots of one size that are used in turn; a dump has those that are in use,
oldest first, one behind the other.  A segment begins with a checkpoint of the core's state, so what is left when older
ones were overwritten can be replayed.  All numbers are little-endian.  Reading is strict: whatever is wrong with a file
is a `MalformedMessage` that says what and where.
"""

from __future__ import annotations

import enum
import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import Annotated, Final, NamedTuple

import msgspec

from ....ipc.errors import MalformedMessage
from ....ipc.ids import NodeNumber
from ....ipc.strict import decode_strictly

MAGIC: Final = b"TOTEMDBB"
FORMAT_VERSION: Final = 1
"""Another one is not read at all; that the *core* was another is said, and tried."""

HEADER_ROOM: Final = 4096
"""Bytes that the header has in a recording that runs, so that segments begin on a page."""

SLOTS: Final = 8
"""Segments of a recording that runs; when it is full, between seven eighths and all of its size are history."""

_PREFIX: Final = struct.Struct("<8sIII")
"""Magic, format version, length of the header, its CRC-32."""

HEADER_BYTES_MAX: Final = 64 * 1024
BEGINNING_BYTES_MAX: Final = _PREFIX.size + HEADER_BYTES_MAX
"""A file's header ends within so many bytes, so they are enough to tell a recording from something else."""

RECORDING_BYTES_MAX: Final = 1024**3
"""Of all slots together: the largest `logging.blackbox_size`."""

FILE_BYTES_MAX: Final = RECORDING_BYTES_MAX + BEGINNING_BYTES_MAX
"""A longer file is no recording."""

REASON_BYTES_MAX: Final = 8_000
"""Of a crash the end of the traceback is kept, at most so much."""

_SEGMENT: Final = struct.Struct("<4sIQQ")
"""Magic, CRC-32 of the records (0 in a recording that runs), generation (0: unused), bytes of records."""
RECORD: Final = struct.Struct("<IBBIdI")
"""Length of the whole record, kind, whether it was completed, digest of its effects, time, sender."""
RESULT: Final = struct.Struct("<BI")
RESULT_OFFSET: Final = 5
"""Where a record says that its input was completed, and with which effects."""

_SEGMENT_MAGIC: Final = b"SEGM"
SEGMENT_HEADER_BYTES: Final = _SEGMENT.size
COMMITTED: Final = struct.Struct("<Q")
COMMITTED_OFFSET: Final = 16
"""Where a segment's header says how many bytes of records count; written last, so half a record never counts."""


class Kind(enum.IntEnum):
    """What a record holds."""

    CHECKPOINT = 0
    """The state of the core before the next input."""
    FRAME = 1
    """A multicast frame arrived: a `BlankFrame`."""
    PACKET = 2
    """Any other packet arrived: as on the wire."""
    SUBMISSION = 3
    """A service's message: a `BlankSubmission`."""
    EXPIRY = 4
    """At least one timer was due.  No body."""
    CALL = 5
    """Anything else that was called: its name and arguments."""
    JITTER = 6
    """Random numbers that the input before it drew."""


INPUTS: Final = frozenset(Kind) - {Kind.CHECKPOINT, Kind.JITTER}
"""What the core was given; a replay makes a step of each that it can."""


class Header(msgspec.Struct, frozen=True):
    """Whose recording it is, and how to read it."""

    software: str
    """Version of totemd."""
    core: str
    """Checksum of the core's source: the same inputs lead to the same effects only in the same core."""
    node_id: NodeNumber
    pid: int
    boot_sequence: int
    cluster: str
    wall: float
    """Seconds since the epoch at `clock` …"""
    clock: float
    """… on the clock that all times of records are of."""
    slot_bytes: Annotated[int, msgspec.Meta(ge=0, le=FILE_BYTES_MAX)] = 0
    """Size of the slots of a recording that runs; 0 in a dump."""
    segments: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How many a dump has, so that one that ends between two of them is known to be cut off; 0 if nobody said it."""
    reason: str = ""
    """Why it was dumped; empty in a recording that runs."""
    dumped: float = 0.0
    """When, in seconds since the epoch."""
    python: str = ""


class Segment(NamedTuple):
    """Consecutive records."""

    generation: int
    records: bytes | memoryview


class Record(NamedTuple):
    """One entry of a segment."""

    kind: Kind
    completed: bool
    digest: int
    time: float
    sender: int
    body: memoryview


def encode_header(header: Header) -> bytes:
    """The beginning of a file."""
    body = msgspec.msgpack.encode(header)
    return _PREFIX.pack(MAGIC, FORMAT_VERSION, len(body), zlib.crc32(body)) + body


def segment_header(generation: int, length: int, checksum: int = 0) -> bytes:
    """What precedes a segment's records."""
    return _SEGMENT.pack(_SEGMENT_MAGIC, checksum, generation, length)


def encode_dump(header: Header, segments: list[Segment]) -> bytes:
    """A whole dump: *segments* one behind the other, each with its checksum."""
    head = encode_header(msgspec.structs.replace(header, slot_bytes=0, segments=len(segments)))
    parts: list[bytes | memoryview] = [head]
    for generation, records in segments:
        parts += [segment_header(generation, len(records), zlib.crc32(records)), records]
    return b"".join(parts)


def decode_header(data: bytes | memoryview) -> tuple[Header, int]:
    """The header, and where it ends.

    Raises:
        MalformedMessage: this is no recording, one of another format, or a damaged one.
    """
    if len(data) < _PREFIX.size or bytes(data[: len(MAGIC)]) != MAGIC:
        raise MalformedMessage("this is no recording of totemd's flight recorder")
    _, version, length, checksum = _PREFIX.unpack_from(data)
    if version != FORMAT_VERSION:
        raise MalformedMessage(f"the recording has format {version}; this totemctl reads format {FORMAT_VERSION}")
    end = _PREFIX.size + length
    if length > HEADER_BYTES_MAX or end > len(data):
        raise MalformedMessage("the recording is cut off within its header")
    body = data[_PREFIX.size : end]
    if zlib.crc32(body) != checksum:
        raise MalformedMessage("the recording's header is damaged")
    return decode_strictly(_HEADER, body, "the recording's header"), end


_HEADER = msgspec.msgpack.Decoder(Header)


def decode_segments(data: bytes | memoryview, header: Header, end: int) -> list[Segment]:
    """The segments of a file, oldest first.

    Raises:
        MalformedMessage: the file is cut off, damaged, or holds something else.
    """
    view = memoryview(data)
    found = _slots(view, header.slot_bytes) if header.slot_bytes else list(_dumped(view, end))
    if len(found) < header.segments:
        raise MalformedMessage(f"the recording is cut off: it has {len(found)} of {header.segments} segments")
    ordered = sorted((each for each in found if each.generation), key=lambda each: each.generation)
    if not ordered:
        raise MalformedMessage("the recording is empty")
    generations = [each.generation for each in ordered]
    if header.slot_bytes:
        # Slots are used in turn and never emptied: what was before the oldest one is in all the others' place.
        generations.insert(0, max(0, generations[-1] - SLOTS))
    for older, newer in itertools.pairwise(generations):
        if newer != older + 1:
            raise MalformedMessage(f"segment {older + 1} of the recording is missing")
    return ordered


def _dumped(view: memoryview, at: int) -> Iterator[Segment]:
    while at < len(view):
        generation, length, checksum = _segment_at(view, at)
        start = at + SEGMENT_HEADER_BYTES
        at = start + length
        if at > len(view):
            raise _cut_off(view, at)
        records = view[start:at]
        if zlib.crc32(records) != checksum:
            raise MalformedMessage(f"segment {generation} of the recording (byte {start}) is damaged")
        yield Segment(generation, records)


def _slots(view: memoryview, size: int) -> list[Segment]:
    """All that are in use.  The file has its full length before its header is written, and keeps it: see `Tape`."""
    if size <= SEGMENT_HEADER_BYTES:
        raise MalformedMessage("the recording's header names slots without room")
    end = HEADER_ROOM + SLOTS * size
    if len(view) < end:
        raise _cut_off(view, end)
    if len(view) > end:
        raise MalformedMessage(f"{len(view) - end} bytes follow the last slot of the recording: it is damaged")
    segments = []
    for at in range(HEADER_ROOM, end, size):
        if not any(view[at : at + SEGMENT_HEADER_BYTES]):
            continue  # never used
        generation, length, _ = _segment_at(view, at)
        if length > size - SEGMENT_HEADER_BYTES:
            raise MalformedMessage(f"the segment at byte {at} of the recording is longer than its slot")
        start = at + SEGMENT_HEADER_BYTES
        segments.append(Segment(generation, view[start : start + length]))
    return segments


def _segment_at(view: memoryview, at: int) -> tuple[int, int, int]:
    if at + SEGMENT_HEADER_BYTES > len(view):
        raise _cut_off(view, at + SEGMENT_HEADER_BYTES)
    magic, checksum, generation, length = _SEGMENT.unpack_from(view, at)
    if magic != _SEGMENT_MAGIC:
        raise MalformedMessage(f"there is no segment at byte {at} of the recording: it is damaged")
    return generation, length, checksum


def _cut_off(view: memoryview, end: int) -> MalformedMessage:
    return MalformedMessage(f"the recording is cut off at byte {len(view)}: {end - len(view)} more are missing")


def decode_records(segment: Segment) -> Iterator[Record]:
    """The records of a segment, in their order.

    Raises:
        MalformedMessage: they do not add up.
    """
    view, at = memoryview(segment.records), 0
    while at < len(view):
        if at + RECORD.size > len(view):
            raise MalformedMessage(f"segment {segment.generation} ends within a record")
        length, kind, completed, digest, time, sender = RECORD.unpack_from(view, at)
        if length < RECORD.size or at + length > len(view):
            raise MalformedMessage(f"segment {segment.generation}, byte {at}: a record of {length} bytes")
        if kind >= len(Kind):
            raise MalformedMessage(f"segment {segment.generation}, byte {at}: a record of an unknown kind {kind}")
        yield Record(Kind(kind), bool(completed), digest, time, sender, view[at + RECORD.size : at + length])
        at += length
