"""quorum.sock: whether this node's side of the cluster is enough to go on, and who votes with how much.

Every request has a number and gets `Standing`, `Done` or `Refused`.  After `Track` the service sends `Changed`
whenever anything in it is different; the client answers with `Seen`, so that one which does not read is sent the
latest only, once it reads again.  docs/quorum.md explains it at length.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ..ids import NodeNumber, RingId
from .common import Wire

VOTES_MAX = 2**32 - 1
"""Highest number of votes; corosync's."""

UNSEEN_MAX = 64
"""Changes on their way to a client; from there on it is sent the latest, once it has read these."""

Votes = Annotated[int, msgspec.Meta(ge=0, le=VOTES_MAX)]
"""A number of votes as it is checked on decode."""


class NodeVotes(msgspec.Struct, frozen=True):
    """One node that is present."""

    node_id: NodeNumber
    votes: Votes
    name: str = ""
    """Empty if the configuration gives none."""


class Count(msgspec.Struct, frozen=True):
    """How it stands."""

    quorate: bool
    """Whether this node's side may go on."""
    node_id: NodeNumber
    ring: RingId | None
    """None while the node has no ring; nothing is quorate then."""
    nodes: tuple[NodeVotes, ...]
    """Who is present and votes, sorted by node id."""
    expected_votes: Votes
    """Of the whole cluster."""
    total_votes: Votes
    """Of the nodes that are present."""
    quorum: Votes
    """So many are needed."""
    flags: tuple[str, ...]
    """As corosync-quorumtool shows them: 2Node, Quorate, WaitForAll, LastManStanding, AutoTieBreaker, …"""
    waiting_for_all: bool
    """No quorum before all expected votes have been seen at once."""
    losses: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How often quorum was lost since the service started: a loss that has passed can be noticed by it."""

    @property
    def members(self) -> tuple[int, ...]:
        """The node ids, sorted."""
        return tuple(node.node_id for node in self.nodes)


# -- client -> quorum


class Ask(Wire, frozen=True, tag="quorum.ask"):
    """How does it stand?  Answered with `Standing`."""

    request: int = 0


class Track(Wire, frozen=True, tag="quorum.track"):
    """Tell what changes from now on.  Answered with `Standing`: how it stands, before the first change."""

    request: int = 0


class Untrack(Wire, frozen=True, tag="quorum.untrack"):
    """Tell no more changes.  Answered with `Done`."""

    request: int = 0


class Seen(Wire, frozen=True, tag="quorum.seen"):
    """The client has read so many more `Changed`."""

    changes: Annotated[int, msgspec.Meta(ge=1)]


class Expect(Wire, frozen=True, tag="quorum.expect"):
    """The whole cluster has so many votes; for root and the node's owner.  Answered with `Done`."""

    votes: Votes
    request: int = 0


class Grant(Wire, frozen=True, tag="quorum.grant"):
    """A node has so many votes, until it is started again; for root and the node's owner.  Answered with `Done`."""

    node_id: NodeNumber
    votes: Votes
    request: int = 0


class CancelWait(Wire, frozen=True, tag="quorum.cancel-wait"):
    """Do not wait for all nodes; for root and the node's owner.  Answered with `Done`."""

    request: int = 0


# -- quorum -> client


class Standing(Wire, frozen=True, tag="quorum.standing"):
    """The answer to `Ask` and `Track`."""

    request: int
    count: Count


class Changed(Wire, frozen=True, tag="quorum.changed"):
    """Something is different."""

    count: Count


FROM_CLIENT = Ask | Track | Untrack | Seen | Expect | Grant | CancelWait
TO_CLIENT = Standing | Changed
