"""What a frame carries: whole messages and parts of messages, each describing itself (docs/totem.md §7).

Nothing depends on the neighbours of a part: a bad or missing one costs its own message only.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from ....ipc.errors import MalformedMessage
from ....ipc.ids import Sequence
from ....ipc.strict import decode_strictly

PART_OVERHEAD_BYTES: Final = 40
"""Upper bound of what a part's fields add to its bytes."""

BODY_OVERHEAD_BYTES: Final = 16
"""Upper bound of what the body's own fields add to its parts."""

CHANNELS_MAX: Final = 16
"""Services that can be told apart on the ring."""

Length = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Part(msgspec.Struct, frozen=True, array_like=True):
    """A message, or consecutive bytes of one."""

    channel: Annotated[int, msgspec.Meta(ge=0, lt=CHANNELS_MAX)]
    number: Sequence
    """Counter of the sender's messages since its boot."""
    offset: Length
    total: Length
    """Length of the whole message; the part that reaches it is the last."""
    chunk: memoryview

    @property
    def is_last(self) -> bool:
        """Whether the message is complete with this part."""
        return self.offset + len(self.chunk) == self.total


class Body(msgspec.Struct, frozen=True, array_like=True):
    """The body of an ordinary multicast frame."""

    incarnation: Sequence
    """Boot ring sequence of the sender."""
    parts: tuple[Part, ...]


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Body)


def pack(incarnation: int, parts: list[Part]) -> bytes:
    """The body of a frame."""
    return _ENCODER.encode(Body(incarnation, tuple(parts)))


def unpack(body: bytes) -> Body:
    """The parts of a frame; their chunks are views into *body*.

    Raises:
        MalformedMessage: the body is none, or a part reaches beyond its message.
    """
    decoded = decode_strictly(_DECODER, body, "frame body")
    for part in decoded.parts:
        if part.offset + len(part.chunk) > part.total or (part.total and not part.chunk):
            raise MalformedMessage("frame body: a part reaches beyond its message, or is empty")
    return decoded
