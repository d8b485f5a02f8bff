"""One group as its member sees it: pure.

```
 JOINING ── own join ──► JOINED ── leave ──► LEAVING ── own leave, connection lost ──► CLOSED
    │                     │  ▲                                                           ▲
    │     lost, away      ▼  │ own join: `Rejoined` first                                │
    └───────── refused ─── AWAY ───────────── refused, expelled, client closed ──────────┘
```
"""

from __future__ import annotations

import enum
from collections import deque

from ...ipc.errors import ConnectionLost, MalformedMessage, NotMember, TotemdError
from ...ipc.ids import MESSAGE_BYTES_MAX, Address, Member, Reason, group_text
from ...ipc.messages.cpg import Changed, Messages
from .batches import split
from .events import ConfigChange, Event, Message, Rejoined, RingChange


class Stage(enum.Enum):
    """Where a subscription stands."""

    JOINING = "joining"
    JOINED = "joined"
    AWAY = "away"
    LEAVING = "leaving"
    CLOSED = "closed"


class Subscription:
    """The events of one group, from joining to leaving, in their order; and what is known of one's own messages."""

    def __init__(self, group: bytes, initial_ring: bool = False) -> None:
        self.group = group
        self.name = group_text(group)
        self.stage = Stage.JOINING
        self.members: tuple[Member, ...] = ()
        self.error: TotemdError = NotMember(f"not a member of the group {self.name!r} any more")
        """What ends the sequence of events once the subscription is closed."""
        self.gap = False
        """Own messages of a member that has left, or is leaving, may have been lost; `error` says so."""
        self.sent = 0
        """Own messages sent since the last (re)join."""
        self.delivered_back = 0
        self.absences = 0
        """How often it lost its place; each is told by a `Rejoined`."""
        self.malformed = 0
        """Batches dropped because they were none."""
        self._initial_ring = initial_ring
        self._present = False
        """Between the own join and the end, so that what happens belongs to this member."""
        self._unconfirmed = 0
        self._waiting: deque[tuple[int, Event | Messages, bytes | memoryview]] = deque()
        """(how many messages of the connection it is, event or batch, body)."""
        self._ready: list[Message] = []
        """The messages of the batch that is being read, last first."""
        self._last_payload = b""
        """Of the batch that was read last: while it is there, the memory of those before it, below it on the heap, is
        used again.  Without it the allocator gives that back, and each page is made anew, for a fifth of its time."""
        self.consumed_messages = self.consumed_bytes = 0
        """Read by the application and not yet reported; the channel reports and resets them."""

    @property
    def has_events(self) -> bool:
        """Whether `take` has something, an error included."""
        return bool(self._ready or self._waiting) or self._over

    @property
    def _over(self) -> bool:
        """No event will be added: who leaves while it is away is out, whenever the service may say so."""
        return self.stage is Stage.CLOSED or (self.stage is Stage.LEAVING and not self._present)

    def take(self) -> Event | None:
        """The next event; None when none has arrived.

        Raises:
            TotemdError: there is none, and there will be no more (`error`).
        """
        if self._ready:
            return self._ready.pop()
        while self._waiting:
            counted, event, body = self._waiting.popleft()
            self.consumed_messages += counted
            self.consumed_bytes += len(body)
            if not isinstance(event, Messages):
                return event
            try:
                payloads = split(body, event.count)
            except MalformedMessage:
                # Every member has the same bytes and drops the same batch.
                self.malformed += 1
                continue
            self._last_payload = payloads[-1] if len(payloads[-1]) <= MESSAGE_BYTES_MAX else b""
            self._ready = self._messages(event, payloads)
            return self._ready.pop()
        if self._over:
            raise self.error
        return None

    def take_all(self) -> list[Event]:
        """All events that have arrived.  Raises as `take` does, but only if there is none."""
        events: list[Event] = []
        try:
            while (event := self.take()) is not None:
                events.append(event)
        except TotemdError:
            if not events:
                raise
        return events

    def _messages(self, event: Messages, payloads: list[bytes]) -> list[Message]:
        sender, group, guarantee, ring = Address(event.node, event.pid), self.name, event.guarantee, event.ring
        payloads.reverse()
        return [Message(sender, payload, group, guarantee, ring) for payload in payloads]

    def begin_to_leave(self) -> None:
        """From here on an absence is the end."""
        self.stage = Stage.LEAVING
        self._admit_gap()

    def give_up(self) -> None:
        """It is out, though nobody has told so: what it sent last may not have been delivered."""
        self._unconfirmed += self.sent - self.delivered_back
        self._admit_gap()
        self.close()

    def _admit_gap(self) -> None:
        """No `Rejoined` will tell of the own messages that nobody has seen come back, so the end does."""
        if self._unconfirmed:
            self.gap = True
            self.error = ConnectionLost(
                f"this node was away while the group {self.name!r} was being left: "
                f"{self._unconfirmed} own messages were not seen to be delivered"
            )

    def changed(self, change: Changed, me: Address, ring: RingChange | None) -> None:
        """The group's membership changed; *ring* is the present one."""
        joined, left = _members(change.joined), _members(change.left)
        entered = not self._present and self.stage in (Stage.JOINING, Stage.AWAY) and _is_among(me, joined)
        if entered:
            if self.stage is Stage.AWAY:
                self._waiting.append((0, Rejoined(self._unconfirmed, self.name), b""))
                self._unconfirmed = 0
            self.stage, self._present = Stage.JOINED, True
        if self._present:
            self.members = tuple(Member(node, pid) for node, pid in change.members)
            self._waiting.append((1, ConfigChange(self.members, joined, left, self.name), b""))
        else:
            self.consumed_messages += 1
        if entered and self._initial_ring and ring is not None:
            self._waiting.append((0, ring, b""))
        if _is_among(me, left):
            self.close()

    def messages(self, event: Messages, body: bytes | memoryview, me: Address) -> None:
        """A batch was delivered."""
        if not self._present:
            self.consumed_messages += 1
            return
        if me == (event.node, event.pid):
            self.delivered_back += event.count
        self._waiting.append((1, event, body))

    def ring_changed(self, change: RingChange) -> None:
        """The ring changed."""
        if self._present:
            self._waiting.append((0, change, b""))

    def went_away(self) -> None:
        """The membership is void; a leaving member is simply out."""
        self._present = False
        if self.stage is Stage.LEAVING:
            self.give_up()
        elif self.stage is Stage.JOINED:
            self.stage = Stage.AWAY
            self.absences += 1
            self._unconfirmed = self.sent - self.delivered_back
            self.sent = self.delivered_back = 0

    def discount(self) -> int:
        """What waits counts no more; returns how many messages of the connection it was."""
        counted = sum(counted for counted, _, _ in self._waiting)
        self._waiting = deque((0, event, body) for _, event, body in self._waiting)
        return counted

    def close(self, error: TotemdError | None = None) -> None:
        """No event will be added any more; those that wait can still be read."""
        if self.stage is Stage.CLOSED:
            return
        self.stage, self._present = Stage.CLOSED, False
        self.members = ()
        if error is not None and not self.gap:
            self.error = error
        # What is left to read is bounded now, so the service need not count it any longer.
        self.consumed_messages += self.discount()


def _members(wire: tuple[tuple[int, int, Reason], ...]) -> tuple[Member, ...]:
    return tuple(Member(node, pid, reason) for node, pid, reason in wire)


def _is_among(me: Address, members: tuple[Member, ...]) -> bool:
    return any(member.address == me for member in members)
