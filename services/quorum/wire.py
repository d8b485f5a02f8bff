"""What the quorum processes of a cluster say to each other inside their submissions.

The state that an exchange carries is a `Record`; everything else is one of the orders.  All are msgpack arrays: fields
are only ever appended.  An order names the *life* of the process that sent it, a number drawn when it attached to the
ring, so that what an earlier life left in a queue is told from what its successor says.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ...ipc.ids import NodeNumber, Sequence
from ...ipc.messages.quorum import Votes
from ...ipc.messages.stream import Epoch
from ...ipc.strict import decode_strictly
from ..envelope import Kind, enclose
from .rules import Rules

LIFE_BITS = 62
"""A life is a random number of so many bits."""

MEMBERS_MAX = 4096
"""Nodes that a record may name."""


class Record(msgspec.Struct, frozen=True, array_like=True):
    """What a node brings to an exchange."""

    life: Sequence
    votes: Votes
    expected: Votes
    """Votes of the whole cluster, as last counted here; at first as configured, or as tracked if that is more."""
    floor: Votes
    """Below this allow_downscale does not go: the configured expected votes, or those set by hand since."""
    rules: Rules
    waiting: bool = True
    """Whether all nodes have to be seen at once, where `wait_for_all` holds."""
    quorate: bool = False
    """Whether it was, at the last count."""
    seen: Annotated[dict[NodeNumber, Votes], msgspec.Meta(max_length=MEMBERS_MAX)] = {}
    """The members, with their votes, when it last had a majority."""
    party: Epoch | None = None
    """The last exchange that it completed: nodes that name the same one come from the same count."""


class SetExpected(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The whole cluster has so many votes."""

    life: Sequence
    number: Sequence
    votes: Votes


class SetVotes(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A node has so many votes."""

    life: Sequence
    number: Sequence
    node: NodeNumber
    votes: Votes


class CancelWait(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Nobody waits for all nodes any more."""

    life: Sequence
    number: Sequence


class Recount(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """last_man_standing: the window has passed without a change; the nodes that are left are all there is."""

    life: Sequence
    number: Sequence
    epoch: Epoch
    changes: Sequence
    """The last exchange, and how many changes came after it, when the window began; void after another change."""


class Leaving(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The sender's node is being shut down."""

    life: Sequence
    number: Sequence


class Reloaded(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The configuration of the sender's node has changed; None: that did not."""

    life: Sequence
    number: Sequence
    votes: Votes | None
    expected: Votes | None
    rules: Rules


Order = SetExpected | SetVotes | CancelWait | Recount | Leaving | Reloaded


def enclose_order(order: Order) -> bytes:
    """The submission."""
    return enclose(Kind.APPLICATION, _ENCODER.encode(order))


def decode_order(header: memoryview) -> Order:
    """The order in the header of an application submission.

    Raises:
        MalformedMessage: it is none.
    """
    return decode_strictly(_ORDER, header, "order of a quorum process")


def encode_record(record: Record) -> bytes:
    """The state that a node submits for an exchange."""
    return _ENCODER.encode(record)


def decode_record(state: bytes | memoryview) -> Record:
    """A node's state.

    Raises:
        MalformedMessage: it is none.
    """
    return decode_strictly(_RECORD, state, "state of a quorum process")


_ENCODER = msgspec.msgpack.Encoder()
_ORDER: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
_RECORD = msgspec.msgpack.Decoder(Record)
