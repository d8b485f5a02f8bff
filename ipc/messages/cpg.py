"""cpg.sock: groups, for applications.  This is the public client protocol; docs/protocol.md explains it at length.

After the hello a client sends `Join`, `Leave`, `Say`, `Multicast`, `Consumed` and `Lookup`; what it gets is one ordered
sequence of `Limits`, `Ring`, `Changed`, `Messages`, `Away`, `Failed`, `Groups`, `Expelled` and `Credit`.  Only `Lookup`
has a number: the answer to a join is the `Changed` in which the joiner appears, or `Failed`.

A *batch*, the payload of `Multicast` and `Messages`, is a run of messages: for each a u32 length, little endian, and
the bytes.  Nobody between the two members looks into it.  A client may hand it over in several frames.
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from ..errors import Status
from ..ids import GROUP_NAME_BYTES_MAX, MESSAGE_BYTES_MAX, Guarantee, NodeNumber, Reason, RingId
from .common import Wire
from .stream import Credit

__all__ = [
    "FROM_CLIENT",
    "TO_CLIENT",
    "Away",
    "Changed",
    "Consumed",
    "Credit",
    "Expelled",
    "Failed",
    "Groups",
    "Join",
    "Leave",
    "Limits",
    "Lookup",
    "Messages",
    "Multicast",
    "Ring",
    "Say",
    "Verb",
]

LENGTH_BYTES = 4
"""Length in front of each message of a batch: u32, little endian."""

BATCH_BYTES_MAX = 960 * 1024
"""Longest batch of several messages that a service takes; also how far it joins batches into one submission."""

BATCH_BYTES_ASSURED = 64 * 1024
"""The same for a client that has not been told of more by `Limits`; every service takes as much."""

SAY_BYTES_MAX = BATCH_BYTES_ASSURED - LENGTH_BYTES
"""Longest message of a `Say`; a longer one is a batch of its own."""

BATCH_FRAMES_MAX = 64
"""Most payload frames of a `Multicast`."""

LOOKUP_MEMBERS = 4_096
"""Members after which a page of `Groups` ends."""

BATCH_COUNT_MAX = BATCH_BYTES_MAX // LENGTH_BYTES
"""Most messages of a batch (empty ones)."""

BATCH_COST_BYTES = 64
"""What a batch takes of the credit besides its bytes, since small ones take memory too."""

CLIENT_CREDIT_BYTES = 4 * (LENGTH_BYTES + MESSAGE_BYTES_MAX + BATCH_COST_BYTES)
"""The credit of a client's welcome: four messages of the default limit may be on their way to the ring.  Where the
configuration allows longer messages there is credit for two of those besides."""

GroupName = Annotated[bytes, msgspec.Meta(min_length=1, max_length=GROUP_NAME_BYTES_MAX)]
"""1 to 128 bytes, compared byte by byte."""

Pid = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
"""A process id as the kernel of its node names it."""

Count = Annotated[int, msgspec.Meta(ge=1, le=BATCH_COUNT_MAX)]
"""Messages in a batch."""

# -- client -> cpg


class Join(Wire, frozen=True, tag="join"):
    """Let this process into the group."""

    group: GroupName


class Leave(Wire, frozen=True, tag="leave"):
    """Take this process out of the group; the last event is the `Changed` with itself in `left`."""

    group: GroupName


class Say(Wire, frozen=True, tag="say"):
    """One message for the group, which costs credit as a batch of one would.

    It travels in the control frame: for little messages a frame of their own costs more than all the rest.
    """

    group: GroupName
    message: Annotated[bytes, msgspec.Meta(max_length=SAY_BYTES_MAX)]
    guarantee: Guarantee = Guarantee.AGREED


class Multicast(Wire, frozen=True, tag="mcast"):
    """Messages for the group, in this order; the payload frames, one after the other, are the batch."""

    group: GroupName
    count: Count
    guarantee: Guarantee = Guarantee.AGREED


class Consumed(Wire, frozen=True, tag="consumed"):
    """The client has read so many more of the messages that it was sent (any but `Credit` and `Expelled`).

    The service adds up the bytes that are unread, and expels a client that lets them become too many.
    """

    messages: Annotated[int, msgspec.Meta(ge=1)]


class Lookup(Wire, frozen=True, tag="lookup"):
    """Which groups are there, and who is in them?  Answered by `Groups` with the same number."""

    number: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    group: GroupName | None = None
    """This one only; None: all of them."""
    after: Annotated[bytes, msgspec.Meta(max_length=GROUP_NAME_BYTES_MAX)] = b""
    """The last name of the previous page, which this one continues."""


# -- cpg -> client


class Verb(enum.StrEnum):
    """What a `Failed` speaks of."""

    JOIN = "join"
    LEAVE = "leave"
    MULTICAST = "mcast"


class Failed(Wire, frozen=True, tag="failed"):
    """The client asked for something that was not done."""

    group: bytes
    verb: Verb
    status: Status
    detail: str


class Changed(Wire, frozen=True, tag="changed"):
    """The group's membership changed here.  All lists are sorted by (node, pid)."""

    group: bytes
    members: tuple[tuple[NodeNumber, Pid], ...]
    joined: tuple[tuple[NodeNumber, Pid, Reason], ...] = ()
    left: tuple[tuple[NodeNumber, Pid, Reason], ...] = ()


class Groups(Wire, frozen=True, tag="groups"):
    """A page of the groups of the cluster as this node knows them, sorted by name; members sorted by (node, pid)."""

    number: int
    groups: tuple[tuple[bytes, tuple[tuple[NodeNumber, Pid], ...]], ...] | None
    """None: the node does not know at the moment.  Ask again after the next `Ring` that is one."""
    complete: bool = True
    """Nothing follows; else look up what comes after the last name."""


class Messages(Wire, frozen=True, tag="messages"):
    """Messages of one member; payload frame 0 is the batch."""

    group: bytes
    node: NodeNumber
    pid: Pid
    count: Count
    guarantee: Guarantee
    ring: RingId
    """Where the sender's node was when it handed the batch to the ring."""


class Limits(Wire, frozen=True, tag="limits"):
    """What the configuration of this node allows; the first message after the welcome, then one for each change."""

    message_bytes: int
    """Longest message that a client of this node may send; one that arrives may be longer."""
    batch_bytes: int = BATCH_BYTES_ASSURED
    """Longest batch of several messages that it may send; one that arrives may be longer."""
    unread_ms: int = 0
    """A member that leaves something unread is expelled after so long without a `consumed`; 0: never.  Where it is not
    0, it has to say `consumed` also whenever it has read all that came."""


class Ring(Wire, frozen=True, tag="ring"):
    """The ring that this node is in; the second message after the welcome, then one for each change."""

    ring: RingId | None
    """None while the node has no ring: its network process is starting."""
    members: tuple[NodeNumber, ...] = ()


class Away(Wire, frozen=True, tag="away"):
    """The node lost its place in the order: all groups of this client are void.  Join again at once; it will work
    as soon as the node is back."""

    why: str


class Expelled(Wire, frozen=True, tag="expelled"):
    """This client did not read what it was sent, and is out of all its groups.  A goodbye follows."""

    why: str


FROM_CLIENT = Join | Leave | Say | Multicast | Consumed | Lookup
TO_CLIENT = Changed | Messages | Groups | Limits | Ring | Away | Expelled | Failed | Credit
