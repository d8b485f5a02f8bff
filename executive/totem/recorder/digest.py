"""What an input led to, in 32 bits, so that a replay can tell whether it led to the same."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ..core.effects import Deliver, Effect, Multicast, Unicast
from ..wire.packets import Mcast

_ENCODE: Final = msgspec.msgpack.Encoder(enc_hook=repr).encode
"""Facts may carry anything that can be printed."""


NOTHING: Final = zlib.crc32(_ENCODE([]))
"""Of no effects at all, as most frames have."""


def digest(effects: list[Effect]) -> int:
    """A checksum of *effects* in their order: everything but the bytes of messages, of which the lengths count."""
    if not effects:
        return NOTHING
    return zlib.crc32(_ENCODE([_OUTLINES.get(type(effect), _whole)(effect) for effect in effects]))


def _whole(effect: Any) -> Any:
    return type(effect).__name__, effect


def _multicast(effect: Multicast) -> Any:
    packet = effect.packet
    if not isinstance(packet, Mcast):
        return "Multicast", effect
    return (effect.scope, effect.members, effect.repeated, packet.ring, packet.seq, packet.origin, packet.guarantee,
            packet.encapsulated, len(packet.body), packet.kept)  # fmt: skip


def _unicast(effect: Unicast) -> Any:
    return effect.to, effect.packet


def _deliver(effect: Deliver) -> Any:
    return (effect.origin, effect.number, effect.incarnation, effect.channel, effect.guarantee, effect.ring,
            effect.position, effect.in_transitional, len(effect.payload))  # fmt: skip


_OUTLINES: Final[dict[type, Callable[[Any], Any]]] = {Multicast: _multicast, Unicast: _unicast, Deliver: _deliver}
