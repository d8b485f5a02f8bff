"""Membership in a group, for asyncio: what `await Client.join(…)` returns."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from ...ipc.errors import ConnectionLost, NotMember
from ...ipc.ids import Guarantee
from .batches import BytesLike, as_parts, checked_guarantee
from .events import Event
from .subscription import Subscription
from .view import LEAVE_SECONDS, GroupView

if TYPE_CHECKING:
    from .aio import Client


class Group(GroupView):
    """Membership in a closed process group; made by `Client.join`.  All as in the blocking client, but awaited."""

    def __init__(self, client: Client, subscription: Subscription) -> None:
        super().__init__(client._channel, subscription)
        self._client = client

    async def mcast(self, payload: BytesLike, guarantee: Guarantee = Guarantee.AGREED, *, wait: bool = True) -> None:
        """Send a message to all members, this one included, in one total order.

        Without credit, and while this node is away, it waits, behind the tasks that wait already; or raises, with
        `wait=False`.  Who gives up waiting (`asyncio.timeout`) has sent nothing.

        Raises:
            TryAgain: `wait=False`, and it would have waited.  Nothing was sent.
            MessageTooLarge: more than `Client.message_bytes_max` bytes (1 MiB unless configured).
            InvalidArgument: *payload* is not bytes-like, or *guarantee* is neither AGREED nor SAFE.
            NotMember: the group was left.
            Expelled: this member did not read for too long, and is out.
            ConnectionLost: the client was closed.
        """
        if guarantee.__class__ is not Guarantee:
            guarantee = checked_guarantee(guarantee)
        channel, subscription, client = self._channel, self._subscription, self._client
        if not client._senders and channel.append(subscription, payload, guarantee):
            client._flush_soon()
        else:
            await client._mcast(subscription, lambda: channel.append(subscription, payload, guarantee), wait)

    async def mcast_parts(
        self, parts: Iterable[BytesLike], guarantee: Guarantee = Guarantee.AGREED, *, wait: bool = True
    ) -> None:
        """Send one message that is the *parts* one after the other; all else as `mcast`.

        Parts that are `bytes` are neither joined nor copied on this side if the message is long.
        """
        channel, subscription, frames = self._channel, self._subscription, as_parts(parts)
        guarantee = checked_guarantee(guarantee)
        await self._client._mcast(subscription, lambda: channel.append_parts(subscription, frames, guarantee), wait)

    async def mcast_many(self, payloads: Iterable[BytesLike], guarantee: Guarantee = Guarantee.AGREED) -> int:
        """Send messages in this order; returns how many.  Waits and raises as `mcast` does."""
        guarantee, count = checked_guarantee(guarantee), 0
        for payload in payloads:
            await self.mcast(payload, guarantee)
            count += 1
        return count

    @property
    def room(self) -> int:
        """The longest message, in bytes, that `mcast` would take now without waiting; -1 if it would take none."""
        return self._client._channel.room(self._subscription)

    def pending(self) -> list[Event]:
        """All events that are there, without waiting.  Raises as `receive` does, but only if there is none."""
        events = self._subscription.take_all()
        self._client._settle(self._subscription)
        return events

    async def receive(self, timeout: float | None = None) -> Event:
        """The next event: a `Message`, `ConfigChange`, `RingChange` or `Rejoined`.

        Raises:
            TimeoutError: nothing came within *timeout* seconds.  Look at `is_member` then: while this node is away
                nothing comes.
            NotMember: the group was left, and everything has been read.
            Expelled: this member did not read for too long, and everything that it still got has been read.
            ConnectionLost: the client was closed, or this node was away while the group was being left.
        """
        return await self._client._receive(self._subscription, timeout)

    async def leave(self, timeout: float | None = None) -> None:
        """Leave; returns when the others have seen it.  The last event, still to be read, is the own leave.

        Raises:
            TimeoutError: not within *timeout* seconds; it will happen all the same.
            ConnectionLost: as the blocking group's `leave`.
        """
        await self._client._leave(self._subscription, timeout)

    async def __aiter__(self) -> AsyncIterator[Event]:
        """All events, until the group is left."""
        while True:
            try:
                yield await self._client._receive(self._subscription, None)
            except NotMember:
                return

    async def __aenter__(self) -> Group:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(TimeoutError, ConnectionLost):
            await self.leave(timeout=LEAVE_SECONDS)
