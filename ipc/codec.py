"""Messages to frames and back: msgpack through msgspec, checked on decode, one tagged union per direction.

A ZeroMQ message of totemd is `[control, payload, …]`: the control frame is one of the structs of
`ipc.messages`, the payload frames are bytes, or views of them, that nobody in between decodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from .errors import MalformedMessage
from .strict import decode_strictly

CONTROL_BYTES_MAX = 4 * 1024 * 1024
"""Longest control frame that is looked at; member lists of the largest clusters stay far below."""

M = TypeVar("M")


class Codec(Generic[M]):
    """Decode one direction's messages; encode any."""

    def __init__(self, union: Any) -> None:
        """*union* is the union of the struct types that may arrive."""
        self._decoder: msgspec.msgpack.Decoder[M] = msgspec.msgpack.Decoder(union)

    def decode(self, frames: Sequence[bytes | memoryview]) -> tuple[M, Sequence[bytes | memoryview]]:
        """One ZeroMQ message as (control struct, payload frames).

        Raises:
            MalformedMessage: no frame, a control frame that is too long, or one that is no message of this direction.
        """
        if not frames:
            raise MalformedMessage("a message has at least a control frame; this one has no frame")
        if len(frames[0]) > CONTROL_BYTES_MAX:
            raise MalformedMessage(f"a control frame has at most {CONTROL_BYTES_MAX} bytes, not {len(frames[0])}")
        return decode_strictly(self._decoder, frames[0], "control frame"), frames[1:]


_ENCODER = msgspec.msgpack.Encoder()


def encode(message: msgspec.Struct) -> bytes:
    """The control frame of a message."""
    return _ENCODER.encode(message)
