"""What waits for the ring: joins, leaves and batches of this node's clients, in their order, within totem's credit.

A batch is joined to the one before it if both come from the same client for the same group and guarantee and nothing
else of that client lies between: the more work the ring has, the fewer and larger the submissions become.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...ipc.ids import Guarantee, Reason, RingId
from ...ipc.messages.cpg import BATCH_BYTES_MAX, BATCH_COST_BYTES
from ...ipc.messages.stream import Lane, SubmitItem
from .memberships import LocalClient
from .wire import Header, Mcast, ProcJoin, ProcLeave, enclose_header

HEADER_ALLOWANCE_BYTES = 256
"""More than a header takes in a submission, even with the longest group name."""

ON_THE_WAY_ENOUGH = 2
"""Submissions on the way to the ring from which on little batches wait, since they would wait for the token anyway."""

WORTHWHILE_BYTES = 16 * 1024
"""Waiting bytes that are worth a submission of their own even then."""


@dataclass(slots=True)
class _Join:
    group: bytes
    pid: int
    size = 0

    def header(self, life: int, ring: RingId) -> Header:
        return ProcJoin(self.group, self.pid, life)


@dataclass(slots=True)
class _Leave:
    group: bytes
    pid: int
    reason: Reason
    size = 0

    def header(self, life: int, ring: RingId) -> Header:
        return ProcLeave(self.group, self.pid, life, self.reason)


@dataclass(slots=True)
class _Batch:
    client: LocalClient
    group: bytes
    guarantee: Guarantee
    count: int = 0
    size: int = 0
    cost: int = 0
    pieces: list[bytes | memoryview] = field(default_factory=list)

    def header(self, life: int, ring: RingId) -> Header:
        return Mcast(self.group, self.client.pid, life, self.count, self.guarantee, ring)


_Entry = _Join | _Leave | _Batch


@dataclass(frozen=True, slots=True)
class _Submitted:
    payload_bytes: int
    client: LocalClient | None = None
    cost: int = 0
    """What it took of the client's credit."""


class Outbox:
    """Submissions before and until the ring takes them."""

    def __init__(self) -> None:
        self._entries: deque[_Entry] = deque()
        self._open: dict[LocalClient, _Batch] = {}
        """The batch that a client's next one may be joined to: its last entry, while that waits."""
        self._waiting_bytes = 0
        """Of all batches among the entries."""
        self._submitted: deque[_Submitted] = deque()
        self._credit = 0
        self._settled = 0
        """Credit that came back and has not been matched with submissions yet."""

    def open(self, credit: int) -> None:
        """A new stream begins, with *credit* bytes."""
        self._credit, self._settled = credit, 0
        self._submitted.clear()

    def clear(self) -> None:
        """Forget everything, waiting or submitted."""
        self._entries.clear()
        self._open.clear()
        self._submitted.clear()
        self._waiting_bytes = self._credit = self._settled = 0

    def join(self, client: LocalClient, group: bytes) -> None:
        """Submit that the client joins."""
        self._open.pop(client, None)
        self._entries.append(_Join(group, client.pid))

    def leave(self, client: LocalClient, group: bytes, reason: Reason) -> None:
        """Submit that the client leaves."""
        self._open.pop(client, None)
        self._entries.append(_Leave(group, client.pid, reason))

    def batch(
        self,
        client: LocalClient,
        group: bytes,
        guarantee: Guarantee,
        count: int,
        pieces: Sequence[bytes | memoryview],
        *,
        size: int,
    ) -> None:
        """Submit a batch of *size* bytes, given in pieces."""
        entry = self._open.get(client)
        if entry is None or entry.group != group or entry.guarantee != guarantee or entry.size + size > BATCH_BYTES_MAX:
            entry = _Batch(client, group, guarantee)
            self._entries.append(entry)
            self._open[client] = entry
        entry.count += count
        entry.size += size
        self._waiting_bytes += size
        entry.cost += BATCH_COST_BYTES + size
        entry.pieces += pieces

    def account(self, payload_bytes: int) -> None:
        """Something was submitted past the outbox (a state, which does not wait for credit)."""
        self._credit -= payload_bytes
        self._submitted.append(_Submitted(payload_bytes))

    def take(self, life: int, ring: RingId) -> tuple[list[SubmitItem], list[bytes]]:
        """What may be submitted now, with its payloads.

        The first entry goes out whatever its size when nothing else is on the way, so that a credit smaller than a
        message cannot stop the flow for ever.
        """
        items: list[SubmitItem] = []
        payloads: list[bytes] = []
        while self._entries:
            entry = self._entries[0]
            batch = entry if isinstance(entry, _Batch) else None
            if self._submitted and entry.size + HEADER_ALLOWANCE_BYTES > self._credit:
                break
            if batch is not None and self._may_grow():
                break
            self._entries.popleft()
            self._waiting_bytes -= entry.size
            payload = enclose_header(entry.header(life, ring), batch.pieces if batch else ())
            items.append(SubmitItem(Lane.APPLICATION, batch.guarantee if batch else Guarantee.AGREED))
            payloads.append(payload)
            self._credit -= len(payload)
            if batch is None:
                self._submitted.append(_Submitted(len(payload)))
            else:
                self._submitted.append(_Submitted(len(payload), batch.client, batch.cost))
                if self._open.get(batch.client) is batch:
                    del self._open[batch.client]
        return items, payloads

    def _may_grow(self) -> bool:
        """Whether what waits is better sent later, in one piece with what comes: when the ring has taken something.

        Without it every message of a program that sends one by one would be a submission, and a wake-up of the ring's
        process, of its own.
        """
        return len(self._submitted) >= ON_THE_WAY_ENOUGH and self._waiting_bytes < WORTHWHILE_BYTES

    def credited(self, payload_bytes: int) -> list[tuple[LocalClient, int]]:
        """The ring took *payload_bytes*; returns whose batches those were, and the credit they took."""
        self._credit += payload_bytes
        self._settled += payload_bytes
        taken: dict[LocalClient, int] = {}
        while self._submitted and self._submitted[0].payload_bytes <= self._settled:
            done = self._submitted.popleft()
            self._settled -= done.payload_bytes
            if done.client is not None:
                taken[done.client] = taken.get(done.client, 0) + done.cost
        return list(taken.items())
