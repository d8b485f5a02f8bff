"""A batch: a run of messages in one frame, as `ipc.messages.cpg` defines it.  Only the two ends look into it."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final

from ...ipc.errors import InvalidArgument, MalformedMessage, MessageTooLarge
from ...ipc.ids import MESSAGE_BYTES_LIMIT, Guarantee
from ...ipc.messages.cpg import (
    BATCH_BYTES_MAX,
    BATCH_FRAMES_MAX,
    LENGTH_BYTES,
    SAY_BYTES_MAX,
)

BytesLike = bytes | bytearray | memoryview
"""What a message may be given as; at run time anything with a buffer will do."""

COPIED_MESSAGE_BYTES_MAX: Final = 4096
"""Shorter messages, on average, are cut from a copy of their batch: from a view that takes two steps for each."""

_LENGTH: Final = struct.Struct("<I")
pack_length = _LENGTH.pack
"""The length in front of a message."""


def as_message(payload: object, limit: int) -> bytes:
    """The bytes of what an application wants to send; anything with a buffer will do.

    Raises:
        InvalidArgument: it has no buffer (a `str`, say).
        MessageTooLarge: above *limit* bytes.
    """
    if isinstance(payload, bytes) and len(payload) <= limit:
        return payload
    try:
        view = memoryview(payload)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidArgument(f"a message is bytes-like, not {type(payload).__name__}; encode it first") from None
    if view.nbytes > limit:
        raise too_large(view.nbytes, limit)
    return view.tobytes()


def too_large(size: int, limit: int) -> MessageTooLarge:
    """What is raised for a message of *size* bytes."""
    return MessageTooLarge(
        f"a message has at most {limit} bytes; this one has {size}: split it, or raise max_message_size"
    )


def as_parts(parts: Iterable[object]) -> list[bytes]:
    """The parts of one message as bytes that stay as they are; small ones are joined, and what cannot be a frame.

    Raises:
        InvalidArgument: a part has no buffer.
    """
    frames = [as_message(part, MESSAGE_BYTES_LIMIT) for part in parts]
    if len(frames) >= BATCH_FRAMES_MAX or sum(map(len, frames)) <= SAY_BYTES_MAX:
        return [b"".join(frames)]
    return frames


def checked_guarantee(guarantee: int) -> Guarantee:
    """The guarantee, from what an application passed.

    Raises:
        InvalidArgument: there is no such guarantee.
    """
    try:
        return Guarantee(guarantee)
    except ValueError:
        allowed = " or ".join(f"Guarantee.{each.name}" for each in Guarantee)
        raise InvalidArgument(f"a guarantee is {allowed}, not {guarantee!r}") from None


def split(batch: bytes | memoryview, count: int) -> list[bytes]:
    """The messages of a batch.

    Raises:
        MalformedMessage: it does not hold exactly *count* messages.
    """
    if isinstance(batch, memoryview) and len(batch) < COPIED_MESSAGE_BYTES_MAX * count:
        batch = batch.tobytes()
    messages: list[Any] = []
    unpack, end, offset = _LENGTH.unpack_from, len(batch), 0
    for _ in range(count):
        start = offset + LENGTH_BYTES
        if start > end:
            raise MalformedMessage(f"a batch of {end} bytes ends before its {count} messages do")
        offset = start + unpack(batch, offset)[0]
        messages.append(batch[start:offset])
    if offset != end:
        raise MalformedMessage(f"a batch of {end} bytes does not end with its {count} messages")
    return messages if isinstance(batch, bytes) else [bytes(message) for message in messages]


def checked_batch(frames: Sequence[bytes | memoryview], count: int, limit: int) -> int:
    """The size of a client's batch of *count* messages, as far as it can be judged without looking at each message.

    Raises:
        MessageTooLarge: a message above *limit* bytes, or a batch of several above its own limit.
        InvalidArgument: no batch, or one that cannot hold that many messages.
    """
    if not 0 < len(frames) <= BATCH_FRAMES_MAX:
        raise InvalidArgument(f"a batch has 1 to {BATCH_FRAMES_MAX} frames; this one has {len(frames)}")
    size = sum(map(len, frames))
    if count == 1:
        if size > LENGTH_BYTES + limit:
            raise too_large(size - LENGTH_BYTES, limit)
        if len(frames[0]) < LENGTH_BYTES or size != LENGTH_BYTES + _LENGTH.unpack_from(frames[0])[0]:
            raise InvalidArgument(f"the length in front of the message does not fit the batch of {size} bytes")
    elif size > BATCH_BYTES_MAX:
        raise MessageTooLarge(f"a batch of several messages has at most {BATCH_BYTES_MAX} bytes; this one has {size}")
    elif size < LENGTH_BYTES * count:
        raise InvalidArgument(f"{size} bytes cannot hold a batch of {count} messages")
    return size
