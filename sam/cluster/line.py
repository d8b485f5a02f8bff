"""Who stands where in each singleton's line, and who runs, as all members have said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ...ipc.ids import Address
from .candidates import Place
from .messages import Candidate, Head, Standing


@dataclass(slots=True)
class Line:
    """What the members of the group have said of their candidates and of the data they hold."""

    members: tuple[Address, ...] = ()
    said: dict[Address, Standing] = field(default_factory=dict)

    def become(self, members: Iterable[Address]) -> bool:
        """The membership changed; returns whether somebody has come."""
        before, self.members = set(self.members), tuple(members)
        self.said = {each: standing for each, standing in self.said.items() if each in self.members}
        return not before.issuperset(self.members)

    @property
    def complete(self) -> bool:
        """Whether every member has been heard since it came."""
        return len(self.said) == len(self.members)

    @property
    def nodes(self) -> set[int]:
        """The nodes whose sam processes are members."""
        return {each.node_id for each in self.members}

    def places(self, name: str) -> list[Place]:
        """Who stands by, the oldest first."""
        return sorted(
            Place(each.rank, address.node_id, each.number)
            for address, each in self._candidates()
            if each.name == name and not each.fence
        )

    def highest_rank(self) -> int:
        """Of anybody in any line."""
        return max((each.rank for _, each in self._candidates()), default=0)

    def best_head(self, name: str) -> tuple[int, int]:
        """The latest version of its data that a member has."""
        heads = ((head.fence, head.version) for _, head in self._heads() if head.name == name)
        return max(heads, default=(0, 0))

    def lacking(self, name: str, head: tuple[int, int]) -> bool:
        """Whether a member that was heard has an older version, or none."""
        for standing in self.said.values():
            has = next(((each.fence, each.version) for each in standing.heads if each.name == name), (0, 0))
            if has < head:
                return True
        return False

    def first_with(self, name: str, head: tuple[int, int]) -> Address | None:
        """The member that is to send this version to those who lack it."""
        return min(
            (address for address, each in self._heads() if each.name == name and (each.fence, each.version) == head),
            default=None,
        )

    def _candidates(self) -> Iterator[tuple[Address, Candidate]]:
        for address, standing in self.said.items():
            for candidate in standing.candidates:
                yield address, candidate

    def _heads(self) -> Iterator[tuple[Address, Head]]:
        for address, standing in self.said.items():
            for head in standing.heads:
                yield address, head
