"""What the blocking and the asyncio `Lock` and `Leader` show: whose turn it is, as far as this process was told."""

from __future__ import annotations

import abc
import secrets
from collections.abc import Callable

from ...ipc.errors import InvalidArgument
from ...ipc.ids import Address
from .effects import Status
from .machine import require_plain
from .turns import ENTRY_BITS, FENCE_MAX, Entry, Turns
from .view import ReplicaView

OnLeader = Callable[[Address | None, int], None]
"""Called with the leader, or None while that is unknown, and the fence."""


class LineView(abc.ABC):
    """A place in a line."""

    replica: ReplicaView
    """Follows the line; for its status and its members."""

    def __init__(self, fence_above: int, on_leader: OnLeader | None = None) -> None:
        if not isinstance(fence_above, int) or not 0 <= fence_above <= FENCE_MAX:
            raise InvalidArgument(f"a fence is a whole number from 0 to {FENCE_MAX}, not {fence_above}")
        require_plain("on_change", on_leader)
        self._turns = Turns(self._moved)
        self._fence_above = fence_above
        self._highest = 0
        self._on_leader = on_leader
        self._told: tuple[Address | None, int] = (None, 0)

    @property
    def fence(self) -> int:
        """How often the turn has passed to somebody: give it to what is protected, which refuses smaller ones."""
        return self._turns.fence

    @abc.abstractmethod
    def _wanted(self) -> Entry | None:
        """The place in the line that this process wants to have at present."""

    def _look(self) -> None:  # noqa: B027
        """Take in what is there, where that does not happen by itself."""

    @property
    def _seen(self) -> int:
        """The highest fence that this process knows of, in whatever part of the group."""
        return min(FENCE_MAX, max(self._fence_above, self._highest))

    def _moved(self) -> None:
        self._highest = max(self._highest, self._turns.fence)
        if self._on_leader is not None:
            now = (self._leader(), self.fence)
            if now != self._told:
                self._told = now
                self._on_leader(*now)

    def _became(self, status: Status) -> None:
        self._moved()

    def _may_work(self) -> bool:
        return self.replica.status is Status.ACTIVE and not self.replica.is_away

    def _has_turn(self, entry: Entry) -> bool:
        return self._may_work() and self._turns.first == entry

    def _whose_turn(self) -> Address | None:
        first = self._turns.first
        return None if first is None else Address(*first[:2])

    def _leader(self) -> Address | None:
        return self._whose_turn() if self._may_work() else None


class LockView(LineView):
    """What a lock shows, and the place that its holder wants."""

    _entry: Entry | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process holds it, as far as it has been told by now."""
        self._look()
        return self._entry is not None and self._has_turn(self._entry)

    @property
    def holder(self) -> Address | None:
        """Who holds it, as far as this process has been told by now."""
        self._look()
        return self._whose_turn()

    def _wanted(self) -> Entry | None:
        return self._entry

    def _want(self) -> Entry:
        """Want a new place, which nobody has had before."""
        if self._entry is not None:
            raise RuntimeError("this object holds the lock, or waits for it: release it first")
        self._entry = (*self.replica.address, secrets.randbits(ENTRY_BITS))
        return self._entry

    def _want_no_more(self) -> Entry:
        """Returns the place that was wanted."""
        entry, self._entry = self._entry, None
        if entry is None:
            raise RuntimeError("the lock is not held")
        return entry


class LeaderView(LineView):
    """What a candidate shows, and the place that it wants for as long as it is there."""

    def __init__(self, fence_above: int, on_leader: OnLeader | None = None) -> None:
        self._number = secrets.randbits(ENTRY_BITS)
        super().__init__(fence_above, on_leader)

    @property
    def leader(self) -> Address | None:
        """Who leads, as far as this process has been told by now; None while it cannot know."""
        self._look()
        return self._leader()

    @property
    def is_leader(self) -> bool:
        """Whether this process leads, as far as it has been told by now."""
        self._look()
        return self._has_turn(self._wanted())

    def _wanted(self) -> Entry:
        return (*self.replica.address, self._number)
