"""The asyncio client: a shell that is woken, over the pure `Channel`.

Messages that are sent in one turn of the loop travel in one batch: `Group.mcast` adds to the open batch, which goes
out when the loop turns, or when it is full.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Sequence
from types import TracebackType
from typing import Any

from ...ipc import forks
from ...ipc.connection import Connection
from ...ipc.endpoints import require_socket
from ...ipc.errors import ConnectionLost, NotMember, TotemdError, TryAgain
from ...ipc.ids import Guarantee, group_name
from ...ipc.messages.common import Welcome
from ...ipc.messages.cpg import TO_CLIENT
from .batches import BytesLike, checked_guarantee
from .events import Event
from .subscription import Stage, Subscription
from .view import CONNECT_SECONDS, LEAVE_SECONDS, ROLE, SERVICE_NAME, ClientView, GroupView, socket_path


class _Bell:
    """Wakes everybody who waits for something to have happened."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def ring(self) -> None:
        """Wake them."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Until the next ring."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter


class Client(ClientView):
    """A connection to the groups of this node's cluster.

    ```
    async with totemd.aio.Client() as client, client.join("chat") as group:
        await group.mcast(b"hello")
        async for event in group:
            ...
    ```
    For the loop in which it was connected.
    """

    def __init__(
        self, run_dir: str | os.PathLike[str] | None = None, *, timeout: float | None = CONNECT_SECONDS
    ) -> None:
        """Nothing is sent yet: `async with` or `connect` does it."""
        super().__init__()
        self._path = socket_path(run_dir)
        self._timeout = timeout
        self._connection: Connection[Any] | None = None
        self._refusal: TotemdError | None = None
        self._flush_scheduled = False
        self._progress = _Bell()
        """Something happened that senders, joiners and leavers may wait for."""
        self._bells: dict[Subscription, _Bell] = {}

    async def connect(self) -> Client:
        """Connect, if not connected yet.

        Raises:
            ConnectionLost: no node runs there, or it does not answer in time.
            AccessDenied: this user may not; see `uidgid` in the configuration reference.
        """
        if self._connection is not None:
            return self
        require_socket(self._path, SERVICE_NAME)
        self._refusal = None
        self._connection = Connection(self._path, ROLE, TO_CLIENT, _Listener(self))
        try:
            await self._until(lambda: self._channel.introduced or self._refusal is not None, self._timeout)
        except TimeoutError:
            self._hang_up()
            raise ConnectionLost(
                f"{SERVICE_NAME} did not answer at {self._path} within {self._timeout} s (starting still?)"
            ) from None
        except asyncio.CancelledError:
            self._hang_up()
            raise
        if self._refusal is not None:
            self._hang_up()
            raise self._refusal
        return self

    def join(self, name: str | bytes, *, timeout: float | None = None) -> Joining:
        """Enter the closed group *name*: `group = await client.join(…)`, or `async with client.join(…) as group`.

        It is done once this process is in the delivered membership; raises as the blocking client's `join` does.
        """
        return Joining(self._join(name, timeout))

    async def close(self) -> None:
        """Hang up.  Groups that were not left see this member go with reason PROCESS_DOWN."""
        if forks.generation() != self._process or self._connection is None:
            return
        self._flush()
        self._channel.close(ConnectionLost("the client was closed"))
        self._wake()
        self._hang_up()

    async def __aenter__(self) -> Client:
        return await self.connect()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- for Group

    async def _join(self, name: str | bytes, timeout: float | None) -> Group:
        self._require_open()
        group = group_name(name)
        otherwise = f"the group {name!r} was not joined within {timeout} s; is the ring forming? (`totemctl status`)"
        async with _timeout(timeout, otherwise):
            await self._until(lambda: not self._channel.is_leaving(group))
            subscription = self._channel.join(group)
            try:
                self._transmit()
                await self._until(lambda: subscription.stage is not Stage.JOINING)
            except BaseException:
                self._channel.leave(subscription)
                self._transmit()
                raise
        if subscription.stage is Stage.CLOSED:
            raise subscription.error
        return Group(self, subscription)

    async def _receive(self, subscription: Subscription, timeout: float | None) -> Event:
        event = subscription.take()
        if event is None:
            self._check_process()
            bell = self._bells.setdefault(subscription, _Bell())
            async with _timeout(timeout, f"nothing happened in the group {subscription.name!r} within {timeout} s"):
                while (event := subscription.take()) is None:
                    await bell.wait()
        if subscription.consumed_messages:
            self._channel.settle(subscription)
            self._transmit()
        return event

    async def _mcast(self, subscription: Subscription, payload: BytesLike, guarantee: Guarantee, wait: bool) -> None:
        while not self._channel.append(subscription, payload, guarantee):
            self._flush()
            if not wait:
                raise TryAgain(f"the group {subscription.name!r} takes nothing at the moment; nothing was sent")
            await self._progress.wait()
        self._flush_soon()

    async def _leave(self, subscription: Subscription, timeout: float | None) -> None:
        self._check_process()
        member = subscription.stage is Stage.JOINED
        self._channel.leave(subscription)
        self._after()
        if member:
            otherwise = f"the group {subscription.name!r} was not left within {timeout} s; it will be"
            async with _timeout(timeout, otherwise):
                await self._until(lambda: subscription.stage is not Stage.LEAVING)

    def _flush_soon(self) -> None:
        if self._channel.outgoing:
            self._transmit()
        if not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    # -- the connection

    def _flush(self) -> None:
        self._flush_scheduled = False
        self._channel.flush()
        self._transmit()

    def _transmit(self) -> None:
        outgoing, connection = self._channel.outgoing, self._connection
        if outgoing and connection is not None and connection.is_open:
            self._check_process()
            for frames in outgoing:
                connection.send_encoded(frames)
            outgoing.clear()

    def _after(self) -> None:
        """Something has happened: answer the service and wake who waits."""
        self._flush()
        self._wake()

    def _wake(self) -> None:
        touched, self._channel.touched = self._channel.touched, {}
        for subscription in touched:
            bell = self._bells.get(subscription)
            if bell is not None:
                bell.ring()
                if subscription.stage is Stage.CLOSED:
                    del self._bells[subscription]
        self._progress.ring()

    def _welcomed(self, welcome: Welcome) -> None:
        self._channel.welcomed(welcome)
        self._after()

    def _arrived(self, message: Any, payload: Sequence[bytes]) -> None:
        self._channel.arrived(message, payload)
        self._after()

    def _lost(self, error: TotemdError) -> None:
        if self._connection is not None and self._connection.is_open:
            return  # A single message was refused, which concerns no group.
        if self._channel.connected:
            self._channel.lost()
        else:
            self._refusal = error
            self._channel.rejected(error)
        self._after()

    async def _until(self, condition: Callable[[], bool], timeout: float | None = None) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                await self._progress.wait()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._channel.lost()

    def _require_open(self) -> None:
        self._check_process()
        if self._connection is None:
            raise ConnectionLost("the client is not connected: use `async with Client()`, or await its `connect`")


class _Listener:
    """What the connection tells, handed to the client."""

    def __init__(self, client: Client) -> None:
        self.connected = client._welcomed
        self.arrived = client._arrived
        self.lost = client._lost


class Joining(Awaitable["Group"]):
    """A join under way: await it, or enter it with `async with`."""

    def __init__(self, joining: Any) -> None:
        self._joining = joining
        self._group: Group | None = None

    def __await__(self) -> Generator[Any, None, Group]:
        return self._joining.__await__()  # type: ignore[no-any-return]

    async def __aenter__(self) -> Group:
        self._group = await self._joining
        return self._group

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._group is not None
        await self._group.__aexit__(kind, error, trace)


class Group(GroupView):
    """Membership in a closed process group; made by `Client.join`.  All as in the blocking client, but awaited."""

    def __init__(self, client: Client, subscription: Subscription) -> None:
        super().__init__(client._channel, subscription)
        self._client = client

    async def mcast(self, payload: BytesLike, guarantee: Guarantee = Guarantee.AGREED, *, wait: bool = True) -> None:
        """Send a message of at most 1 MiB to all members, this one included, in one total order.

        Without credit, and while this node is away, it waits; or raises, with `wait=False`.

        Raises:
            TryAgain: `wait=False`, and it would have waited.  Nothing was sent.
            MessageTooLarge: more than 1 MiB.
            NotMember: the group was left.
            Expelled: this member did not read for too long, and is out.
        """
        if guarantee.__class__ is not Guarantee:
            guarantee = checked_guarantee(guarantee)
        if wait and self._client._channel.append(self._subscription, payload, guarantee):
            self._client._flush_soon()
        else:
            await self._client._mcast(self._subscription, payload, guarantee, wait)

    async def mcast_many(self, payloads: Iterable[BytesLike], guarantee: Guarantee = Guarantee.AGREED) -> int:
        """Send messages in this order; returns how many.  Waits and raises as `mcast` does."""
        guarantee, count = checked_guarantee(guarantee), 0
        for payload in payloads:
            await self.mcast(payload, guarantee)
            count += 1
        return count

    async def receive(self, timeout: float | None = None) -> Event:
        """The next event: a `Message`, `ConfigChange`, `RingChange` or `Rejoined`.

        Raises:
            TimeoutError: nothing came within *timeout* seconds.
            NotMember: the group was left, and everything has been read.
            Expelled: this member did not read for too long, and everything that it still got has been read.
            ConnectionLost: the client was closed.
        """
        return await self._client._receive(self._subscription, timeout)

    async def leave(self, timeout: float | None = None) -> None:
        """Leave; returns when the others have seen it.  The last event, still to be read, is the own leave.

        Raises:
            TimeoutError: not within *timeout* seconds; it will happen all the same.
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


@contextlib.asynccontextmanager
async def _timeout(seconds: float | None, otherwise: str) -> AsyncIterator[None]:
    """`asyncio.timeout` whose error says what did not happen."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TimeoutError(otherwise) from None
