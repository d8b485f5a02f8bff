"""What is new, and what is recent: the receiver's window over a sender's counters, and the sender's own memory."""

from __future__ import annotations

from typing import Final

WINDOW_COUNTERS: Final = 4096
"""How far behind the newest frame another one may arrive and still be told from a repeated one."""

RECENT_SECONDS: Final = 0.5
"""Width of a sender's time marks.  A floor that it states lies at most three times this in the past."""

_MASK: Final = (1 << WINDOW_COUNTERS) - 1


class ReplayWindow:
    """Lets each counter of one sender's boot through once; those below *floor*, or far behind the newest, never.

    Invariant: bit i of the map tells whether `newest - i` has been let through or lies below the floor.
    """

    __slots__ = ("_map", "_newest")

    def __init__(self, floor: int) -> None:
        self._newest = floor - 1
        self._map = _MASK

    def accept(self, counter: int) -> bool:
        """Whether *counter* is seen for the first time; from now on it has been seen."""
        ahead = counter - self._newest
        if ahead > 0:
            # Shifting a big integer by what a sender claims would cost memory without bound.
            self._map = ((self._map << ahead) | 1) & _MASK if ahead < WINDOW_COUNTERS else 1
            self._newest = counter
            return True
        if ahead <= -WINDOW_COUNTERS:
            return False
        bit = 1 << -ahead
        if self._map & bit:
            return False
        self._map |= bit
        return True

    def seen(self, counter: int) -> bool:
        """Whether *counter* would not be let through."""
        behind = self._newest - counter
        return behind >= WINDOW_COUNTERS or (behind >= 0 and bool(self._map >> behind & 1))


class RecentFloor:
    """Remembers roughly where a sender's counter stood a moment ago.

    A sender tells this to those who ask whether it is alive: frames from this counter on are recent, those below may
    have been recorded any time ago.
    """

    __slots__ = ("_began_at", "_ends", "_floor")

    def __init__(self) -> None:
        self._floor = 0
        self._began_at = 0
        self._ends = 0.0

    def note(self, counter: int, now: float) -> None:
        """To be called before the frame *counter* is sealed at *now*."""
        if now >= self._ends:
            # After a silence the last mark says too little: count from here.
            self._floor = self._began_at if now < self._ends + RECENT_SECONDS else counter
            self._began_at = counter
            self._ends = now + RECENT_SECONDS

    def at(self, counter: int, now: float) -> int:
        """The lowest counter that was sealed within the last 3 x `RECENT_SECONDS`, when the next one is *counter*."""
        self.note(counter, now)
        return self._floor
