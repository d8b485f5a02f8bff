"""Waiting for a condition with a deadline: what tests do instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.02
"""How often a condition is looked at."""


class NotInTime(AssertionError):
    """A condition did not come true before its deadline.  An assertion, so that pytest shows it as a failure."""


def wait_until(condition: Callable[[], T | None], timeout: float, what: str | Callable[[], str]) -> T:
    """Return the first true value of *condition*.

    Raises:
        NotInTime: *timeout* seconds have passed; *what* says what was waited for.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise NotInTime(f"not within {timeout:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(POLL_SECONDS)
    return value
