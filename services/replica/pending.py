"""What was proposed here and has not been answered: pure.

A proposal has a *ticket*, by which its proposer waits for it, and each time that it is sent a *number*.  It is sent
again only if it is certain that nobody applied it: it was delivered here, and its sender was not active at that place.

With `confirms`, a result is withheld until so many replicas have said that they applied the command that they could
work without the others.  That a message was safe is not enough: it is with their nodes then, and a node's processes may
die before the replica has it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from ...ipc.ids import Address
from .messages import Barrier, Command, Said
from .policy import Policy

PROPOSALS_MAX = 4096
"""Commands of one replica that are on their way at a time; further ones wait, or are refused."""


class Pending:
    """Own proposals, from `propose` to their result."""

    def __init__(self, me: Address, send: Callable[[Said], None], policy: Policy) -> None:
        self._me = me
        self._send = send
        self._policy = policy
        self._tickets = 0
        self._numbers = 0
        self._unsent: deque[tuple[int, bytes | None]] = deque()
        self._sent: dict[int, tuple[int, bytes | None]] = {}
        self._withheld: dict[int, int] = {}
        """Number -> ticket, ascending."""
        self._confirmed: dict[Address, int] = {}
        """Up to which own number each other member has applied."""

    @property
    def count(self) -> int:
        """Proposals without a result."""
        return len(self._unsent) + len(self._sent) + len(self._withheld)

    def propose(self, payload: bytes | None) -> int:
        """Take one more; None is a barrier.  Returns its ticket."""
        self._tickets += 1
        self._unsent.append((self._tickets, payload))
        return self._tickets

    def forget(self, ticket: int) -> None:
        """Nobody waits for it: if it was not sent yet, it will not be."""
        self._unsent = deque(each for each in self._unsent if each[0] != ticket)

    def flush(self) -> None:
        """Send what waits: this member is active."""
        while self._unsent:
            ticket, payload = self._unsent.popleft()
            self._numbers += 1
            self._sent[self._numbers] = (ticket, payload)
            self._send(Barrier(self._numbers) if payload is None else Command(self._numbers, payload))

    def ticket(self, number: int) -> int | None:
        """Of an own proposal that came back and is applied now."""
        found = self._sent.pop(number, None)
        return None if found is None else found[0]

    def applied(self, number: int, ticket: int) -> list[int]:
        """It has been, here; returns the tickets whose results may be given out."""
        if not self._policy.confirms:
            return [ticket]
        self._withheld[number] = ticket
        return self._release()

    def not_applied(self, number: int) -> None:
        """It came back and nobody applied it: it will be sent again, in its place among the others."""
        found = self._sent.pop(number, None)
        if found is not None:
            self._unsent = deque(sorted((*self._unsent, found), key=lambda each: each[0]))

    def confirmed(self, member: Address, number: int) -> list[int]:
        """Another member has applied what was sent here up to this number; returns the tickets that may be answered."""
        self._confirmed[member] = max(number, self._confirmed.get(member, 0))
        return self._release()

    def gone(self, members: Iterable[Address]) -> None:
        """What they had applied counts no more."""
        for member in members:
            self._confirmed.pop(member, None)

    def ask_again(self) -> None:
        """Somebody was given the state, with commands that it has not seen: a barrier makes it say so."""
        if self._withheld:
            self._numbers += 1
            self._send(Barrier(self._numbers))

    def cut_off(self) -> list[int]:
        """This member may not work any more; returns the tickets whose outcome is unknown."""
        unknown = list(self._withheld.values())
        self._withheld.clear()
        self._confirmed.clear()
        return unknown

    def away(self) -> list[int]:
        """Everything that was sent is void; returns the tickets whose outcome is unknown."""
        unknown = [ticket for ticket, _ in self._sent.values()]
        self._sent.clear()
        return [*self.cut_off(), *unknown]

    def _release(self) -> list[int]:
        released = []
        for number, ticket in list(self._withheld.items()):
            holders = [self._me, *(member for member, upto in self._confirmed.items() if upto >= number)]
            if not self._policy.may_work(holders):
                break
            del self._withheld[number]
            released.append(ticket)
        return released
