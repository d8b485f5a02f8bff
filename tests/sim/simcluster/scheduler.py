"""Virtual time: one queue of (time, serial) that everything in a simulated cluster waits in."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, NoReturn

EVENTS_PER_INSTANT_MAX = 20_000
"""Events without progress of the clock that are taken for a livelock."""


class Livelock(Exception):
    """The cluster does work without end: too many events at one instant, or in the whole run."""


class Scheduler:
    """Runs actions in the order of their times; equal times in the order in which they were asked for."""

    __slots__ = ("_events_max", "_queue", "_serial", "_since_progress", "events", "now")

    def __init__(self, events_max: int) -> None:
        self.now = 0.0
        self.events = 0
        self._events_max = events_max
        self._queue: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._serial = 0
        self._since_progress = 0

    def at(self, when: float, action: Callable[[Any], None], argument: object = None) -> None:
        """Call `action(argument)` at *when*, or at once if that is past."""
        self._serial += 1
        heapq.heappush(self._queue, (when if when > self.now else self.now, self._serial, action, argument))

    def run_until(self, end: float, stop: Callable[[], bool] | None = None) -> None:
        """Run everything due up to *end*, and leave the clock there; *stop* is asked after each event.

        Raises:
            Livelock: the bound of events for an instant, or for the whole run, is exceeded.
        """
        queue, pop = self._queue, heapq.heappop
        while queue and queue[0][0] <= end:
            when, _, action, argument = pop(queue)
            self.events += 1
            if when > self.now:
                self.now = when
                self._since_progress = 0
            else:
                self._since_progress += 1
            if self._since_progress > EVENTS_PER_INSTANT_MAX or self.events > self._events_max:
                self._give_up(when)
            action(argument)
            if stop is not None and stop():
                return
        self.now = max(self.now, end)

    def _give_up(self, when: float) -> NoReturn:
        if self._since_progress > EVENTS_PER_INSTANT_MAX:
            raise Livelock(f"{self._since_progress} events at {when:.6f} s without progress of the clock")
        raise Livelock(f"more than {self._events_max} events by {when:.3f} s")
