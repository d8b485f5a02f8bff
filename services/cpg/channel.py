"""A client's groups, batches and credit over one connection: pure.  `client.py` and `aio.py` are its shells.

A shell hands in what happens on the connection (`welcomed`, `arrived`, `lost`, `rejected`), and sends what `outgoing`
holds after each call.  Joins are repeated by themselves whenever the connection, or the node's place in the ring, is
back; messages never are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from ...ipc.codec import encode
from ...ipc.errors import AlreadyMember, NotMember, Status, TotemdError, to_exception
from ...ipc.errors import Expelled as ExpelledError
from ...ipc.ids import MESSAGE_BYTES_MAX, Address, Guarantee
from ...ipc.messages.common import Welcome
from ...ipc.messages.cpg import (
    BATCH_BYTES_ASSURED,
    BATCH_BYTES_MAX,
    BATCH_COST_BYTES,
    LENGTH_BYTES,
    SAY_BYTES_MAX,
    Away,
    Changed,
    Consumed,
    Credit,
    Expelled,
    Failed,
    Groups,
    Join,
    Leave,
    Limits,
    Messages,
    Multicast,
    Ring,
    Say,
    Verb,
)
from .batches import as_message, pack_length, too_large
from .events import RingChange
from .lookup import Inquiry
from .subscription import Stage, Subscription

REPORT_BYTES: Final = 256 * 1024
REPORT_MESSAGES: Final = 64
"""Batch bytes, or messages of the service, read by the application after which the service is told."""

FINAL_REFUSALS: Final = frozenset({Status.ACCESS_DENIED, Status.PROTOCOL})
"""Refusals of a connection that trying again does not mend."""

_SAY_COST_BYTES: Final = LENGTH_BYTES + BATCH_COST_BYTES

_FAILS: Final[dict[Verb, tuple[Stage, ...]]] = {
    Verb.JOIN: (Stage.JOINING, Stage.AWAY),
    Verb.LEAVE: (Stage.LEAVING,),
    Verb.MULTICAST: (),
}
"""The stages in which a `Failed` ends a subscription."""

ServerMessage = Changed | Messages | Groups | Limits | Ring | Away | Expelled | Failed | Credit


class Channel:
    """All groups of one client."""

    def __init__(self) -> None:
        self.address = Address(0, 0)
        """This process, as the service names it."""
        self.ring: RingChange | None = None
        self.message_bytes_max = MESSAGE_BYTES_MAX
        """Longest message that this node takes."""
        self._batch_bytes_max = BATCH_BYTES_ASSURED
        """Longest batch of several messages that this node takes."""
        self.introduced = False
        """The welcome and what belongs to it have arrived."""
        self.connected = False
        self.outgoing: list[tuple[bytes, ...]] = []
        """Messages to send, in order; the shell sends and clears them after each call."""
        self.touched: dict[Subscription, None] = {}
        """Subscriptions to which something happened; for shells that have somebody to wake, who clear it."""
        self._subscriptions: dict[bytes, Subscription] = {}
        self._inquiries: dict[int, Inquiry] = {}
        self._last_inquiry = 0
        self._credit = 0
        """What batches may still cost."""
        self._consumed_messages = self._consumed_bytes = 0
        """Not reported yet."""
        self._unread = 0
        """Messages that arrived, and were not read."""
        self._reports_all = False
        """The service wants to know at once when nothing is unread."""
        self._batch_of: Subscription | None = None
        self._batch_guarantee = Guarantee.AGREED
        self._batch: list[bytes] = []
        self._batch_bytes = 0

    # -- what happens on the connection

    def welcomed(self, welcome: Welcome) -> None:
        """The service let us in, for the first time or again."""
        self.address = Address(welcome.node_id, welcome.pid)
        self.connected, self.introduced = True, False
        self._credit = welcome.credit - (BATCH_COST_BYTES + self._batch_bytes if self._batch else 0)
        self._consumed_messages = self._consumed_bytes = self._unread = 0
        self._join_again()

    def lost(self) -> None:
        """The connection is gone, with everything that was on its way."""
        self.connected = self.introduced = False
        self.outgoing.clear()
        for subscription in self._subscriptions.values():
            subscription.discount()
            subscription.consumed_messages = subscription.consumed_bytes = 0
        self._went_away()

    def rejected(self, error: TotemdError) -> None:
        """The service does not let us in (again)."""
        if error.status in FINAL_REFUSALS:
            self.close(error)

    def arrived(self, message: ServerMessage, payload: Sequence[bytes | memoryview]) -> None:
        """A message of the service; *payload* are its frames."""
        self._unread += not isinstance(message, Credit)
        match message:
            case Messages():
                self._messages(message, payload)
            case Credit(payload_bytes):
                self._credit += payload_bytes
            case Changed():
                self._changed(message)
            case Groups(number):
                self._page(number, message)
            case Limits(message_bytes, batch_bytes, unread_ms):
                self.message_bytes_max = message_bytes
                self._batch_bytes_max = min(batch_bytes, BATCH_BYTES_MAX)
                self._reports_all = unread_ms > 0
                self._consume(1)
            case Ring(ring, members):
                self._ring_changed(None if ring is None else RingChange(ring, members))
            case Away():
                self._consume(1)
                self._went_away()
                self._join_again()
            case Expelled(why):
                self.close(ExpelledError(why))
            case Failed():
                self._failed(message)

    # -- what the application asks for

    def join(self, group: bytes, initial_ring: bool = False) -> Subscription:
        """Begin to join; the subscription's stage tells when it is done.

        *initial_ring*: the ring is the event after its own join.

        Raises:
            AlreadyMember: this client is in the group, or joining it.
        """
        if group in self._subscriptions:
            present = self._subscriptions[group]
            raise AlreadyMember(f"this process is in the group {present.name!r} already ({present.stage.value})")
        subscription = self._subscriptions[group] = Subscription(group, initial_ring)
        if self.connected:
            self._send(Join(group))
        return subscription

    def is_leaving(self, group: bytes) -> bool:
        """Whether an earlier membership must end before `join` can succeed."""
        subscription = self._subscriptions.get(group)
        return subscription is not None and subscription.stage is Stage.LEAVING

    def leave(self, subscription: Subscription) -> None:
        """Begin to leave; also ends a join that has not succeeded.  Leaving twice is harmless."""
        if subscription.stage in (Stage.LEAVING, Stage.CLOSED):
            return
        self.flush()
        subscription.begin_to_leave()
        if self.connected:
            self._send(Leave(subscription.group))
        else:
            subscription.give_up()
            self._touch(subscription)

    def inquire(self, group: bytes | None) -> Inquiry:
        """Ask who is in *group*, or in all groups; the inquiry tells when it is answered.  `forget` ends it."""
        self._last_inquiry += 1
        inquiry = self._inquiries[self._last_inquiry] = Inquiry(self._last_inquiry, group)
        if self.connected:
            self._send(inquiry.ask())
        return inquiry

    def forget(self, inquiry: Inquiry) -> None:
        """Nobody waits for the answer any more."""
        self._inquiries.pop(inquiry.number, None)

    def alone(self, subscription: Subscription, payload: object, guarantee: Guarantee) -> tuple[bytes] | None:
        """The frame of this one message, where that is plainly possible; None: use `append` and `flush`.

        The short way for senders that do not gather: it costs a third of the long one.
        """
        if (
            payload.__class__ is not bytes
            or subscription.stage is not Stage.JOINED
            or self._batch
            or self.outgoing
            or (cost := len(payload) + _SAY_COST_BYTES) > self._credit
            or len(payload) > SAY_BYTES_MAX
        ):
            return None
        self._credit -= cost
        subscription.sent += 1
        return (encode(Say(subscription.group, payload, guarantee)),)

    def append(self, subscription: Subscription, payload: object, guarantee: Guarantee) -> bool:
        """Add a message to the open batch.  False: there is no credit, or the member is away; nothing happened.

        Raises:
            NotMember, Expelled: the group was left, or this member was made to leave it.
            MessageTooLarge: above `message_bytes_max`.
            InvalidArgument: not bytes-like, or no such guarantee.
        """
        if subscription.stage is not Stage.JOINED and not self._may_send(subscription):
            return False
        message = as_message(payload, self.message_bytes_max)
        length = len(message)
        size = length + LENGTH_BYTES
        if size + BATCH_COST_BYTES > self._credit:
            return False
        if self._batch and (
            self._batch_bytes + size > self._batch_bytes_max
            or subscription is not self._batch_of
            or guarantee is not self._batch_guarantee
        ):
            self.flush()
            if self._batch:
                return False
        if not self._batch:
            self._batch_of, self._batch_guarantee = subscription, guarantee
            self._credit -= BATCH_COST_BYTES
        self._credit -= size
        self._batch_bytes += size
        self._batch += (pack_length(length), message)
        return True

    def append_parts(self, subscription: Subscription, parts: Sequence[bytes], guarantee: Guarantee) -> bool:
        """Send a message given in parts, which are not joined (see `as_parts`).  Returns and raises as `append`."""
        if len(parts) == 1:
            return self.append(subscription, parts[0], guarantee)
        length = sum(map(len, parts))
        cost = length + _SAY_COST_BYTES
        if length > self.message_bytes_max:
            raise too_large(length, self.message_bytes_max)
        if not self._may_send(subscription) or cost > self._credit:
            return False
        self.flush()
        if self._batch:
            return False
        self._credit -= cost
        subscription.sent += 1
        control = encode(Multicast(subscription.group, 1, guarantee))
        self.outgoing.append((control, pack_length(length), *parts))
        return True

    def room(self, subscription: Subscription) -> int:
        """The longest message that `append` would take now; -1 if it would take none."""
        if subscription.stage is not Stage.JOINED:
            return -1
        return max(-1, min(self.message_bytes_max, self._credit - _SAY_COST_BYTES))

    def flush(self) -> None:
        """Close the open batch, so that it goes out.  That of a member that is away stays open until it is back."""
        subscription = self._batch_of
        if not self._batch or subscription is None:
            return
        if subscription.stage is Stage.JOINED:
            count = len(self._batch) // 2
            control = Multicast(subscription.group, count, self._batch_guarantee)
            # What is longer than any batch of several is one message, and need not be copied behind its length.
            body = self._batch if self._batch_bytes > self._batch_bytes_max else (b"".join(self._batch),)
            self.outgoing.append((encode(control), *body))
            subscription.sent += count
        elif subscription.stage is Stage.AWAY:
            return
        else:
            self._credit += self._batch_bytes + BATCH_COST_BYTES
        self._batch.clear()
        self._batch_bytes = 0

    def settle(self, subscription: Subscription) -> None:
        """Take note of what the application has read of this subscription."""
        messages, size = subscription.consumed_messages, subscription.consumed_bytes
        subscription.consumed_messages = subscription.consumed_bytes = 0
        self._consume(messages, size)

    def close(self, error: TotemdError) -> None:
        """Every group ends with *error*."""
        for subscription in list(self._subscriptions.values()):
            self._close(subscription, error)

    # -- inside

    def _may_send(self, subscription: Subscription) -> bool:
        """Whether the member is in its group now.  Raises as `append` does if it will not be any more."""
        if subscription.stage is Stage.CLOSED:
            raise subscription.error
        if subscription.stage is Stage.LEAVING:
            raise NotMember(f"the group {subscription.name!r} is being left")
        return subscription.stage is Stage.JOINED

    def _send(self, message: msgspec.Struct) -> None:
        self.outgoing.append((encode(message),))

    def _join_again(self) -> None:
        for group, subscription in self._subscriptions.items():
            if subscription.stage in (Stage.JOINING, Stage.AWAY):
                self._send(Join(group))

    def _page(self, number: int, page: Groups) -> None:
        self._consume(1)
        inquiry = self._inquiries.get(number)
        if inquiry is not None and (question := inquiry.page(page)) is not None:
            self._send(question)

    def _inquire_again(self) -> None:
        for inquiry in self._inquiries.values():
            if inquiry.answer is None:
                self._send(inquiry.ask())

    def _went_away(self) -> None:
        self.ring = None
        for subscription in list(self._subscriptions.values()):
            subscription.went_away()
            self._touch(subscription)

    def _touch(self, subscription: Subscription) -> None:
        self.touched[subscription] = None
        if subscription.stage is Stage.CLOSED:
            self._subscriptions.pop(subscription.group, None)
            self.settle(subscription)

    def _close(self, subscription: Subscription, error: TotemdError | None) -> None:
        subscription.close(error)
        self._touch(subscription)

    def _messages(self, message: Messages, payload: Sequence[bytes | memoryview]) -> None:
        subscription = self._subscriptions.get(message.group)
        if subscription is None:
            self._consume(1)
            return
        subscription.messages(message, payload[0] if payload else b"", self.address)
        self._touch(subscription)

    def _changed(self, message: Changed) -> None:
        subscription = self._subscriptions.get(message.group)
        if subscription is None:
            self._consume(1)
            return
        subscription.changed(message, self.address, self.ring)
        self._touch(subscription)

    def _ring_changed(self, change: RingChange | None) -> None:
        self._consume(1)
        if self.ring is None and change is not None:
            self._inquire_again()
        self.ring, self.introduced = change, True
        for subscription in self._subscriptions.values():
            if change is not None:
                subscription.ring_changed(change)
                self._touch(subscription)

    def _failed(self, message: Failed) -> None:
        self._consume(1)
        subscription = self._subscriptions.get(message.group)
        # What fails at another stage crossed with an absence or an expulsion, which is told by itself.
        if subscription is not None and subscription.stage in _FAILS[message.verb]:
            self._close(subscription, to_exception(message.status, message.detail))

    def _consume(self, messages: int, size: int = 0) -> None:
        self._consumed_messages += messages
        self._consumed_bytes += size
        self._unread -= messages
        if self._consumed_messages and (
            self._consumed_messages >= REPORT_MESSAGES
            or self._consumed_bytes >= REPORT_BYTES
            or (self._reports_all and not self._unread)
        ):
            if self.connected:
                self._send(Consumed(self._consumed_messages))
            self._consumed_messages = self._consumed_bytes = 0
