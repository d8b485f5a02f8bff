"""Timeouts: one over several waits, and one of a block in asyncio."""

from __future__ import annotations

import asyncio
import math
import time

from .errors import InvalidArgument


class Deadline:
    """*timeout* seconds from now; None is never.

    Raises:
        InvalidArgument: it is not a number.
    """

    __slots__ = ("_at", "looks", "timeout")

    def __init__(self, timeout: float | None) -> None:
        _check(timeout)
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


def within(timeout: float | None) -> asyncio.Timeout:
    """`asyncio.timeout`, for a number that a program has given.

    Raises:
        InvalidArgument: it is none.
    """
    _check(timeout)
    return asyncio.timeout(timeout)


def _check(timeout: float | None) -> None:
    # Nothing is before or after what is not a number: a wait for it would never end.
    if timeout is not None and math.isnan(timeout):
        raise InvalidArgument("a timeout is a number of seconds, or None for no limit; this one is not a number")
