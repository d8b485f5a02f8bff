"""The clients of this node and where each stands with its groups: pure.

```
 UNJOINED ── join ──► JOIN_STARTED ── own join delivered ──► JOIN_COMPLETED ── leave ──► LEAVE_STARTED ──► UNJOINED
                           └──────────────────── leave, death, expulsion ───────────────────▲   own leave delivered
```
As in corosync's exec/cpg.c, with two differences: a leave is accepted while the join is still on its way, and a join
while the leave is (it starts when the leave is delivered), since one order of submissions makes both harmless.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...ipc.errors import AlreadyMember, NotMember, OperationFailed
from ...ipc.ids import MESSAGE_BYTES_MAX, Guarantee, group_text
from .wire import MEMBERSHIPS_MAX


@dataclass(slots=True, eq=False)
class LocalClient:
    """A connected process of this node."""

    handle: Any
    """What the shell knows it by."""
    pid: int
    credit: int
    """What it may have on the way to the ring, as its welcome said, and what was given since."""
    message_bytes: int = MESSAGE_BYTES_MAX
    """Longest message that it was ever told it may send: what it sent before it knew of a lower limit is not lost."""
    unread: int = 0
    """Bytes sent to it that it has not reported as consumed."""
    unread_sizes: deque[int] = field(default_factory=deque)
    """The same, message by message."""
    unread_seconds: float = 0.0
    """How long it has reported nothing as consumed though something was unread."""
    waited_seconds: float = 0.0
    """How long the ring has waited for it since it was last close behind."""
    on_the_way: int = 0
    """What the batches from it that the ring has not taken cost of its credit."""
    owed: int = 0
    """Credit that is its own again, and that it has not been told of."""
    refused: set[bytes] = field(default_factory=set)
    """Groups for which it was told that it is no member since it last asked to join."""
    groups: set[bytes] = field(default_factory=set)
    """Groups it has joined, or asked to."""
    departing: bool = False
    """It has closed its connection; another client of its process may take its places."""


class Standing(enum.Enum):
    """Where a process stands with a group."""

    JOIN_STARTED = "join started"
    JOIN_COMPLETED = "join completed"
    LEAVE_STARTED = "leave started"


@dataclass(frozen=True, slots=True)
class Held:
    """A batch that follows a join which has not begun."""

    guarantee: Guarantee
    count: int
    payload: Sequence[bytes | memoryview]
    size: int


@dataclass(slots=True)
class _Membership:
    client: LocalClient | None
    """None: it is gone, and only its leave is still on the way."""
    standing: Standing
    successor: LocalClient | None = None
    """Who joins when the leave has been delivered."""
    held: list[Held] = field(default_factory=list)
    """What the successor has sent already; its credit bounds it."""

    @property
    def ends(self) -> bool:
        """Whether its leave is under way, or will be."""
        return self.standing is Standing.LEAVE_STARTED or (self.client is not None and self.client.departing)


class Memberships:
    """All memberships of this node's processes, from the request to the last event."""

    def __init__(self) -> None:
        self._table: dict[tuple[bytes, int], _Membership] = {}
        self._receivers: dict[bytes, dict[int, LocalClient]] = {}

    def join(self, client: LocalClient, group: bytes) -> bool:
        """Begin to join.  Returns whether to submit the join now; if not, `left` will name the client.

        Raises:
            AlreadyMember: a process is in a group once, through one client.
            OperationFailed: this node has too many memberships.
        """
        membership = self._table.get((group, client.pid))
        if membership is None:
            if len(self._table) >= MEMBERSHIPS_MAX:
                raise OperationFailed(f"this node has {MEMBERSHIPS_MAX} memberships in groups, which is its limit")
            self._table[group, client.pid] = _Membership(client, Standing.JOIN_STARTED)
        elif membership.successor is client:
            pass  # Asked again, before it could begin.
        elif membership.ends and (membership.successor is None or membership.successor.departing):
            if membership.successor is not None:
                membership.successor.groups.discard(group)
            membership.successor, membership.held = client, []
        elif membership.standing is Standing.JOIN_STARTED and membership.client is client:
            pass  # Asked again, since an `Away` crossed with the first request.
        else:
            raise AlreadyMember(f"process {client.pid} is in the group {group_text(group)!r} already")
        client.groups.add(group)
        return membership is None

    def leave(self, client: LocalClient, group: bytes) -> list[Held] | None:
        """Begin to leave.  Returns None if the leave is to be submitted; if the join never was, what waited for it.

        Raises:
            NotMember: this client has not joined, or is leaving already.
        """
        if group not in client.groups:
            raise NotMember(f"not a member of the group {group_text(group)!r}")
        client.groups.discard(group)
        membership = self._table[group, client.pid]
        if membership.successor is client:
            held, membership.held, membership.successor = membership.held, [], None
            return held
        membership.standing = Standing.LEAVE_STARTED
        return None

    def may_send(self, client: LocalClient, group: bytes) -> bool:
        """Whether a message of this client is one of a member, now or once its join has begun."""
        if group not in client.groups:
            return False
        membership = self._table[group, client.pid]
        return client in (membership.client, membership.successor)

    def hold(self, client: LocalClient, group: bytes, batch: Held) -> bool:
        """Keep a batch that would precede its sender's join in the order; returns whether it would."""
        membership = self._table[group, client.pid]
        if membership.successor is not client:
            return False
        membership.held.append(batch)
        return True

    def forget(self, client: LocalClient) -> list[bytes]:
        """The client is gone; returns the groups for which a leave is to be submitted, sorted."""
        leaves = [group for group in sorted(client.groups) if self.leave(client, group) is None]
        for (group, pid), membership in self._table.items():
            if membership.client is client:
                membership.client = None
                self._receivers.get(group, {}).pop(pid, None)
        return leaves

    def joined(self, group: bytes, pid: int) -> None:
        """The join of a process of this node was delivered: from now on it receives."""
        membership = self._table.get((group, pid))
        if membership is None or membership.client is None:
            return
        if membership.standing is Standing.JOIN_STARTED:
            membership.standing = Standing.JOIN_COMPLETED
        self._receivers.setdefault(group, {})[pid] = membership.client

    def left(self, group: bytes, pid: int) -> tuple[LocalClient, list[Held]] | None:
        """The leave of a process of this node was delivered; returns the client whose join is to be submitted now, and
        the batches that follow it."""
        membership = self._table.pop((group, pid), None)
        receivers = self._receivers.get(group, {})
        receivers.pop(pid, None)
        if not receivers:
            self._receivers.pop(group, None)
        if membership is None or membership.successor is None:
            return None
        self._table[group, pid] = _Membership(membership.successor, Standing.JOIN_STARTED)
        return membership.successor, membership.held

    def holder(self, group: bytes, pid: int) -> LocalClient | None:
        """The client through which a process of this node is in the group, or was asked in last."""
        membership = self._table.get((group, pid))
        return None if membership is None else membership.successor or membership.client

    def receivers(self, group: bytes) -> Iterable[LocalClient]:
        """The local clients that get what is delivered in the group, in a stable order."""
        return self._receivers.get(group, {}).values()

    def clear(self, clients: Iterable[LocalClient]) -> None:
        """The node lost its place in the order: no membership is left."""
        self._table.clear()
        self._receivers.clear()
        for client in clients:
            client.groups.clear()
