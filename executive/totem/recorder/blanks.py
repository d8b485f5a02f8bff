"""What users sent is left out of a recording: the core never looks at it, only at how long it is.

A frame is kept as the parts that it consists of, a submission as its length.  Put back, the bytes are zeros, and the
core does with them what it did with the originals.  So a recording holds no user data and is small: a frame of
16 kB takes less than a hundred bytes, and megabytes hold minutes of a busy ring.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from ....ipc.errors import MalformedMessage
from ....ipc.ids import Guarantee, NodeNumber, RingId, Sequence
from ....ipc.messages.stream import Lane
from ..core.submission import Submission
from ..wire.codec import decode_encapsulated, encode
from ..wire.packets import FRAME_BODY_BYTES_MAX, Mcast
from ..wire.packing import CHANNELS_MAX, Length, Part, pack, unpack

BLANK_BYTES_MAX: Final = 4 * 1024 * 1024
"""Longest run of bytes that a recording may ask for; twice the longest submission."""

_ZEROS: Final = memoryview(bytes(BLANK_BYTES_MAX))
"""Every run of zeros is a view into this, so that a file cannot ask for more memory than it has bytes."""

_BODY, _RAW, _FRAME = 1, 2, 3

Channel = Annotated[int, msgspec.Meta(ge=0, lt=CHANNELS_MAX)]
FrameBytes = Annotated[int, msgspec.Meta(ge=0, le=FRAME_BODY_BYTES_MAX)]


class BlankPart(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A `Part` without its bytes."""

    channel: Channel
    number: Sequence
    offset: Length
    total: Length
    chunk_bytes: FrameBytes


class BlankBody(msgspec.Struct, frozen=True, array_like=True, tag=_BODY):
    """The body of an ordinary frame."""

    incarnation: Sequence
    parts: tuple[BlankPart, ...]


class RawBody(msgspec.Struct, frozen=True, array_like=True, tag=_RAW):
    """A body that cannot be read; kept whole, since that is what made the core drop it."""

    body: Annotated[bytes, msgspec.Meta(max_length=FRAME_BODY_BYTES_MAX)]


class BlankFrame(msgspec.Struct, frozen=True, array_like=True, tag=_FRAME):
    """A `Mcast` without users' bytes; also the body of one that is encapsulated in another."""

    ring: RingId
    seq: Annotated[int, msgspec.Meta(ge=1)]
    origin: NodeNumber
    guarantee: Guarantee
    encapsulated: bool
    body: BlankBody | RawBody | BlankFrame
    kept: bool = False


class BlankSubmission(msgspec.Struct, frozen=True, array_like=True):
    """A `Submission` without its bytes."""

    channel: Channel
    lane: Lane
    guarantee: Guarantee
    payload_bytes: Annotated[int, msgspec.Meta(ge=0, le=BLANK_BYTES_MAX)]


def zeros(count: int) -> memoryview:
    """So many zeros.

    Raises:
        MalformedMessage: more than any submission has.
    """
    if not 0 <= count <= BLANK_BYTES_MAX:
        raise MalformedMessage(f"recording: a run of {count} bytes; at most {BLANK_BYTES_MAX} are in order")
    return _ZEROS[:count]


def blank_frame(frame: Mcast) -> tuple[Any, ...]:
    """*frame* without users' bytes, as what a `BlankFrame` is read from.

    Plain tuples: this is done for every frame of a busy ring, and objects would cost twice as much.
    """
    body: tuple[Any, ...]
    try:
        if frame.encapsulated:
            body = blank_frame(decode_encapsulated(frame.body))
        else:
            read = unpack(frame.body)
            body = (
                _BODY,
                read.incarnation,
                [(part.channel, part.number, part.offset, part.total, len(part.chunk)) for part in read.parts],
            )
    except MalformedMessage:
        body = (_RAW, frame.body)
    return (_FRAME, frame.ring, frame.seq, frame.origin, frame.guarantee, frame.encapsulated, body, frame.kept)


def filled_frame(blank: BlankFrame) -> Mcast:
    """A frame that the core cannot tell from the recorded one.

    Raises:
        MalformedMessage: it would be longer than a frame can be, or holds frames within frames within frames.
    """
    match blank.body:
        case BlankBody(incarnation, parts):
            if sum(part.chunk_bytes for part in parts) > FRAME_BODY_BYTES_MAX:
                raise MalformedMessage("recording: the parts of a frame are longer than a frame")
            body = pack(incarnation, [
                Part(part.channel, part.number, part.offset, part.total, zeros(part.chunk_bytes)) for part in parts
            ])  # fmt: skip
        case RawBody(raw):
            body = raw
        case inner:
            if isinstance(inner.body, BlankFrame):
                raise MalformedMessage("recording: an encapsulated frame holds another encapsulated one")
            body = encode(filled_frame(inner))
    return Mcast(blank.ring, blank.seq, blank.origin, blank.guarantee, blank.encapsulated, body, blank.kept)


def blank_submission(submission: Submission) -> BlankSubmission:
    """*submission* without its bytes."""
    return BlankSubmission(submission.channel, submission.lane, submission.guarantee, len(submission.payload))


def filled_submission(blank: BlankSubmission) -> Submission:
    """A submission of the same length."""
    return Submission(blank.channel, blank.lane, blank.guarantee, zeros(blank.payload_bytes))
