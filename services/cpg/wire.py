"""What the cpg processes of a cluster say to each other inside their submissions.

The header of an application submission is one of four structs (msgpack arrays: fields are only ever appended); the
body of `Mcast` is a client's batch, untouched, that of `Part` a piece of one.  The state that an exchange carries is a
`JoinList`.

Every struct names the *life* of the cpg process that sent it: a number drawn when it attached to the ring.  What an
earlier life still had in a queue is thereby told from what its successor does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

from ...ipc.ids import MESSAGE_BYTES_LIMIT, MESSAGE_BYTES_MAX, Guarantee, Reason, RingId, Sequence
from ...ipc.messages.cpg import LENGTH_BYTES, Count, GroupName, Pid
from ...ipc.strict import decode_strictly
from ..envelope import Kind, enclose

LIFE_BITS = 62
"""A life is a random number of so many bits."""

Life = Sequence
"""As it is checked on decode."""

MEMBERSHIPS_MAX = 8_192
"""Memberships (process x group) of one node.  Their `JoinList` fits one submission, even with the longest names."""


WHOLE_BYTES_MAX = LENGTH_BYTES + MESSAGE_BYTES_MAX
"""Longest batch that is one submission.  A longer one, which is one message, travels in parts."""

PART_BYTES = 256 * 1024
"""Batch bytes of a part."""

LARGEST_BATCH_BYTES = LENGTH_BYTES + MESSAGE_BYTES_LIMIT
"""Longest batch that any node may send, whatever its configuration."""

TRANSFERS_MAX = 2
"""Messages in parts that a node has on the ring at the same time; every other node holds them until they are whole."""


class ProcJoin(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A process of the sender's node enters the group."""

    group: GroupName
    pid: Pid
    life: Life


class ProcLeave(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A process of the sender's node is out of the group: LEAVE, PROCESS_DOWN or EXPELLED."""

    group: GroupName
    pid: Pid
    life: Life
    reason: Reason


class Mcast(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A batch of messages of a process of the sender's node."""

    group: GroupName
    pid: Pid
    life: Life
    count: Count
    guarantee: Guarantee
    ring: RingId
    """Where the sender's node was when it handed the batch to the ring (docs/totem.md §8)."""


class Part(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """A piece of a batch that is too large for one submission."""

    group: GroupName
    pid: Pid
    life: Life
    count: Count
    guarantee: Guarantee
    ring: RingId
    """As in `Mcast`."""
    transfer: Sequence
    """Which of the sender's node; one that begins anew gets another number."""
    offset: Annotated[int, msgspec.Meta(ge=0, lt=LARGEST_BATCH_BYTES)]
    """Bytes before it."""
    total: Annotated[int, msgspec.Meta(gt=0, le=LARGEST_BATCH_BYTES)]
    """Bytes of the whole batch."""


class JoinList(msgspec.Struct, frozen=True, array_like=True):
    """The memberships of one node's processes, as far as they have been delivered."""

    life: Life
    groups: Annotated[dict[GroupName, tuple[Pid, ...]], msgspec.Meta(max_length=MEMBERSHIPS_MAX)]


Header = ProcJoin | ProcLeave | Mcast | Part


def enclose_header(header: Header, batches: Iterable[bytes | memoryview] = ()) -> bytes:
    """The submission; *batches* is the body in pieces."""
    return enclose(Kind.APPLICATION, _ENCODER.encode(header), batches)


def decode_header(header: memoryview) -> Header:
    """The header of an application submission.

    Raises:
        MalformedMessage: it is none.
    """
    return decode_strictly(_HEADER, header, "header of a cpg submission")


def encode_join_list(joins: JoinList) -> bytes:
    """The state that a node submits for an exchange."""
    return _ENCODER.encode(joins)


def decode_join_list(state: bytes | memoryview) -> JoinList:
    """A node's state.

    Raises:
        MalformedMessage: it is none.
    """
    return decode_strictly(_JOIN_LIST, state, "state of a cpg process")


_ENCODER = msgspec.msgpack.Encoder()
_HEADER: msgspec.msgpack.Decoder[Header] = msgspec.msgpack.Decoder(Header)
_JOIN_LIST = msgspec.msgpack.Decoder(JoinList)
