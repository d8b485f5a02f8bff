"""Who may vote on leases, and how many votes are enough: any two quorums must have a voter in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...ipc.ids import RingId
from ...ipc.messages.quorum import Count

TWO_NODE = "2Node"
"""The flag with which either of two nodes is quorate alone: no quorum as leases need it."""


@dataclass(frozen=True, slots=True)
class Franchise:
    """The votes of a quorate ring."""

    ring: RingId
    votes: Mapping[int, int]
    needed: int

    def enough(self, nodes: Iterable[int]) -> bool:
        """Whether these nodes' votes decide."""
        return sum(self.votes.get(node, 0) for node in nodes) >= self.needed


def franchise_of(count: Count | None) -> Franchise | None:
    """None where nobody can be given a lease: no count, no quorum.

    Where fewer votes than a majority make a quorum (a tie breaker) all that are present are needed.  With `two_node`
    both nodes are: each alone is quorate, and both would run.
    """
    if count is None or not count.quorate or count.ring is None:
        return None
    needed = min(count.quorum, count.total_votes)
    if TWO_NODE in count.flags:
        needed = count.expected_votes // 2 + 1
    if count.total_votes < needed or needed < 1:
        return None
    return Franchise(count.ring, {node.node_id: node.votes for node in count.nodes}, needed)
