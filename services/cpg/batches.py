"""A batch: a run of messages in one frame, as `ipc.messages.cpg` defines it.  Only the two ends look into it."""

from __future__ import annotations

import struct
from typing import Final

from ...ipc.errors import InvalidArgument, MalformedMessage, MessageTooLarge
from ...ipc.ids import MESSAGE_BYTES_MAX, Guarantee
from ...ipc.messages.cpg import LENGTH_BYTES

BytesLike = bytes | bytearray | memoryview
"""What a message may be given as; at run time anything with a buffer will do."""

_LENGTH: Final = struct.Struct("<I")
pack_length = _LENGTH.pack
"""The length in front of a message."""


def as_message(payload: object) -> bytes:
    """The bytes of what an application wants to send; anything with a buffer will do.

    Raises:
        InvalidArgument: it has no buffer (a `str`, say).
        MessageTooLarge: above 1 MiB.
    """
    if isinstance(payload, bytes) and len(payload) <= MESSAGE_BYTES_MAX:
        return payload
    try:
        view = memoryview(payload)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidArgument(f"a message is bytes-like, not {type(payload).__name__}; encode it first") from None
    if view.nbytes > MESSAGE_BYTES_MAX:
        raise MessageTooLarge(f"a message has at most {MESSAGE_BYTES_MAX} bytes; this one has {view.nbytes}: split it")
    return view.tobytes()


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


def split(batch: bytes, count: int) -> list[bytes]:
    """The messages of a batch.

    Raises:
        MalformedMessage: it does not hold exactly *count* messages.
    """
    messages: list[bytes] = []
    unpack, end, offset = _LENGTH.unpack_from, len(batch), 0
    for _ in range(count):
        start = offset + LENGTH_BYTES
        if start > end:
            raise MalformedMessage(f"a batch of {end} bytes ends before its {count} messages do")
        offset = start + unpack(batch, offset)[0]
        messages.append(batch[start:offset])
    if offset != end:
        raise MalformedMessage(f"a batch of {end} bytes does not end with its {count} messages")
    return messages
