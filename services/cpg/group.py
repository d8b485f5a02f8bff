"""Membership in a group, blocking: what `Client.join` returns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from ...ipc.errors import ConnectionLost, NotMember
from ...ipc.ids import Guarantee, Member
from .batches import BytesLike, as_parts, checked_guarantee
from .events import Event
from .subscription import Subscription
from .view import LEAVE_SECONDS, GroupView

if TYPE_CHECKING:
    from .client import Client


class Group(GroupView):
    """Membership in a closed process group; made by `Client.join`."""

    def __init__(self, client: Client, subscription: Subscription) -> None:
        super().__init__(client._channel, subscription)
        self._client = client

    @property
    def members(self) -> tuple[Member, ...]:
        """The membership as last told, sorted; it may be ahead of the events that were read.  While this node is away
        it is what it was.  Empty once left."""
        self._client._look()
        return self._subscription.members

    def mcast(
        self,
        payload: BytesLike,
        guarantee: Guarantee = Guarantee.AGREED,
        *,
        wait: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Send a message to all members, this one included, in one total order.

        It is on its way when this returns, and delivered when it comes back as an event.  (A process that ends without
        `Client.close` may take along what it sent last.)  Without credit, and while this node is away, it blocks; or
        raises, with `wait=False`.

        Raises:
            TryAgain: `wait=False`, and it would have blocked.  Nothing was sent.
            TimeoutError: it was not taken within *timeout* seconds.  Nothing was sent.
            MessageTooLarge: more than `Client.message_bytes_max` bytes (1 MiB unless configured).
            InvalidArgument: *payload* is not bytes-like, or *guarantee* is neither AGREED nor SAFE.
            NotMember: the group was left.
            Expelled: this member did not read for too long, and is out.
            ConnectionLost: the client was closed.
        """
        if guarantee.__class__ is not Guarantee:
            guarantee = checked_guarantee(guarantee)
        self._client._mcast(self._subscription, payload, guarantee, wait, timeout)

    def mcast_parts(
        self,
        parts: Iterable[BytesLike],
        guarantee: Guarantee = Guarantee.AGREED,
        *,
        wait: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Send one message that is the *parts* one after the other; all else as `mcast`.

        Parts that are `bytes` are neither joined nor copied on this side if the message is long.
        """
        client, subscription, frames = self._client, self._subscription, as_parts(parts)
        guarantee, channel = checked_guarantee(guarantee), client._channel
        client._append(subscription, lambda: channel.append_parts(subscription, frames, guarantee), wait, timeout)

    def mcast_many(self, payloads: Iterable[BytesLike], guarantee: Guarantee = Guarantee.AGREED) -> int:
        """Send messages in large batches, in this order; returns how many.  Blocks and raises as `mcast` does."""
        client, subscription, count = self._client, self._subscription, 0
        guarantee, append = checked_guarantee(guarantee), client._channel.append
        with client.batch():
            for payload in payloads:
                if not append(subscription, payload, guarantee):
                    client._mcast(subscription, payload, guarantee, True, None)
                if client._channel.outgoing:
                    client._transmit()
                    client._pump(0.0)
                count += 1
        return count

    @property
    def room(self) -> int:
        """The longest message, in bytes, that `mcast` would take now without waiting; -1 if it would take none."""
        self._client._look()
        return self._client._channel.room(self._subscription)

    def pending(self) -> list[Event]:
        """All events that are there, without waiting.  Raises as `receive` does, but only if there is none."""
        self._client._look()
        events = self._subscription.take_all()
        self._client._settle(self._subscription)
        return events

    def receive(self, timeout: float | None = None) -> Event:
        """The next event: a `Message`, `ConfigChange`, `RingChange` or `Rejoined`.

        Raises:
            TimeoutError: nothing came within *timeout* seconds (0: nothing is there).  Look at `is_member` then: while
                this node is away nothing comes.
            NotMember: the group was left, and everything has been read.
            Expelled: this member did not read for too long, and everything that it still got has been read.
            ConnectionLost: the client was closed, or this node was away while the group was being left.
        """
        return self._client._receive(self._subscription, timeout)

    def fileno(self) -> int:
        """A descriptor that is readable when `receive(timeout=0)` may have something, for select and event loops.

        Read until `receive(timeout=0)` raises TimeoutError.  A wake-up may turn out to be for another group, or for
        the connection itself.  Raises as `receive` does once the group is left or the client closed, if there is no
        descriptor yet.
        """
        return self._client._fileno(self._subscription)

    def leave(self, timeout: float | None = None) -> None:
        """Leave; returns when the others have seen it.  The last event, still to be read, is the own leave.

        Raises:
            TimeoutError: not within *timeout* seconds; it will happen all the same.
            ConnectionLost: this node's processes went away meanwhile, and own messages may not have been delivered.
                The group is left.
        """
        self._client._leave(self._subscription, timeout)

    def __iter__(self) -> Iterator[Event]:
        """All events, until the group is left."""
        while True:
            try:
                yield self._client._receive(self._subscription, None)
            except NotMember:
                return

    def __enter__(self) -> Group:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(TimeoutError, ConnectionLost):
            self.leave(timeout=LEAVE_SECONDS)
