"""Who may work, and whose state is kept when several meet: pure, and the same at every member."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ...ipc.errors import InvalidArgument
from ...ipc.ids import Address, Guarantee
from .history import History


@dataclass(frozen=True, slots=True)
class Candidate:
    """Members that have one and the same state."""

    members: tuple[Address, ...]
    """Sorted."""
    history: History
    active: bool
    """They have been working up to now; otherwise this is what they had when they were cut off."""
    oldest: int = 0
    """Lowest rank among them: smaller is older."""
    sessions: frozenset[bytes] = frozenset()
    """More than one: parts of a split group in none of which anything was changed."""
    summary: bytes = b""
    """What the state machine of the lowest member that answered says of itself, if it has a `summary` method."""


@dataclass(frozen=True, slots=True)
class Gathering:
    """What is known where a census is complete."""

    members: tuple[Address, ...]
    """Of the group."""
    answered: tuple[Address, ...]
    """Those who said what they have, or of whom a mate did."""
    candidates: tuple[Candidate, ...]
    forced: bool = False
    """A person has said that those who are here shall work."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Nobody has a state: all who answered begin with that of a new state machine."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nobody works for now."""


Verdict = Candidate | Begin | Wait


class Policy(Protocol):
    """Decides; every member of a group must have the same one."""

    @property
    def guarantee(self) -> Guarantee:
        """With which commands are sent."""

    @property
    def confirms(self) -> bool:
        """Whether a command is acknowledged only once replicas that may work by themselves have applied it."""

    def may_work(self, members: Iterable[Address]) -> bool:
        """Whether those who have been working may go on in this membership."""

    def decide(self, gathering: Gathering) -> Verdict:
        """Who works after a census."""


Choice = Callable[[Sequence[Candidate]], Candidate]


def largest(candidates: Sequence[Candidate]) -> Candidate:
    """The one with the most members; of equal ones that with the oldest member; then that with the lowest address."""
    return min(candidates, key=lambda each: (-len(each.members), each.oldest, each.members))


def most_advanced(candidates: Sequence[Candidate]) -> Candidate:
    """The one with the latest epoch, then with the most commands; of equal ones the largest."""
    return min(
        candidates,
        key=lambda each: (
            tuple(-number for number in each.history.progress),
            -len(each.members),
            each.oldest,
            each.members,
        ),
    )


@dataclass(frozen=True, slots=True)
class Available:
    """Every part of a split group goes on; when parts meet, one state is kept and the other parts are given it.

    What was written in those parts since the split is lost, acknowledged or not: for caches, presence, anything that
    can be had again.
    """

    choose: Choice = largest
    """Takes the parts that have been working, returns one of them; must be deterministic."""
    guarantee: Guarantee = Guarantee.AGREED

    @property
    def confirms(self) -> bool:
        """What has come back is acknowledged."""
        return False

    def may_work(self, members: Iterable[Address]) -> bool:
        """Always."""
        return True

    def decide(self, gathering: Gathering) -> Verdict:
        """Those who have been working come before those who were cut off; with no state at all, all begin."""
        active = [each for each in gathering.candidates if each.active]
        if active:
            chosen = active[0] if len(active) == 1 else self.choose(active)
            if chosen not in active:
                raise InvalidArgument("the choice of a part returns one of those that it was given")
            return chosen
        return most_advanced(gathering.candidates) if gathering.candidates else Begin()


@dataclass(frozen=True, slots=True)
class Majority:
    """Only a part with members on more than half of the *nodes* works; the others wait.

    An acknowledged command is never lost while the processes of fewer than half of the nodes lose their memory; what
    is not certain is not acknowledged.  Costs a second trip round the ring per acknowledgement.

    Nodes are counted, not processes, so that no part makes itself a majority by starting more of them.  A part whose
    members have all been cut off in between works again once members on more than half of the nodes still have a
    state, or all nodes are there: only then nothing acknowledged can be overlooked.  So the first start waits for all
    of them.  `Replica.begin` overrides that.
    """

    nodes: int
    """On how many nodes the group has replicas when all is well.  It must be the same everywhere."""

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise InvalidArgument(f"a majority is one of at least 1 node, not of {self.nodes}")

    @property
    def guarantee(self) -> Guarantee:
        """Every node has a command before any replica applies it."""
        return Guarantee.SAFE

    @property
    def confirms(self) -> bool:
        """A safe message is with all nodes, but a node's processes may die before its replica has it."""
        return True

    def may_work(self, members: Iterable[Address]) -> bool:
        """On more than half of the nodes."""
        return 2 * _nodes(members) > self.nodes

    def decide(self, gathering: Gathering) -> Verdict:
        """Those who never stopped being a majority; otherwise the most advanced, if none can be overlooked."""
        if not self.may_work(gathering.members):
            return Wait()
        candidates = gathering.candidates
        active = [each for each in candidates if each.active]
        if active:
            return most_advanced(active)
        everybody = gathering.forced or _nodes(gathering.answered) >= self.nodes
        holders = [member for each in candidates for member in each.members]
        if candidates and (everybody or self.may_work(holders)):
            return most_advanced(candidates)
        return Begin() if everybody and not candidates else Wait()


def _nodes(members: Iterable[Address]) -> int:
    return len({member.node_id for member in members})
