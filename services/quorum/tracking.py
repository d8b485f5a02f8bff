"""What a client knows of the votes, and what it has not told its application yet: pure.

Where nothing is known, nothing is quorate: a connection that is lost counts as lost quorum.
"""

from __future__ import annotations

from collections import deque

import msgspec

from ...ipc.messages.quorum import Changed, Count, Seen, Standing, Track

EVENTS_MAX = 64
"""Changes that wait for the application; from there on the last of them is replaced by what is newer."""


class Tracker:
    """The client's half of tracking; the shells send what is in `outgoing`."""

    def __init__(self) -> None:
        self.status: Count | None = None
        """None before the service has told anything."""
        self.outgoing: list[msgspec.Struct] = []
        self._events: deque[Count] = deque()
        self._connected = False

    @property
    def introduced(self) -> bool:
        """Whether the service has told how it stands."""
        return self._connected and self.status is not None

    @property
    def quorate(self) -> bool:
        """Whether this node is quorate, as last heard."""
        return self.status is not None and self.status.quorate

    def welcomed(self) -> None:
        """The service lets us in (again)."""
        self.outgoing = [Track()]

    def lost(self) -> None:
        """The service died or forgot us."""
        self._connected = False
        self.outgoing = []
        if self.status is not None:
            flags = tuple(flag for flag in self.status.flags if flag != "Quorate")
            self._learn(
                msgspec.structs.replace(self.status, quorate=False, ring=None, nodes=(), total_votes=0, flags=flags)
            )

    def arrived(self, message: object) -> None:
        """A message of the service."""
        match message:
            case Standing(count=count):
                self._connected = True
                self._learn(count)
            case Changed(count=count):
                self.outgoing.append(Seen(1))
                self._learn(count)

    @property
    def has_events(self) -> bool:
        """Whether `take` would return one."""
        return bool(self._events)

    def take(self) -> Count | None:
        """The next change; None if there is none."""
        return self._events.popleft() if self._events else None

    def _learn(self, count: Count) -> None:
        known, self.status = self.status, count
        if known is None or known == count:
            return
        if len(self._events) >= EVENTS_MAX:
            self._events.pop()
        self._events.append(count)
