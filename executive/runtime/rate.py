"""Bounded repetition of log lines; pure."""

from __future__ import annotations


class RateLimited:
    """Which of many equal lines are said: *burst* in each *seconds*; the next one tells how many were not.

    ```
    if (unsaid := limit.admit(now)) is not None:
        log.warning("Invalid digest", peer=peer, unsaid=unsaid)
    ```
    """

    def __init__(self, seconds: float, burst: int = 1) -> None:
        self._seconds = seconds
        self._burst = burst
        self._began = float("-inf")
        self._said = 0
        self._unsaid = 0

    def admit(self, now: float) -> int | None:
        """None: say nothing.  Else say it; the number counts the lines held back since the last one said."""
        if now - self._began >= self._seconds:
            self._began, self._said = now, 0
        if self._said >= self._burst:
            self._unsaid += 1
            return None
        self._said += 1
        unsaid, self._unsaid = self._unsaid, 0
        return unsaid
