"""The messages of the ring: the same set, and the same meaning of fields, as corosync's.

Frozen msgspec structs: msgpack arrays on the wire, every bound checked on decode, before anything is multiplied.
The sender of a packet stands in the header of its sealed frame and is handed to the core beside the packet.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ....ipc.ids import UINT64_MAX, Guarantee, NodeNumber, RingId, Sequence

NODES_MAX = 384
"""Processors of a cluster, as compiled into corosync."""

RETRANSMIT_REQUESTS_MAX = 256
"""Entries of a token's retransmission list; keeps the token inside one datagram."""

FRAME_BODY_BYTES_MAX = 255_000
"""Longest body of a multicast frame, so that it fits a sealed frame with its headers, encapsulated too."""

NOBODY = 0
"""In `Token.held_back_by`: no member lags.  0 is never a node id."""

NodeIds = Annotated[tuple[NodeNumber, ...], msgspec.Meta(max_length=NODES_MAX)]
Small = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Packet(msgspec.Struct, frozen=True, array_like=True):
    """Base of the packets."""


class Mcast(Packet, frozen=True, array_like=True, tag=1):
    """One numbered frame of the total order.  corosync: struct mcast."""

    ring: RingId
    seq: Annotated[int, msgspec.Meta(ge=1, le=UINT64_MAX)]
    """Place in the ring's total order, from 1."""
    origin: NodeNumber
    """Who numbered it (of an encapsulated one: who re-broadcast it).  Retransmissions keep it."""
    guarantee: Guarantee
    encapsulated: bool
    """The body is a whole `Mcast` of an old ring, re-broadcast in recovery."""
    body: Annotated[bytes, msgspec.Meta(max_length=FRAME_BODY_BYTES_MAX)]
    kept: bool = False
    """Its sender keeps the token for a moment, to send what comes next at once.  Old news in a repeated frame."""


class Token(Packet, frozen=True, array_like=True, tag=2):
    """The regular token.  corosync: struct orf_token."""

    ring: RingId
    hop: Sequence
    """Paper: token_seq.  Tells a repeated token from a new one."""
    highest: Sequence
    """Paper: seq.  Highest sequence number assigned."""
    received_by_all: Sequence
    """Paper: aru, all received up to."""
    held_back_by: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
    """Paper: aru_id.  Who lowered `received_by_all`; `NOBODY` if none."""
    flow: Small
    """Paper: fcc.  Datagram units sent in the last rotation."""
    backlog: Small
    """Sum of the members' backlogs, in datagram units."""
    recovering: bool
    """corosync: retrans_flg.  Somebody still has old-ring messages to re-broadcast."""
    missing: Annotated[tuple[Sequence, ...], msgspec.Meta(max_length=RETRANSMIT_REQUESTS_MAX)]
    """Paper: rtr.  Sequence numbers that somebody asks for again."""


class Join(Packet, frozen=True, array_like=True, tag=3):
    """A processor's view of who should form the next ring.  corosync: struct memb_join."""

    candidates: NodeIds
    """Paper: proc_set."""
    failed: NodeIds
    """Paper: fail_set."""
    ring_sequence: Sequence
    """Sequence of the sender's installed or attempted ring."""
    rotations: Sequence
    """Agarwal: tokens forwarded since the sender's last consensus; names the suspect when an attempt failed."""
    leaving: bool
    """The sender shuts down cleanly; never counts as agreement."""
    options_digest: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
    """CRC of the ring-relevant options, to log differing configurations."""


class MemberEntry(msgspec.Struct, frozen=True, array_like=True):
    """What a member reports of its installed ring while a new one is being committed."""

    ring: RingId
    received: Sequence
    """Paper: aru."""
    delivered: Sequence
    """Paper: high_delivered."""
    obliged: bool
    """Paper: received_flg.  Others may have delivered relying on this member's acknowledgement."""


class CommitToken(Packet, frozen=True, array_like=True, tag=4):
    """Goes twice round a proposed ring.  corosync: struct memb_commit_token."""

    ring: RingId
    hop: Sequence
    """Paper: token_seq.  Exact: member i receives i on the first pass and n + i on the second."""
    filled: Small
    """Paper: memb_index.  How many entries are filled in."""
    members: Annotated[tuple[NodeNumber, ...], msgspec.Meta(min_length=1, max_length=NODES_MAX)]
    entries: Annotated[tuple[MemberEntry, ...], msgspec.Meta(max_length=NODES_MAX)]


class MergeDetect(Packet, frozen=True, array_like=True, tag=5):
    """Says that a ring exists, so that two rings find each other.  corosync: struct memb_merge_detect."""

    ring: RingId
    heard: NodeIds = ()
    """Nodes outside the ring that the sender has heard lately."""
    apart: NodeIds = ()
    """Those of them that do not hear, or are not heard by, some other member of its ring, as far as it knows."""


class HoldCancel(Packet, frozen=True, array_like=True, tag=6):
    """Asks whoever holds the token to let it go.  corosync: struct token_hold_cancel."""

    ring: RingId


class Probe(Packet, frozen=True, array_like=True, tag=7):
    """To a node whose port seems closed: are you there?  corosync has none (docs/totem.md §5.9)."""

    answer: bool
    """False: a knock, only for the network to complain about if nobody listens there."""


class Alive(Packet, frozen=True, array_like=True, tag=8):
    """Answer to a `Probe`."""


AnyPacket = Mcast | Token | Join | CommitToken | MergeDetect | HoldCancel | Probe | Alive
