"""What an input led to, in 32 bits, so that a replay can tell whether it led to the same."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ..core.effects import Deliver, Effect, Multicast
from ..wire.packets import Mcast

_ENCODE: Final = msgspec.msgpack.Encoder(enc_hook=repr).encode
"""Facts may carry anything that can be printed."""


def digest(effects: Iterable[Effect]) -> int:
    """A checksum of *effects* in their order: everything but the bytes of messages, of which the lengths count."""
    return zlib.crc32(_ENCODE([_outline(effect) for effect in effects]))


def _outline(effect: Effect) -> Any:
    if isinstance(effect, Multicast):
        packet = effect.packet
        if isinstance(packet, Mcast):
            return (effect.scope, effect.members, packet.ring, packet.seq, packet.origin, packet.guarantee,
                    packet.encapsulated, len(packet.body))  # fmt: skip
    elif isinstance(effect, Deliver):
        return (effect.origin, effect.number, effect.incarnation, effect.channel, effect.guarantee, effect.ring,
                effect.position, effect.in_transitional, len(effect.payload))  # fmt: skip
    return type(effect).__name__, effect
