"""The timers of the core: one enum, one table of deadlines, one next deadline."""

from __future__ import annotations

import enum


class Timer(enum.IntEnum):
    """Every timer; those due at the same instant fire in this order."""

    LOOPBACK = 0
    """A token or commit token sent to ourselves (ring of one) arrives."""
    LOSS_WARNING = 1
    LOSS = 2
    """Paper: token loss."""
    HEARTBEAT = 3
    """Earlier loss detection by missed rotations."""
    RETRANSMIT = 4
    """Paper: token retransmission."""
    HOLD = 5
    JOIN = 6
    CONSENSUS = 7
    MERGE = 8
    PROBE = 9
    """A node that seems gone has not answered."""
    KNOCK = 10
    """Give the network an occasion to say that the successor is gone."""


LASTING = (Timer.PROBE, Timer.KNOCK)
"""Timers that concern nodes, not rings, and so outlast a change of state."""


class Timers:
    """Deadlines by timer.  Arming again moves the deadline."""

    def __init__(self) -> None:
        self._deadlines: dict[Timer, float] = {}

    def arm(self, timer: Timer, deadline: float) -> None:
        """Fire *timer* at *deadline*, once."""
        self._deadlines[timer] = deadline

    def cancel(self, *timers: Timer) -> None:
        """Forget these."""
        for timer in timers:
            self._deadlines.pop(timer, None)

    def cancel_all(self) -> None:
        """Forget every timer but the `LASTING` ones."""
        self._deadlines = {timer: at for timer, at in self._deadlines.items() if timer in LASTING}

    def is_armed(self, timer: Timer) -> bool:
        """Whether *timer* will fire."""
        return timer in self._deadlines

    def is_due(self, timer: Timer, now: float) -> bool:
        """Whether *timer* would fire at *now*."""
        return self._deadlines.get(timer, float("inf")) <= now

    def next_deadline(self) -> float | None:
        """When `take_due` has something next; None if never."""
        return min(self._deadlines.values(), default=None)

    def take_due(self, now: float) -> Timer | None:
        """The earliest timer due by *now*, disarmed; None if none is.

        Called again until None, so that a handler can cancel a timer that is due in the same pass.
        """
        due = [(deadline, timer) for timer, deadline in self._deadlines.items() if deadline <= now]
        if not due:
            return None
        _, timer = min(due)
        del self._deadlines[timer]
        return timer
