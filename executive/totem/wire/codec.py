"""Ring packets to bytes and back: msgpack through msgspec, plus the relations that types cannot state."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import msgspec

from ....ipc.errors import MalformedMessage
from ....ipc.strict import decode_strictly
from .packets import AnyPacket, CommitToken, Join, Mcast, MergeDetect, Token

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[AnyPacket]] = msgspec.msgpack.Decoder(AnyPacket)
_MCAST_DECODER: Final = msgspec.msgpack.Decoder(Mcast)

MCAST_OVERHEAD_BYTES: Final = 48
"""Upper bound of what a multicast's own fields add to its body; an encapsulated one needs it twice."""


def encode(packet: AnyPacket) -> bytes:
    """The bytes of a packet, ready to be sealed."""
    return _ENCODER.encode(packet)


def decode(data: bytes | memoryview) -> AnyPacket:
    """The packet in *data*.

    Raises:
        MalformedMessage: it is none, or its fields contradict each other.  Nothing else is ever raised.
    """
    packet = decode_strictly(_DECODER, data, "packet")
    problem = _contradiction(packet)
    if problem is not None:
        raise MalformedMessage(f"{type(packet).__name__}: {problem}")
    return packet


def decode_encapsulated(body: bytes) -> Mcast:
    """The old-ring multicast inside a recovery message.

    Raises:
        MalformedMessage: there is none, or it is encapsulated itself.
    """
    inner = decode_strictly(_MCAST_DECODER, body, "encapsulated message")
    if inner.encapsulated:
        raise MalformedMessage("encapsulated message: holds another encapsulated message")
    return inner


def _contradiction(packet: AnyPacket) -> str | None:
    match packet:
        case Token():
            if packet.received_by_all > packet.highest:
                return "received_by_all is beyond highest"
            if not _ascending(packet.missing):
                return "missing is not ascending"
        case Join():
            if not _ascending(packet.candidates) or not _ascending(packet.failed):
                return "a set of nodes is not ascending"
        case MergeDetect():
            if not _ascending(packet.heard) or not _ascending(packet.apart):
                return "a set of nodes is not ascending"
        case CommitToken():
            if not _ascending(packet.members):
                return "members are not ascending"
            if not len(packet.entries) == packet.filled <= len(packet.members):
                return "filled does not match entries and members"
    return None


def _ascending(numbers: Sequence[int]) -> bool:
    return all(a < b for a, b in itertools.pairwise(numbers))
