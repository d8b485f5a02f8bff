"""What waits for the ring: joins, leaves and batches of this node's clients, within totem's credit.

What one client sends stays in its order.  The clients take turns, so that one with much to send does not make the
others wait for all of it.  A batch is joined to the client's one before it if that waits too, for the same group and
guarantee: the more work the ring has, the fewer and larger the submissions become.  A message above `WHOLE_BYTES_MAX`
is a *transfer*: it goes out in parts, between which the other clients have their turns.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ...ipc.ids import Guarantee, Reason, RingId
from ...ipc.messages.cpg import BATCH_BYTES_MAX, BATCH_COST_BYTES
from ...ipc.messages.stream import Lane, SubmitItem
from .memberships import LocalClient
from .wire import PART_BYTES, TRANSFERS_MAX, WHOLE_BYTES_MAX, Mcast, Part, ProcJoin, ProcLeave, enclose_header

HEADER_ALLOWANCE_BYTES = 256
"""More than a header takes in a submission, even with the longest group name."""

ON_THE_WAY_ENOUGH = 2
"""Submissions on the way to the ring from which on little batches wait, since they would wait for the token anyway."""

WORTHWHILE_BYTES = 16 * 1024
"""Waiting bytes that are worth a submission of their own even then."""

ON_THE_WAY_BYTES = 3 * 1024 * 1024
"""Bytes on the way from which on everything waits: more would not make the ring quicker, only those who come late
wait longer.  Below totem's credit."""

PARTS_ON_THE_WAY_BYTES = 1024 * 1024
"""The same for parts: whatever is sent beside a large message waits for as much of it.  The ring is as quick with it as
with more."""


@dataclass(slots=True)
class _Join:
    group: bytes
    pid: int
    size = 0


@dataclass(slots=True)
class _Leave:
    group: bytes
    pid: int
    reason: Reason
    size = 0


@dataclass(slots=True)
class _Batch:
    client: LocalClient
    group: bytes
    guarantee: Guarantee
    count: int = 0
    size: int = 0
    cost: int = 0
    """What it takes of the client's credit."""
    pieces: list[bytes | memoryview] = field(default_factory=list)


@dataclass(slots=True)
class _Transfer:
    """A large message, until it has been delivered here: a change of the ring in between makes it begin anew."""

    number: int
    batch: _Batch
    sent: int = 0


_Entry = _Join | _Leave | _Batch


class _Submitted(NamedTuple):
    payload_bytes: int
    client: LocalClient | None = None
    cost: int = 0
    """What it took of the client's credit, and gives back when the ring has taken it."""
    is_part: bool = False


class Outbox:
    """Submissions before and until the ring takes them."""

    def __init__(self) -> None:
        self._queues: OrderedDict[LocalClient, deque[_Entry]] = OrderedDict()
        """What waits, in the order of the clients' turns; none is empty, except that of a transfer."""
        self._transfers: dict[LocalClient, _Transfer] = {}
        """Whose turn cannot come to the rest of its queue before its transfer is done."""
        self._last_transfer = 0
        self._waiting_bytes = 0
        """Of all batches in the queues."""
        self._submitted: deque[_Submitted] = deque()
        self._credit = 0
        self._on_the_way = 0
        """Bytes of what is submitted."""
        self._parts_on_the_way = 0
        """Of these, those of parts."""
        self._settled = 0
        """Credit that came back and has not been matched with submissions yet."""

    def open(self, credit: int) -> None:
        """A new stream begins, with *credit* bytes."""
        self._credit = credit
        self._settled = self._on_the_way = self._parts_on_the_way = 0
        self._submitted.clear()

    def clear(self) -> None:
        """Forget everything, waiting or submitted."""
        self._queues.clear()
        self._transfers.clear()
        self._submitted.clear()
        self._waiting_bytes = self._credit = self._settled = self._on_the_way = self._parts_on_the_way = 0

    def join(self, client: LocalClient, group: bytes) -> None:
        """Submit that the client joins."""
        self._queue(client).append(_Join(group, client.pid))

    def leave(self, client: LocalClient, group: bytes, reason: Reason) -> None:
        """Submit that the client leaves."""
        self._queue(client).append(_Leave(group, client.pid, reason))

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
        queue = self._queue(client)
        entry = queue[-1] if queue else None
        if (
            not isinstance(entry, _Batch)
            or entry.size + size > BATCH_BYTES_MAX
            or entry.group != group
            or entry.guarantee != guarantee
        ):
            entry = _Batch(client, group, guarantee)
            queue.append(entry)
        entry.count += count
        entry.size += size
        entry.cost += BATCH_COST_BYTES + size
        entry.pieces += pieces
        self._waiting_bytes += size

    def account(self, payload_bytes: int) -> None:
        """Something was submitted past the outbox (a state, which does not wait for credit)."""
        self._submit(_Submitted(payload_bytes))

    def take(self, life: int, ring: RingId) -> tuple[list[SubmitItem], list[bytes]]:
        """What may be submitted now, with its payloads.

        Something goes out whatever its size when nothing else is on the way, so that a credit smaller than a message
        cannot stop the flow for ever.
        """
        items: list[SubmitItem] = []
        payloads: list[bytes] = []
        fruitless = 0
        while fruitless < len(self._queues):
            client, queue = next(iter(self._queues.items()))
            transfer = self._transfers.get(client)
            size = self._next_size(queue, transfer)
            if size is None:
                fruitless += 1
            elif self._must_wait(size, is_batch=transfer is not None or isinstance(queue[0], _Batch)):
                break
            else:
                fruitless = 0
                guarantee, payload = self._next(client, queue, life, ring)
                items.append(SubmitItem(Lane.APPLICATION, guarantee))
                payloads.append(payload)
            if queue or client in self._transfers:
                self._queues.move_to_end(client)
            else:
                del self._queues[client]
        return items, payloads

    def credited(self, payload_bytes: int) -> list[tuple[LocalClient, int]]:
        """The ring took *payload_bytes*; returns whose batches those were, and the credit they took."""
        self._credit += payload_bytes
        self._settled += payload_bytes
        taken: dict[LocalClient, int] = {}
        while self._submitted and self._submitted[0].payload_bytes <= self._settled:
            done = self._submitted.popleft()
            self._settled -= done.payload_bytes
            self._on_the_way -= done.payload_bytes
            self._parts_on_the_way -= done.payload_bytes if done.is_part else 0
            if done.client is not None:
                taken[done.client] = taken.get(done.client, 0) + done.cost
        return list(taken.items())

    def transferred(self, number: int) -> tuple[LocalClient, int] | None:
        """A transfer of this node was delivered; returns whose it was and the credit it took."""
        for client, transfer in self._transfers.items():
            if transfer.number == number:
                del self._transfers[client]
                if not self._queues[client]:
                    del self._queues[client]
                return client, transfer.batch.cost
        return None

    def begin_anew(self, numbers: Collection[int]) -> None:
        """These transfers were broken off by a change of the ring: they start again, under new numbers."""
        for transfer in self._transfers.values():
            if transfer.number in numbers:
                self._waiting_bytes += transfer.sent
                transfer.number, transfer.sent = self._next_number(), 0

    # -- inside

    def _queue(self, client: LocalClient) -> deque[_Entry]:
        queue = self._queues.get(client)
        if queue is None:
            queue = self._queues[client] = deque()
        return queue

    def _next_size(self, queue: deque[_Entry], transfer: _Transfer | None) -> int | None:
        """Bytes of what the client would submit next; None: nothing at the moment."""
        if transfer is None and queue[0].size <= WHOLE_BYTES_MAX:
            return queue[0].size
        if self._parts_on_the_way >= PARTS_ON_THE_WAY_BYTES:
            return None
        if transfer is None:
            return PART_BYTES if len(self._transfers) < TRANSFERS_MAX else None
        return min(PART_BYTES, transfer.batch.size - transfer.sent) or None

    def _must_wait(self, size: int, *, is_batch: bool) -> bool:
        """Whether nothing more should go out before the ring has taken something.

        Little batches are better sent later, in one piece with what comes.  Without that every message of a program
        that sends one by one would be a submission, and a wake-up of the ring's process, of its own.
        """
        if not self._submitted:
            return False
        if size + HEADER_ALLOWANCE_BYTES > self._credit or self._on_the_way >= ON_THE_WAY_BYTES:
            return True
        return is_batch and len(self._submitted) >= ON_THE_WAY_ENOUGH and self._waiting_bytes < WORTHWHILE_BYTES

    def _next(self, client: LocalClient, queue: deque[_Entry], life: int, ring: RingId) -> tuple[Guarantee, bytes]:
        """Submit what is next of the client's."""
        transfer = self._transfers.get(client)
        if transfer is not None:
            return self._next_part(transfer, life, ring)
        entry = queue.popleft()
        match entry:
            case _Join(group, pid):
                return Guarantee.AGREED, self._submit_header(ProcJoin(group, pid, life))
            case _Leave(group, pid, reason):
                return Guarantee.AGREED, self._submit_header(ProcLeave(group, pid, life, reason))
            case _Batch() if entry.size > WHOLE_BYTES_MAX:
                transfer = self._transfers[client] = _Transfer(self._next_number(), entry)
                return self._next_part(transfer, life, ring)
            case _Batch():
                self._waiting_bytes -= entry.size
                header = Mcast(entry.group, client.pid, life, entry.count, entry.guarantee, ring)
                payload = enclose_header(header, entry.pieces)
                self._submit(_Submitted(len(payload), client, entry.cost))
                return entry.guarantee, payload

    def _next_part(self, transfer: _Transfer, life: int, ring: RingId) -> tuple[Guarantee, bytes]:
        batch, start = transfer.batch, transfer.sent
        transfer.sent = end = min(start + PART_BYTES, batch.size)
        self._waiting_bytes -= end - start
        group, pid, number = batch.group, batch.client.pid, transfer.number
        header = Part(group, pid, life, batch.count, batch.guarantee, ring, number, offset=start, total=batch.size)
        # What is safe includes all that is ordered before it, so the guarantee of the last part is that of all.
        guarantee = batch.guarantee if end == batch.size else Guarantee.AGREED
        payload = enclose_header(header, _cut(batch.pieces, start, end))
        self._submit(_Submitted(len(payload), is_part=True))
        return guarantee, payload

    def _submit_header(self, header: ProcJoin | ProcLeave) -> bytes:
        payload = enclose_header(header)
        self._submit(_Submitted(len(payload)))
        return payload

    def _submit(self, submitted: _Submitted) -> None:
        self._credit -= submitted.payload_bytes
        self._on_the_way += submitted.payload_bytes
        self._parts_on_the_way += submitted.payload_bytes if submitted.is_part else 0
        self._submitted.append(submitted)

    def _next_number(self) -> int:
        self._last_transfer += 1
        return self._last_transfer


def _cut(pieces: Iterable[bytes | memoryview], start: int, end: int) -> list[memoryview]:
    """What is from *start* to *end* of the pieces, one after the other; nothing is copied."""
    found, at = [], 0
    for piece in pieces:
        if at < end and at + len(piece) > start:
            found.append(memoryview(piece)[max(0, start - at) : end - at])
        at += len(piece)
    return found
