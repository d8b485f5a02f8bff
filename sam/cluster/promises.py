"""What a voter has promised: to whom it has given its vote for a singleton, and until when it gives it to nobody else.

Two quorums have a voter in common, so two nodes can never hold one singleton's lease at a time: the rule of
PaxosLease (Trencséni, Gazsó, Reinhardt 2012), except that a restarted voter remembers to whom it promised, so that
it need not be silent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import msgspec

from ...ipc.messages.sam import AppName
from ...ipc.messages.sam_singleton import Fence
from .messages import FENCE_MAX, Claim, Vote
from .timing import HOLD_SECONDS_MAX, milliseconds

PROMISES_MAX = 256
"""Singletons of one cluster; those that are over are forgotten when there are more."""

NodeNumber = Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """One promise, on disk."""

    name: AppName
    fence: Fence
    node_id: NodeNumber
    hold_ms: Annotated[int, msgspec.Meta(ge=0, le=int(HOLD_SECONDS_MAX * 1000))]


class Record(msgspec.Struct, frozen=True):
    """What a voter must not forget, whatever happens to it."""

    highest: Fence = 0
    """The highest fence that it has voted for."""
    promises: Annotated[tuple[Kept, ...], msgspec.Meta(max_length=PROMISES_MAX)] = ()


@dataclass(frozen=True, slots=True)
class Promise:
    """To whom a singleton was given."""

    fence: int
    node_id: int
    hold: float
    until: float


class Promises:
    """One voter's."""

    def __init__(self, record: Record, now: float) -> None:
        """After a start everything that was promised may have been promised just before the end."""
        self.highest = record.highest
        self._of: dict[str, Promise] = {
            kept.name: Promise(kept.fence, kept.node_id, kept.hold_ms / 1000, now + kept.hold_ms / 1000)
            for kept in record.promises
        }

    def get(self, name: str) -> Promise | None:
        """To whom it was given last."""
        return self._of.get(name)

    def held_until(self, name: str, now: float) -> float:
        """When it may be given to somebody else; *now* if that is possible already."""
        promise = self._of.get(name)
        return now if promise is None else max(now, promise.until)

    def vote(self, node_id: int, pid: int, claim: Claim, now: float) -> tuple[Vote, bool]:
        """The vote on a claim of that node, and whether there is something new to be kept on disk before it is cast."""
        promise, hold = self._of.get(claim.name), claim.hold_ms / 1000
        if promise is not None and (promise.fence, promise.node_id) == (claim.fence, node_id):
            longer = hold > promise.hold
            self._of[claim.name] = replace(promise, hold=max(hold, promise.hold), until=max(promise.until, now + hold))
            return self._answer(node_id, pid, claim, True), longer
        if promise is not None and promise.until > now:
            return self._answer(node_id, pid, claim, False, promise.until - now), False
        # Who runs already may go on however many terms have begun elsewhere; a new term has the highest fence of all.
        if (claim.fence <= self.highest and not claim.renewal) or not self._make_room(claim.name, now):
            return self._answer(node_id, pid, claim, False), False
        self.highest = max(self.highest, claim.fence)
        self._of[claim.name] = Promise(claim.fence, node_id, hold, now + hold)
        return self._answer(node_id, pid, claim, True), True

    def release(self, node_id: int, name: str, fence: int) -> bool:
        """That node says that the term is over; whether that was news."""
        promise = self._of.get(name)
        if promise is None or (promise.fence, promise.node_id) != (fence, node_id):
            return False
        del self._of[name]
        return True

    def record(self) -> Record:
        """For the disk."""
        kept = [
            Kept(name, promise.fence, promise.node_id, milliseconds(promise.hold))
            for name, promise in sorted(self._of.items())
        ]
        return Record(self.highest, tuple(kept))

    def _answer(self, node_id: int, pid: int, claim: Claim, granted: bool, remaining: float = 0.0) -> Vote:
        left = min(milliseconds(remaining), int(HOLD_SECONDS_MAX * 1000))
        return Vote(node_id, pid, claim.name, claim.fence, claim.number, granted, left, min(self.highest, FENCE_MAX))

    def _make_room(self, name: str, now: float) -> bool:
        if name in self._of or len(self._of) < PROMISES_MAX:
            return True
        over = [each for each, promise in self._of.items() if promise.until <= now]
        for each in over:
            del self._of[each]
        return bool(over)
