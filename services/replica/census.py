"""A census: every member says what it has, and where the last of them has spoken everybody decides alike.  Pure.

What counts is what is delivered between the census message and that place.  A change of the membership ends a census,
and a new one begins; so what is said in one belongs to one membership.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...ipc.ids import Address
from .history import History
from .messages import Standing
from .policy import Candidate, Gathering

CENSUS_SECONDS = 3.0
"""A census that is due and has not begun is begun by anybody after so long; one that has begun goes on without those
who are still silent after as long again.  They are given the state when they wake up."""


class Census:
    """One census, as it goes on."""

    def __init__(self, mark: bytes, forced: bool) -> None:
        self.mark = mark
        self.forced = forced
        self._answers: dict[Address, Standing] = {}
        self._ready: set[Address] = set()
        """Became active since, and have not answered."""

    def answered(self, sender: Address, standing: Standing) -> None:
        """A member's answer."""
        self._answers[sender] = standing
        self._ready.discard(sender)

    def ready(self, sender: Address, life: int) -> None:
        """A member restored the state meanwhile."""
        standing = self._answers.get(sender)
        if standing is not None and standing.life == life and not standing.live:
            self._ready.add(sender)

    def lives(self) -> dict[Address, int]:
        """Of those who answered."""
        return {member: standing.life for member, standing in self._answers.items()}

    def is_complete(self, members: Iterable[Address]) -> bool:
        """Whether something is known of each of them."""
        known = self._known()
        return all(member in known for member in members)

    def gathering(self, members: tuple[Address, ...]) -> tuple[Gathering, dict[Address, int]]:
        """What was found, and the ranks of those who are active."""
        known = self._known()
        live, ranks = self._live()
        candidates = [
            *_united([self._active(session, live, ranks, members) for session in sorted(set(live.values()))]),
            *self._passive(live, members),
        ]
        present = tuple(member for member in members if member in known)
        found = tuple(each for each in candidates if each.members)
        return Gathering(members, present, found, self.forced), ranks

    def _known(self) -> set[Address]:
        return {
            *self._answers,
            *(Address(node, pid) for each in self._answers.values() for node, pid, _ in each.mates if each.live),
        }

    def _live(self) -> tuple[dict[Address, bytes], dict[Address, int]]:
        """The sessions and ranks of the active members."""
        sessions: dict[Address, bytes] = {}
        ranks: dict[Address, int] = {}
        for sender in sorted(self._answers):
            standing = self._answers[sender]
            if not standing.live or standing.history is None:
                continue
            sessions[sender] = standing.history.session
            for node, pid, rank in standing.mates:
                mate = Address(node, pid)
                own = self._answers.get(mate)
                # What a member says of itself counts more than what a mate knew of it.
                if own is None or own.live or mate in self._ready:
                    sessions.setdefault(mate, standing.history.session)
                    ranks.setdefault(mate, rank)
        youngest = max(ranks.values(), default=-1)
        for offset, sender in enumerate(sorted(sessions.keys() - ranks.keys()), 1):
            ranks[sender] = youngest + offset
        return sessions, ranks

    def _active(
        self, session: bytes, live: dict[Address, bytes], ranks: dict[Address, int], members: tuple[Address, ...]
    ) -> Candidate:
        mates = tuple(member for member in members if live.get(member) == session)
        speakers = [each for each in sorted(self._answers) if live.get(each) == session and self._answers[each].live]
        spoken = self._answers[speakers[0]]
        assert spoken.history is not None
        oldest = min((ranks[member] for member in mates), default=0)
        return Candidate(mates, spoken.history, True, oldest, frozenset({session}), spoken.summary)

    def _passive(self, live: dict[Address, bytes], members: tuple[Address, ...]) -> list[Candidate]:
        holders: dict[History, list[Address]] = {}
        for member in members:
            standing = self._answers.get(member)
            if standing is not None and standing.history is not None and member not in live:
                holders.setdefault(standing.history, []).append(member)
        return [
            Candidate(tuple(each), history, False, 0, frozenset({history.session}), self._answers[each[0]].summary)
            for history, each in holders.items()
        ]


def _united(active: list[Candidate]) -> list[Candidate]:
    """Parts of a split group that have the same state still are one.

    They are compared only where there are several: their members have stopped at the merge.  A single one goes on, and
    its members' answers differ by what was applied between them.
    """
    united: list[Candidate] = []
    for each in active:
        same = next((other for other in united if other.history.has_state_of(each.history)), None)
        if same is None:
            united.append(each)
            continue
        united[united.index(same)] = Candidate(
            tuple(sorted((*same.members, *each.members))),
            max(same.history, each.history, key=lambda history: (history.epoch, history.session)),
            True,
            min(same.oldest, each.oldest),
            same.sessions | each.sessions,
            same.summary,
        )
    return united
