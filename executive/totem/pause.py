"""Pause detection (docs/totem.md §5.7): was this process stopped, so that what it reads now is old news?"""

from __future__ import annotations

PAUSE_FRACTION = 0.5
"""Share of the token timeout without a sign of life of our own loop that counts as a pause, as in corosync."""


class PauseWatch:
    """Pure: fed with the time at every pass of the loop."""

    def __init__(self, token: float) -> None:
        self.token = token
        self._last: float | None = None

    def seen(self, now: float) -> None:
        """The loop ran."""
        self._last = now

    def gap(self, now: float) -> float | None:
        """The loop runs: how long it did not, if that was a pause."""
        last, self._last = self._last, now
        if last is None or now - last <= PAUSE_FRACTION * self.token:
            return None
        return now - last
