"""The local connections of a simulated node: ordered, never lossy, and each message a little later.

Both ends may be killed: what was sent before still arrives, and the end of the connection after it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from simcluster.chance import bits_at, purpose_key
from simcluster.scheduler import Scheduler

_TO_FRACTION = 2.0**-64


class Post:
    """One direction of a connection."""

    def __init__(
        self,
        scheduler: Scheduler,
        latency: tuple[float, float],
        name: tuple[object, ...],
        receive: Callable[[Any], None],
    ) -> None:
        """*latency*: each message takes between these; *name*: seed and purpose of its random choices."""
        self.under_way = 0
        """Messages that have not arrived."""
        self._scheduler = scheduler
        self._low, self._spread = latency[0], latency[1] - latency[0]
        seed, *purpose = name
        self._key = purpose_key(int(str(seed)), *purpose)
        self._count = 0
        self._last = 0.0
        self._receive = receive
        self.cut = False

    def send(self, message: Any) -> None:
        """Let it arrive, after everything sent before."""
        if self.cut:
            return
        even = bits_at(self._key, self._count) * _TO_FRACTION
        self._count += 1
        self._last = max(self._last, self._scheduler.now + self._low + self._spread * even)
        self.under_way += 1
        self._scheduler.at(self._last, self._arrive, message)

    def _arrive(self, message: Any) -> None:
        self.under_way -= 1
        if not self.cut:
            self._receive(message)


class Inbox:
    """What a process has been sent; it takes one message after the other unless it stands still."""

    def __init__(self, handle: Callable[[Any], None]) -> None:
        self.stopped = False
        self._handle = handle
        self._waiting: deque[Any] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, message: Any) -> None:
        """A message arrives."""
        if self.stopped or self._waiting:
            self._waiting.append(message)
        else:
            self._handle(message)

    def go_on(self) -> None:
        """The process runs again."""
        self.stopped = False
        while self._waiting and not self.stopped:
            self._handle(self._waiting.popleft())

    def clear(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        self.stopped = False


LOST = "the connection is gone"
"""Last message of a connection."""

Tally = Counter[str]
