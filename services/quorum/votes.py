"""Whether the votes are enough: votequorum's arithmetic, pure, and the same on all nodes that exchanged records.

Every operation stands at its place in the total order and returns the next `Tally`.  Time is no part of it: when the
window of last_man_standing has passed is decided elsewhere, and comes as an operation like any other.
Source: votequorum(5); docs/quorum.md says where we differ, and why.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from ...ipc.errors import InvalidArgument, NotFound
from ...ipc.messages.quorum import VOTES_MAX
from .rules import HIGHEST, LOWEST, Rules, common
from .wire import Record, Reloaded

Ballot = Mapping[int, int]
"""Votes by node id."""


class Voter(NamedTuple):
    """A node that is present."""

    votes: int
    rules: Rules


def quorum_of(expected: int, nodes: int, rules: Rules) -> int:
    """The votes that are needed where *expected* are in the whole cluster and *nodes* nodes are present.

    More than half; with two_node, in a cluster of two, one.
    """
    if rules.two_node and nodes <= 2 and expected <= 2:
        return 1
    return expected // 2 + 1


def breaks_tie(present: Ballot, expected: int, seen: Ballot, rules: Rules) -> bool:
    """Whether half of the votes are enough here: this half has the tie breaker, and the other cannot have a majority.

    *seen* are the nodes that were there when there was a majority last.  Without such a memory no tie is broken: nodes
    that start apart from each other could all believe to have the tie breaker.
    """
    total = sum(present.values())
    if not rules.tie_breaker or not seen or not total or total != expected // 2:
        return False
    elsewhere = sum(votes for node, votes in seen.items() if node not in present)
    if elsewhere >= quorum_of(expected, len(present), rules):
        return False
    if rules.tie_breaker == LOWEST:
        return min(seen) in present
    if rules.tie_breaker == HIGHEST:
        return max(seen) in present
    for node in rules.tie_breakers:
        if node in present or node in seen:
            return node in present
    return False


def is_enough(present: Ballot, expected: int, seen: Ballot, rules: Rules) -> bool:
    """Whether these nodes may go on, wait_for_all aside."""
    majority = sum(present.values()) >= quorum_of(expected, len(present), rules)
    return majority or breaks_tie(present, expected, seen, rules)


@dataclasses.dataclass(frozen=True, slots=True)
class Tally:
    """How the votes stand on all nodes that are present."""

    voters: Mapping[int, Voter]
    expected: int
    """Votes of the whole cluster; never below those present, and never lower by itself."""
    floor: int
    """Below this allow_downscale does not go."""
    waiting: bool = True
    """Whether all expected votes have to be seen at once, where wait_for_all holds."""
    quorate: bool = False
    seen: Ballot = dataclasses.field(default_factory=dict)
    """Who was there when there was a majority last."""

    @property
    def ballot(self) -> dict[int, int]:
        """Votes of the nodes that are present."""
        return {node: voter.votes for node, voter in self.voters.items()}

    @property
    def total(self) -> int:
        """Their sum."""
        return sum(voter.votes for voter in self.voters.values())

    @property
    def rules(self) -> Rules:
        """What holds for all that are present."""
        return common([voter.rules for voter in self.voters.values()])

    @property
    def quorum(self) -> int:
        """So many votes are needed."""
        return quorum_of(self.expected, len(self.voters), self.rules)

    @property
    def waits_for_all(self) -> bool:
        """Whether there is no quorum because not all have been seen at once.

        All are as many as are expected, and everybody who was there when there was a majority last: after a recount
        fewer may be expected than there are.
        """
        missing = self.total < self.expected or not self.seen.keys() <= self.voters.keys()
        return self.rules.wait_for_all and self.waiting and missing

    @property
    def can_be_recounted(self) -> bool:
        """Whether last_man_standing applies: it needs a quorum, and nodes with one vote each."""
        equal = all(voter.votes == 1 for voter in self.voters.values())
        return self.quorate and equal and self.rules.last_man_standing and self.total < self.expected

    def gone(self, node: int) -> Tally:
        """A node's votes are away; what is expected stays."""
        return self._with(voters=self._others(node))

    def left(self, node: int) -> Tally:
        """A node was shut down; with allow_downscale what is expected follows."""
        voters = self._others(node)
        expected = self.expected
        if self.quorate and self.rules.allow_downscale:
            expected = min(expected, max(self.floor, sum(voter.votes for voter in voters.values())))
        return self._with(voters=voters, expected=expected)

    def expect(self, votes: int) -> Tally:
        """Set the votes of the whole cluster, also to fewer than before.

        Raises:
            InvalidArgument: fewer than are present, or so many that a quorate cluster would lose quorum.
        """
        if votes < max(1, self.total):
            raise InvalidArgument(f"expected votes {votes}: {self.total} votes are present; give {self.total} or more")
        needed = quorum_of(votes, len(self.voters), self.rules)
        if self.quorate and needed > self.total:
            raise InvalidArgument(
                f"expected votes {votes}: {needed} votes would be needed, and {self.total} are present: the cluster "
                f"would lose quorum; give at most {2 * self.total - 1}"
            )
        return self._told_to_expect(votes)

    def grant(self, node: int, votes: int) -> Tally:
        """Set the votes of a node.

        Raises:
            NotFound: no such node is present.
            InvalidArgument: a quorate cluster would lose quorum, or it would be more votes than can be counted.
        """
        if node not in self.voters:
            present = " ".join(map(str, sorted(self.voters)))
            raise NotFound(f"votes of node {node}: no such node is present; these are: {present}")
        voters = {**self.voters, node: self.voters[node]._replace(votes=votes)}
        after = self._with(voters=voters)
        if after.total > VOTES_MAX:
            raise InvalidArgument(f"votes {votes} for node {node}: all votes together are at most {VOTES_MAX}")
        if self.quorate and not after.quorate:
            raise InvalidArgument(
                f"votes {votes} for node {node}: {after.total} votes would be present and {after.quorum} be needed: "
                f"the cluster would lose quorum"
            )
        return after

    def cancel_wait(self) -> Tally:
        """Do not wait for all nodes any more; without quorum, waiting begins anew."""
        return self._with(waiting=False)

    def recount(self) -> Tally:
        """last_man_standing: who is present is all there is."""
        return self._with(expected=self.total) if self.can_be_recounted else self

    def reloaded(self, node: int, change: Reloaded) -> Tally:
        """The configuration of a node that is present has changed."""
        voter = self.voters[node]
        votes = voter.votes if change.votes is None else change.votes
        voters = {**self.voters, node: Voter(votes, change.rules)}
        after = self._with(voters=voters)
        return after if change.expected is None else after._told_to_expect(change.expected)

    def _told_to_expect(self, votes: int) -> Tally:
        """Who says that those present are all there is says, too, that nobody else needs to be seen."""
        present = {node: each for node, each in self.seen.items() if node in self.voters}
        return self._with(expected=votes, floor=votes, seen=present if votes <= self.total else self.seen)

    def _others(self, node: int) -> dict[int, Voter]:
        return {each: voter for each, voter in self.voters.items() if each != node}

    def _with(self, **changes: object) -> Tally:
        return decided(dataclasses.replace(self, **changes))  # type: ignore[arg-type]


def decided(tally: Tally) -> Tally:
    """*tally* with what follows from its votes: expected are at least those present, and it is quorate or not."""
    tally = dataclasses.replace(tally, expected=min(VOTES_MAX, max(tally.expected, tally.total)))
    ballot, rules = tally.ballot, tally.rules
    quorate = not tally.waits_for_all and is_enough(ballot, tally.expected, tally.seen, rules)
    majority = quorate and tally.total >= tally.quorum
    return dataclasses.replace(
        tally,
        quorate=quorate,
        waiting=rules.wait_for_all and not quorate,
        seen=ballot if majority else tally.seen,
    )


def merged(records: Mapping[int, Record]) -> Tally:
    """The count of nodes that come together.

    Nodes that are quorate by themselves are an authority: what they expect holds for everybody, and nobody waits for
    all nodes any more.  Without one the highest expectation holds.
    """
    authorities = [record for record in records.values() if _is_authority(record, records)]
    governing = authorities or list(records.values())
    seen: dict[int, int] = {}
    for record in governing:
        for node, votes in record.seen.items():
            seen[node] = max(votes, seen.get(node, 0))
    return decided(
        Tally(
            voters={node: Voter(record.votes, record.rules) for node, record in records.items()},
            expected=max((record.expected for record in governing), default=0),
            floor=max((record.floor for record in governing), default=0),
            waiting=not authorities,
            seen=seen,
        )
    )


def _is_authority(record: Record, records: Mapping[int, Record]) -> bool:
    """Whether those who were counted with this node, and have not been counted with others since, are still enough.

    That it was quorate when it was counted last does not suffice: it may have been cut off meanwhile, and the others
    may have gone on without it.
    """
    if not record.quorate or record.party is None:
        return False
    loyal = {
        node: each
        for node, each in records.items()
        if each is record or (node in record.seen and each.party is not None and each.party <= record.party)
    }
    ballot = {node: each.votes for node, each in loyal.items()}
    return is_enough(ballot, record.expected, record.seen, common([each.rules for each in loyal.values()]))
