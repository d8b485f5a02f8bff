"""totem.sock: the ordered stream from the ring to the services, and what services submit to it.

A service says hello with its name as role.  It is welcomed, gets `Attached` (where the stream begins) and from then
on `Events` in ring order.  Payload frames of an `Events` message belong to its `Delivered` entries, in order; those of
a `Submit` to its items.  See docs/architecture.md, "The ordered stream".
"""

from __future__ import annotations

import enum

import msgspec

from ..ids import Guarantee, NodeNumber, RingId, Sequence
from .common import Wire


class Lane(enum.IntEnum):
    """Which of a node's two queues a submission takes (docs/totem.md §8)."""

    SYNC = 0
    """State exchange of services: originated as soon as the ring stands."""
    APPLICATION = 1
    """Everything else: waits until the services of the node have exchanged their state."""


class Epoch(msgspec.Struct, frozen=True, order=True, array_like=True):
    """A place in the order where services start to exchange state: a new ring, or a service that came up in it."""

    ring: RingId
    number: Sequence
    """0 for the start of the ring, else that of the `ServiceUp`."""


class Delivered(Wire, frozen=True, tag="delivered"):
    """A submission of some node's service, in its place; its bytes are the next payload frame."""

    origin: NodeNumber
    ring: RingId
    position: Sequence
    """Sequence number on *ring* of the frame that completed it."""


class Transitional(Wire, frozen=True, tag="transitional"):
    """Transitional configuration: the members of the old ring that go on together."""

    old: RingId
    new: RingId
    members: tuple[NodeNumber, ...]
    left: tuple[NodeNumber, ...]


class Regular(Wire, frozen=True, tag="regular"):
    """Regular configuration: a new ring is installed."""

    ring: RingId
    members: tuple[NodeNumber, ...]
    survivors: tuple[NodeNumber, ...]
    """Members of the transitional configuration before it (those who came with this node)."""


class ServiceList(Wire, frozen=True, tag="services"):
    """The services that run on a node; the first message of each node on each ring."""

    node: NodeNumber
    ring: RingId
    services: tuple[str, ...]


class ServiceUp(Wire, frozen=True, tag="service-up"):
    """A service (re)started on a node in the middle of a ring: a new exchange starts at this place."""

    node: NodeNumber
    service: str
    ring: RingId
    number: Sequence
    """Which of the starts and ends of services on this ring it is, the same on all nodes.  Its place in the order would
    not do: one frame may tell of a start, an end and another start."""


class ServiceDown(Wire, frozen=True, tag="service-down"):
    """A service died on a node: its processes are gone, and nobody waits for its state."""

    node: NodeNumber
    service: str
    ring: RingId
    number: Sequence
    """As that of `ServiceUp`."""


StreamEvent = Delivered | Transitional | Regular | ServiceList | ServiceUp | ServiceDown


class Attached(Wire, frozen=True, tag="attached"):
    """Where this service's stream begins.  Its own `ServiceUp` will follow in the order."""

    node_id: NodeNumber
    ring: RingId
    members: tuple[NodeNumber, ...]
    services: dict[int, tuple[str, ...]]
    """What each member has announced so far on this ring."""


class Events(Wire, frozen=True, tag="events"):
    """Consecutive events of the stream."""

    events: tuple[StreamEvent, ...]
    spent: int = 0
    """A `Credit` that would follow at once, since each message wakes its receiver."""


class SubmitItem(msgspec.Struct, frozen=True, array_like=True):
    """One submission of a batch; its bytes are the payload frame at the same index."""

    lane: Lane
    guarantee: Guarantee


class Submit(Wire, frozen=True, tag="submit"):
    """Messages for the ring, in this order."""

    items: tuple[SubmitItem, ...]


class Synchronised(Wire, frozen=True, tag="synchronised"):
    """This service has completed its state exchange at *epoch*; application messages may flow."""

    epoch: Epoch


class Credit(Wire, frozen=True, tag="credit"):
    """The receiver of this message may send *payload_bytes* more."""

    payload_bytes: int


TO_SERVICE = Attached | Events | Credit
FROM_SERVICE = Submit | Synchronised | Credit
