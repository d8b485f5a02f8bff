"""What the core decided: data, to be carried out by the shell in this order.

Contract (docs/totem.md §1.4): effects are executed in order, and nothing after a `Persist` may leave the machine
before it is durable.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from ....ipc.ids import Guarantee, RingId
from ..wire.packets import AnyPacket, MergeDetect


class Scope(enum.Enum):
    """Who gets a multicast."""

    RING = "ring"
    """The members of the current ring."""
    ALL = "all"
    """Every configured node."""


@dataclass(frozen=True, slots=True)
class Persist:
    """Make the ring sequence durable.  A barrier: nothing later may leave before it is."""

    ring_sequence: int


@dataclass(frozen=True, slots=True)
class Multicast:
    """Send to many; the core has stored its own copy already."""

    packet: AnyPacket
    scope: Scope
    members: tuple[int, ...] = ()
    """For `Scope.RING`, and for a merge detect: the ring's members, the sender among them."""
    repeated: bool = False
    """It has been sent before, and somebody asks for it."""

    def receivers(self, me: int, nodes: Iterable[int]) -> tuple[int, ...]:
        """To whom it goes from *me*, of all configured *nodes*.

        A merge detect goes to members too, since what they hear of each other's links decides which rings are tried;
        but not while there is nobody outside.
        """
        if self.scope is Scope.RING:
            return tuple(node for node in self.members if node != me)
        others = tuple(node for node in nodes if node != me)
        return () if isinstance(self.packet, MergeDetect) and set(others) <= set(self.members) else others


@dataclass(frozen=True, slots=True)
class Unicast:
    """Send to one other node.  (A ring of one passes its token to itself inside the core.)"""

    to: int
    packet: AnyPacket


@dataclass(frozen=True, slots=True)
class Deliver:
    """A whole message, in its place of the total order."""

    origin: int
    number: int
    """Counter of the origin's submissions since its boot."""
    incarnation: int
    """The origin's boot ring sequence; (origin, incarnation, number) names the message for ever."""
    channel: int
    """Which service it is for."""
    guarantee: Guarantee
    ring: RingId
    position: int
    """Sequence number on `ring` of the frame that completed it."""
    in_transitional: bool
    payload: bytes | memoryview


@dataclass(frozen=True, slots=True)
class TransitionalConfiguration:
    """Members of the old ring that go on together into the new one."""

    old: RingId
    new: RingId
    members: tuple[int, ...]
    left: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RegularConfiguration:
    """A new ring is installed."""

    ring: RingId
    members: tuple[int, ...]
    survivors: tuple[int, ...]
    """Members of the transitional configuration before it; only this node at boot."""
    joined: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Originated:
    """The last part of a submission got its sequence number (EVS: send).  For histories and credit."""

    number: int
    channel: int
    ring: RingId
    position: int
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class Discarded:
    """A submission of the sync lane was not sent before its ring ended; it would mean nothing on the next."""

    number: int
    channel: int
    payload_bytes: int


class Level(enum.IntEnum):
    """Severity of a fact."""

    DEBUG = 10
    INFO = 20
    NOTICE = 25
    WARNING = 30
    ERROR = 40


@dataclass(frozen=True, slots=True)
class Fact:
    """Something worth a log line or a counter.  `event` is a stable identifier (see docs/operations.md)."""

    event: str
    level: Level
    fields: tuple[tuple[str, object], ...] = ()


Effect = (
    Persist
    | Multicast
    | Unicast
    | Deliver
    | TransitionalConfiguration
    | RegularConfiguration
    | Originated
    | Discarded
    | Fact
)
