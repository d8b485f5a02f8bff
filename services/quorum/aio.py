"""The asyncio client: a shell that is woken, over the pure `Tracker`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Any

import msgspec

from ...ipc.connection import Connection
from ...ipc.endpoints import require_socket
from ...ipc.errors import ConnectionLost, TotemdError
from ...ipc.messages.common import Welcome
from ...ipc.messages.quorum import TO_CLIENT, CancelWait, Count, Expect, Grant
from .view import ANSWER_SECONDS, CONNECT_SECONDS, ROLE, SERVICE_NAME, ClientView, socket_path


class Client(ClientView):
    """A connection to the quorum service of this node.

    ```
    async with totemd.quorum.aio.Client() as client:
        await client.wait_until_quorate()
        async for status in client:      # every change
            print(status.quorate, status.members)
    ```
    For the loop in which it was connected.  Meaning and errors of each method: `totemd.quorum.Client`.
    """

    def __init__(
        self, run_dir: str | os.PathLike[str] | None = None, *, timeout: float | None = CONNECT_SECONDS
    ) -> None:
        """Nothing is sent yet: `async with` or `connect` does it."""
        super().__init__()
        self._run_dir = run_dir
        self._timeout = timeout
        self._connection: Connection[Any] | None = None
        self._refusal: TotemdError | None = None
        self._waiters: list[asyncio.Future[None]] = []

    async def connect(self) -> Client:
        """Connect, if not connected yet; raises as the blocking client does."""
        if self._connection is not None:
            return self
        path = socket_path(self._run_dir)
        require_socket(path, SERVICE_NAME)
        self._refusal = None
        self._connection = Connection(path, ROLE, TO_CLIENT, _Listener(self))
        try:
            await self._until(
                lambda: self._tracker.introduced or self._refusal is not None,
                self._timeout,
                f"{SERVICE_NAME} at {path} did not answer",
            )
        except TimeoutError as error:
            await self.close()
            raise ConnectionLost(str(error)) from None
        except asyncio.CancelledError:
            await self.close()
            raise
        if self._refusal is not None:
            await self.close()
            raise self._refusal
        return self

    @property
    def status(self) -> Count:
        """How it stands, as last heard."""
        return self._known()

    @property
    def quorate(self) -> bool:
        """Whether this node is quorate, as last heard; not while the service is away."""
        return self._tracker.quorate

    async def receive(self, timeout: float | None = None) -> Count:
        """The next change: how it stands after it.  Raises TimeoutError."""
        status: Count | None = None

        def taken() -> bool:
            nonlocal status
            status = self._tracker.take()
            return status is not None

        await self._until(taken, timeout, "the votes did not change")
        assert status is not None
        return status

    async def __aiter__(self) -> AsyncIterator[Count]:
        while True:
            yield await self.receive()

    async def wait_until_quorate(self, timeout: float | None = None) -> Count:
        """Return as soon as this node is quorate; changes stay to be received.  Raises TimeoutError."""
        await self._until(lambda: self._tracker.quorate, timeout, "this node was not quorate")
        return self._known()

    async def set_expected_votes(self, votes: int, *, timeout: float | None = ANSWER_SECONDS) -> None:
        """Tell the cluster how many votes there are in all."""
        await self._request(Expect(votes), timeout)

    async def set_votes(
        self, votes: int, node_id: int | None = None, *, timeout: float | None = ANSWER_SECONDS
    ) -> None:
        """Give a node (default: this one) so many votes, until it is started again."""
        await self._request(Grant(self._known().node_id if node_id is None else node_id, votes), timeout)

    async def cancel_wait_for_all(self, *, timeout: float | None = ANSWER_SECONDS) -> None:
        """Do not wait for all nodes, on every node of the ring."""
        await self._request(CancelWait(), timeout)

    async def close(self) -> None:
        """Hang up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._tracker.lost()
        self._wake()

    async def __aenter__(self) -> Client:
        return await self.connect()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _request(self, message: msgspec.Struct, timeout: float | None) -> None:
        connection = self._require_open()
        try:
            async with asyncio.timeout(timeout):
                await connection.request(message)
        except TimeoutError:
            raise TimeoutError(f"{SERVICE_NAME} did not answer within {timeout} s") from None

    async def _until(self, condition: Callable[[], bool], timeout: float | None, otherwise: str) -> None:
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    self._require_open()
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiters.append(waiter)
                    try:
                        await waiter
                    finally:
                        if waiter in self._waiters:  # given up: nobody may wake it for days
                            self._waiters.remove(waiter)
        except TimeoutError:
            raise TimeoutError(f"{otherwise} within {timeout} s") from None

    def _require_open(self) -> Connection[Any]:
        if self._connection is None:
            raise ConnectionLost("the client is not connected: use `async with Client()`, or await its `connect`")
        return self._connection

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- what the connection tells

    def _welcomed(self, welcome: Welcome) -> None:
        self._tracker.welcomed()
        self._transmit()

    def _arrived(self, message: Any, payload: Sequence[bytes | memoryview]) -> None:
        self._tracker.arrived(message)
        self._transmit()
        self._wake()

    def _lost(self, error: TotemdError) -> None:
        if self._connection is not None and self._connection.is_open:
            return  # A single message was refused.
        if not self._tracker.introduced:
            self._refusal = error
        self._tracker.lost()
        self._wake()

    def _transmit(self) -> None:
        if self._connection is not None and self._connection.is_open:
            for message in self._tracker.outgoing:
                self._connection.send(message)
            self._tracker.outgoing.clear()


class _Listener:
    """What the connection tells, handed to the client."""

    def __init__(self, client: Client) -> None:
        self.connected = client._welcomed
        self.arrived = client._arrived
        self.lost = client._lost
