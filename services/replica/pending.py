"""What was proposed here and has not been answered: pure.

A proposal has a *ticket*, by which its proposer waits for it, and each time that it is sent a *number*.  It is sent
again only if it is certain that nobody applied it: it was delivered here, and its sender was not active at that place.

With `confirms`, a result is withheld until a message sent after it was known has come back, or somebody left and this
member still may work: then the command was safe in the whole membership, or is part of what those who stayed go on
with.  Source: docs/totem.md §9 (a safe message delivered in a transitional configuration is safe in that one only).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .messages import Barrier, Command, Confirm, Said


class Pending:
    """Own proposals, from `propose` to their result."""

    def __init__(self, send: Callable[[Said], None], confirms: bool) -> None:
        self._send = send
        self._confirms = confirms
        self._tickets = 0
        self._numbers = 0
        self._unsent: deque[tuple[int, bytes | None]] = deque()
        self._sent: dict[int, tuple[int, bytes | None]] = {}
        self._withheld: dict[int, int] = {}
        """Number -> ticket."""
        self._confirming: int | None = None

    def propose(self, payload: bytes | None) -> int:
        """Take one more; None is a barrier.  Returns its ticket."""
        self._tickets += 1
        self._unsent.append((self._tickets, payload))
        return self._tickets

    def forget(self, ticket: int) -> bool:
        """Nobody waits for it; returns whether it was not sent yet, and now will not be."""
        before = len(self._unsent)
        self._unsent = deque(each for each in self._unsent if each[0] != ticket)
        return len(self._unsent) < before

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
        """It has been; returns the tickets whose results may be given out."""
        if not self._confirms:
            return [ticket]
        self._withheld[number] = ticket
        self._confirm()
        return []

    def not_applied(self, number: int) -> None:
        """It came back and nobody applied it: it will be sent again, in its place among the others."""
        found = self._sent.pop(number, None)
        if found is not None:
            self._unsent = deque(sorted((*self._unsent, found), key=lambda each: each[0]))

    def confirmed(self, number: int) -> list[int]:
        """An own `Confirm` came back."""
        self._confirming = None
        released = [ticket for each, ticket in self._withheld.items() if each <= number]
        self._withheld = {each: ticket for each, ticket in self._withheld.items() if each > number}
        self._confirm()
        return released

    def carried_on(self) -> list[int]:
        """Somebody left, and this member still may work."""
        released = list(self._withheld.values())
        self._withheld.clear()
        return released

    def cut_off(self) -> list[int]:
        """This member may not work any more; returns the tickets whose outcome is unknown."""
        self._confirming = None
        return self.carried_on()

    def away(self) -> list[int]:
        """Everything that was sent is void; returns the tickets whose outcome is unknown."""
        unknown = [ticket for ticket, _ in self._sent.values()]
        self._sent.clear()
        return [*self.cut_off(), *unknown]

    def _confirm(self) -> None:
        if self._confirming is None and self._withheld:
            self._confirming = max(self._withheld)
            self._send(Confirm(self._confirming))
