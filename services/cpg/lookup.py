"""The pages in which a client reads who is in which group: pure, both ends."""

from __future__ import annotations

from bisect import bisect_right

from ...ipc.ids import Member
from ...ipc.messages.cpg import LOOKUP_MEMBERS, Groups, Lookup
from .memberships import LocalClient
from .state import GroupState

INQUIRIES_MAX = 4_096
"""Lookups of all clients that wait for the end of an exchange; who asks beyond that is told to ask again."""


class Postponed:
    """What was asked during an exchange, on a ring that clients know: in the end of that it is answered."""

    def __init__(self) -> None:
        self._waiting: list[tuple[LocalClient, Lookup]] = []

    def add(self, client: LocalClient, inquiry: Lookup) -> bool:
        """Keep it; returns whether there was room."""
        if len(self._waiting) >= INQUIRIES_MAX:
            return False
        self._waiting.append((client, inquiry))
        return True

    def take(self) -> list[tuple[LocalClient, Lookup]]:
        """All of it, in order."""
        waiting, self._waiting = self._waiting, []
        return waiting


class Inquiry:
    """A client's question, until it is answered; what crosses with an absence is asked again."""

    def __init__(self, number: int, group: bytes | None) -> None:
        """*group* None: all groups."""
        self.number = number
        self._group = group
        self._found: dict[bytes, tuple[Member, ...]] = {}
        self.answer: dict[bytes, tuple[Member, ...]] | None = None
        """Once it is known: groups, sorted, and their members, sorted.  A group without members is not there."""

    def ask(self) -> Lookup:
        """The question, from the start."""
        self._found.clear()
        return Lookup(self.number, self._group)

    def page(self, page: Groups) -> Lookup | None:
        """A page has come; returns what to ask next."""
        if page.groups is None or self.answer is not None:
            return None
        for name, members in page.groups:
            self._found[name] = tuple(Member(node, pid) for node, pid in members)
        if page.complete or not page.groups:
            self.answer = self._found
            return None
        return Lookup(self.number, self._group, after=page.groups[-1][0])


def page(state: GroupState, question: Lookup) -> Groups:
    """The answer: as many groups as fit, one at least if there is one."""
    if question.group is not None:
        members = state.members(question.group)
        return Groups(question.number, ((question.group, members),) if members else ())
    names = state.groups()
    rest = names[bisect_right(names, question.after) :]
    groups, count = [], 0
    for name in rest:
        members = state.members(name)
        groups.append((name, members))
        count += len(members)
        if count >= LOOKUP_MEMBERS:
            break
    return Groups(question.number, tuple(groups), complete=len(groups) == len(rest))
