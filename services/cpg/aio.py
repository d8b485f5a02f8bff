"""The asyncio client: a shell that is woken, over the pure `Channel`.

Messages that are sent in one turn of the loop travel in one batch: `Group.mcast` adds to the open batch, which goes
out when the loop turns, or when it is full.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import warnings
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from types import TracebackType
from typing import Any

from ...ipc import forks
from ...ipc.connection import Connection
from ...ipc.deadline import within
from ...ipc.endpoints import require_socket
from ...ipc.errors import ConnectionLost, TotemdError, TryAgain
from ...ipc.ids import Member, group_name, group_text
from ...ipc.messages.common import Welcome
from ...ipc.messages.cpg import TO_CLIENT
from .aio_group import Group
from .events import Event
from .subscription import Stage, Subscription
from .view import CONNECT_SECONDS, ROLE, SERVICE_NAME, ClientView, socket_path


class _Bell:
    """Wakes everybody who waits for something to have happened."""

    def __init__(self) -> None:
        self._waiters: dict[asyncio.Future[None], None] = {}
        """In the order in which they came."""

    def ring(self) -> None:
        """Wake them."""
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Until the next ring."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        try:
            await waiter
        finally:
            self._waiters.pop(waiter, None)  # who gives up is not kept until something happens, which may be never


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
        self._senders = 0
        """How many wait to send."""
        self._turn = asyncio.Lock()
        """Whoever waits for credit, in the order in which they came: a long message needs more than is there at once,
        and would never get it if those that come later took it."""
        self._progress = _Bell()
        """Something happened that senders, joiners and leavers may wait for."""
        self._bells: dict[Subscription, _Bell] = {}

    async def connect(self) -> Client:
        """Connect, if not connected yet.

        Raises:
            ConnectionLost: no node runs there, or it does not answer in time.
            AccessDenied: this user may not; see `uidgid` in the configuration reference.
            ProtocolError: the service speaks another major version of the protocol.
            TryAgain: the service has 4,096 connections, which is its limit.
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

    def join(self, name: str | bytes, *, initial_ring: bool = False, timeout: float | None = None) -> Joining:
        """Enter the closed group *name*: `group = await client.join(…)`, or `async with client.join(…) as group`.

        It is done once this process is in the delivered membership; all else as the blocking client's `join`.  Raises
        ConnectionLost also where the client is not connected yet.
        """
        return Joining(self._join(name, initial_ring, timeout))

    async def groups(self, *, timeout: float | None = None) -> dict[str, tuple[Member, ...]]:
        """All groups of the cluster and their members, as this node knows them; both sorted.

        Waits while the node is away or has no ring; raises TimeoutError if that takes longer than *timeout* seconds,
        ConnectionLost if the client is not connected.
        """
        answer = await self._inquire(None, timeout)
        return {group_text(name): members for name, members in answer.items()}

    async def membership(self, name: str | bytes, *, timeout: float | None = None) -> tuple[Member, ...]:
        """The members of any group, sorted; this process need not be one.  Empty for a group that has none."""
        group = group_name(name)
        return (await self._inquire(group, timeout)).get(group, ())

    async def close(self) -> None:
        """Hang up, when the service has taken what was sent, or after two seconds in which it has not.

        Groups that were not left see this member go with reason PROCESS_DOWN, after its messages.
        """
        if forks.generation() != self._process or self._connection is None:
            return
        self._flush()
        self._channel.close(ConnectionLost("the client was closed"))
        self._wake()
        connection, self._connection = self._connection, None
        self._channel.lost()
        await connection.finish()

    def __del__(self) -> None:
        connection = getattr(self, "_connection", None)
        if connection is not None and forks.generation() == self._process:
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)
            connection.close_later()

    async def __aenter__(self) -> Client:
        return await self.connect()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- for Group

    async def _inquire(self, group: bytes | None, timeout: float | None) -> dict[bytes, tuple[Member, ...]]:
        self._require_open()
        inquiry = self._channel.inquire(group)
        try:
            self._transmit()
            async with _timeout(timeout, f"this node did not tell the groups within {timeout} s; is the ring forming?"):
                while inquiry.answer is None:
                    await self._progress.wait()
        finally:
            self._channel.forget(inquiry)
        return inquiry.answer

    async def _join(self, name: str | bytes, initial_ring: bool, timeout: float | None) -> Group:
        self._require_open()
        group = group_name(name)
        otherwise = f"the group {name!r} was not joined within {timeout} s; is the ring forming? (`totemctl status`)"
        async with _timeout(timeout, otherwise):
            await self._until(lambda: not self._channel.is_leaving(group))
            subscription = self._channel.join(group, initial_ring)
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
        self._settle(subscription)
        return event

    def _settle(self, subscription: Subscription) -> None:
        if subscription.consumed_messages:
            self._channel.settle(subscription)
            self._transmit()

    async def _mcast(self, subscription: Subscription, append: Callable[[], bool], wait: bool) -> None:
        """Send what *append* appends: at once, or in the order in which senders came if there is no credit."""
        if self._senders or not append():
            self._flush()
            if not wait:
                raise TryAgain(f"the group {subscription.name!r} takes nothing at the moment; nothing was sent")
            await self._append(subscription, append)
        self._flush_soon()

    async def _append(self, subscription: Subscription, append: Callable[[], bool]) -> None:
        self._senders += 1
        try:
            while True:
                async with self._turn:
                    while not (done := append()) and subscription.stage is Stage.JOINED:
                        self._flush()
                        await self._progress.wait()
                if done:
                    return
                await self._progress.wait()  # until this member is back; the other groups' senders have their turns
        finally:
            self._senders -= 1

    async def _leave(self, subscription: Subscription, timeout: float | None) -> None:
        self._check_process()
        if subscription.stage in (Stage.LEAVING, Stage.CLOSED):
            return
        member = subscription.stage is Stage.JOINED
        self._channel.leave(subscription)
        self._after()
        if member:
            otherwise = f"the group {subscription.name!r} was not left within {timeout} s; it will be"
            async with _timeout(timeout, otherwise):
                await self._until(lambda: subscription.stage is not Stage.LEAVING)
        if subscription.gap:
            raise subscription.error

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

    def _arrived(self, message: Any, payload: Sequence[bytes | memoryview]) -> None:
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
        async with within(timeout):
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
    """What the connection tells, handed to the client, as long as anybody else knows that."""

    def __init__(self, client: Client) -> None:
        self._client = weakref.ref(client)

    def connected(self, welcome: Welcome) -> None:
        if (client := self._client()) is not None:
            client._welcomed(welcome)

    def arrived(self, message: Any, payload: Sequence[bytes | memoryview]) -> None:
        if (client := self._client()) is not None:
            client._arrived(message, payload)

    def lost(self, error: TotemdError) -> None:
        if (client := self._client()) is not None:
            client._lost(error)


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


@contextlib.asynccontextmanager
async def _timeout(seconds: float | None, otherwise: str) -> AsyncIterator[None]:
    """`asyncio.timeout` whose error says what did not happen."""
    try:
        async with within(seconds):
            yield
    except TimeoutError:
        raise TimeoutError(otherwise) from None
