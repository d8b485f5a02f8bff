"""One timeout over several waits."""

from __future__ import annotations

import time


class Deadline:
    """*timeout* seconds from now; None is never."""

    __slots__ = ("_at", "looks", "timeout")

    def __init__(self, timeout: float | None) -> None:
        self.timeout = timeout
        self.looks = 0
        """For waits that look once more when the time is over: how often they have."""
        self._at = None if timeout is None else time.monotonic() + timeout

    @property
    def left(self) -> float | None:
        """Seconds that may still be waited, at least 0; None without a limit."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return self._at is not None and time.monotonic() >= self._at
