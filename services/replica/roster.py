"""Who is active and who waits for the state: pure, and equal at all members that went through the same census."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ...ipc.ids import Address


@dataclass(slots=True)
class Waiting:
    """A member without the state."""

    life: int
    """Counts the times that it has joined."""
    served_by: Address | None = None
    avoid: frozenset[Address] = frozenset()


@dataclass(slots=True)
class Roster:
    """The active members with their ranks, and the waiting ones."""

    ranks: dict[Address, int] = field(default_factory=dict)
    """Smaller is older."""
    waiting: dict[Address, Waiting] = field(default_factory=dict)

    def is_active(self, member: Address) -> bool:
        """Whether its commands count."""
        return member in self.ranks

    @property
    def oldest(self) -> Address | None:
        """The active member that has been active for longest."""
        return min(self.ranks, key=lambda member: (self.ranks[member], member), default=None)

    def ready(self, member: Address, life: int) -> None:
        """It has the state, and is the youngest; unless an earlier life of it said so."""
        each = self.waiting.get(member)
        if each is not None and each.life == life:
            del self.waiting[member]
            self.ranks[member] = max(self.ranks.values(), default=-1) + 1

    def wants(self, member: Address, life: int, avoid: Iterable[Address]) -> None:
        """It has not, and nobody serves it."""
        self.ranks.pop(member, None)
        self.waiting[member] = Waiting(life, None, frozenset(avoid))

    def served(self, members: Iterable[Address], donor: Address) -> None:
        """The donor takes a snapshot for them."""
        for member in members:
            if member in self.waiting:
                self.waiting[member].served_by = donor

    def remove(self, members: Iterable[Address]) -> None:
        """They left, or it is not known any more what they have; whom they served is served no more."""
        for member in members:
            self.ranks.pop(member, None)
            self.waiting.pop(member, None)
            for each in self.waiting.values():
                if each.served_by == member:
                    each.served_by = None

    def suspend(self) -> None:
        """Nobody is active; the next census tells more."""
        self.ranks.clear()
        self.waiting.clear()

    def establish(self, ranks: Mapping[Address, int], others: Mapping[Address, int], keep_served: bool) -> None:
        """What a census has found; *others* are those without the state, with their lives."""
        before, self.ranks, self.waiting = self.waiting, dict(ranks), {}
        for member, life in others.items():
            known = before.get(member) if keep_served else None
            keep = known is not None and known.life == life and known.served_by in self.ranks
            self.waiting[member] = known if known is not None and keep else Waiting(life)

    def to_serve(self, donor: Address) -> list[Address]:
        """Whom this donor should take a snapshot for: those for whom it is the youngest active member they accept.

        The youngest, to spare the oldest, which has other duties (see `Leader`).
        """
        return sorted(
            member
            for member, each in self.waiting.items()
            if each.served_by is None and self._donor_of(each.avoid) == donor
        )

    def expected_donor(self, member: Address) -> Address | None:
        """Who serves this member, or should begin to; None if it does not wait, or there is nobody."""
        each = self.waiting.get(member)
        return None if each is None else each.served_by or self._donor_of(each.avoid)

    def _donor_of(self, avoid: frozenset[Address]) -> Address | None:
        donors = [member for member in self.ranks if member not in avoid]
        return max(donors, key=lambda member: (self.ranks[member], member), default=None)
