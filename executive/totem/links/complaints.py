"""Which lines are said about things that happen again and again, told apart by reason and address."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from ...runtime.logging import RateLimited

COMPLAINT_SECONDS: Final = 10.0
"""One log line about the same thing in this time."""

COMPLAINTS_MAX: Final = 256
"""Things that are told apart; the one that has been quiet longest is forgotten."""


class Complaints:
    """A rate limit for each thing that can be complained about."""

    def __init__(self) -> None:
        self._limits: OrderedDict[Hashable, RateLimited] = OrderedDict()

    def admit(self, about: Hashable, now: float) -> int | None:
        """As `RateLimited.admit`, for *about* alone: a reason, or a reason and an address."""
        limit = self._limits.get(about)
        if limit is None:
            limit = self._limits[about] = RateLimited(COMPLAINT_SECONDS)
            if len(self._limits) > COMPLAINTS_MAX:
                self._limits.popitem(last=False)
        else:
            self._limits.move_to_end(about)
        return limit.admit(now)
