"""The asyncio client of an application that sam-run keeps: `totemd.sam.aio`.

```
async with sam.aio.Application() as app:     # registers, starts; sam-run asks, the loop answers
    await work()
```
The loop that does the work answers sam-run's checks: one that hangs is warned, killed, and started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from ..ipc.connection import Connection
from ..ipc.deadline import within
from ..ipc.errors import ConnectionLost, TotemdError
from ..ipc.messages.common import Welcome
from ..ipc.messages.sam_app import (
    ROLE,
    TO_APP,
    AskMe,
    Beat,
    Check,
    Enrolled,
    MarkFailed,
    Restore,
    StartWatch,
    StopWatch,
    Store,
    Stored,
)
from .conduct import ANSWER_SECONDS, CONNECT_SECONDS, SERVICE_NAME, Conduct, Healthy, Said, address, storable

__all__ = ["Application"]


class Application:
    """This process, as it speaks to the sam-run that keeps it; for the loop in which it registered.

    Meaning and errors of each method: `totemd.sam.Application`.
    """

    def __init__(
        self,
        *,
        interval: float | None = None,
        policy: str | None = None,
        check: Healthy | None = None,
        timeout: float | None = CONNECT_SECONDS,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing is said yet: `register`, or `async with`.

        *check* is called before every fourth answer, and may be a coroutine function.  Without an interval sam-run
        never asks.
        """
        self._conduct = Conduct()
        self._enrol = self._conduct.enrol(interval, policy)
        environ = os.environ if variables is None else variables
        self._path = Path(address(environ, shlex.join(sys.orig_argv)))
        self._check = check
        self._timeout = timeout
        self._connection: Connection[Any] | None = None
        self._welcomed: asyncio.Future[None] | None = None
        self._checks: asyncio.Queue[Check] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def instance(self) -> int:
        """1 for the first instance, one more after each restart; 0 before `register`."""
        return self._conduct.instance

    async def register(self) -> int:
        """Register; returns the number of this instance."""
        self._conduct.require(Said.NOTHING)
        self._welcomed = asyncio.get_running_loop().create_future()
        self._connection = Connection(self._path, ROLE, TO_APP, _Listener(self))
        try:
            async with within(self._timeout):
                await self._welcomed
                reply = await self._connection.request(self._enrol)
        except TimeoutError:
            self._hang_up()
            raise ConnectionLost(f"{SERVICE_NAME} did not answer at {self._path} within {self._timeout} s") from None
        except BaseException:
            self._hang_up()
            raise
        assert isinstance(reply, Enrolled)
        self._conduct.said, self._conduct.instance = Said.REGISTERED, reply.instance
        if reply.interval_ms:
            await self.on_health_check(self._check or _nothing_is_wrong)
        return reply.instance

    async def start(self, timeout: float | None = None) -> None:
        """Be watched from now on; under a quorum policy, return when the node is quorate."""
        self._conduct.require(Said.REGISTERED)
        try:
            await self._request(StartWatch(), timeout)
        except (TimeoutError, asyncio.CancelledError):
            with contextlib.suppress(TotemdError, TimeoutError):
                await self._request(StopWatch())
            raise
        self._conduct.said = Said.STARTED

    async def stop(self) -> None:
        """Be watched no more."""
        self._conduct.require(Said.STARTED)
        await self._request(StopWatch())
        self._conduct.said = Said.REGISTERED

    def health_check(self) -> bool:
        """Give a sign of life, besides those that sam-run asks for; returns whether a sam-run is there to hear it."""
        self._conduct.require(Said.STARTED)
        return self._beat()

    async def on_health_check(self, check: Healthy | None) -> None:
        """Put another check in the place of the first; it may be a coroutine function."""
        if self._conduct.watch_for(check):
            try:
                await self._request(AskMe())
            except BaseException:
                self._conduct.check = None
                raise
            self._spawn(self._answer_checks())

    async def store(self, data: bytes | bytearray | memoryview | None) -> None:
        """Leave *data* to later instances."""
        self._conduct.require(Said.REGISTERED, Said.STARTED)
        await self._request(Store(storable(data)))

    async def restore(self) -> bytes:
        """What was stored last, by this instance or an earlier one."""
        self._conduct.require(Said.REGISTERED, Said.STARTED)
        reply = await self._request(Restore())
        assert isinstance(reply, Stored)
        return reply.data

    async def warn_signal(self, number: int) -> None:
        """The signal by which this application is warned, instead of SIGTERM."""
        await self._request(self._conduct.warn_by(number))

    async def mark_failed(self) -> None:
        """Be killed at once, and not started again."""
        self._conduct.require(Said.REGISTERED, Said.STARTED)
        await self._request(MarkFailed())

    async def finalize(self) -> None:
        """Stop, if started, and hang up."""
        self._conduct.require(Said.REGISTERED, Said.STARTED)
        if self._conduct.said is Said.STARTED:
            with contextlib.suppress(ConnectionLost, TimeoutError):
                await self.stop()
        self._conduct.said = Said.FINALIZED
        self._hang_up()

    async def __aenter__(self) -> Application:
        """Register and start."""
        if self._conduct.said is Said.NOTHING:
            await self.register()
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and finalize; not after an exception, so that the end of the program is the failure that it is."""
        if kind is None and self._conduct.said is not Said.FINALIZED:
            await self.finalize()

    # -- the connection

    async def _request(self, message: msgspec.Struct, timeout: float | None = ANSWER_SECONDS) -> Any:
        if self._connection is None:
            raise ConnectionLost("this application has not registered, or has hung up")
        async with within(timeout):
            return await self._connection.request(message)

    def _beat(self) -> bool:
        with contextlib.suppress(ConnectionLost):
            if self._connection is not None:
                self._connection.send(Beat())
                return True
        return False

    async def _answer_checks(self) -> None:
        """Answer while all is well.  A check that hangs leaves sam-run without an answer, as it should."""
        while True:
            check = await self._checks.get()
            if check.full and self._conduct.check is not None:
                self._conduct.is_well = False
                found = self._conduct.check()
                if inspect.isawaitable(found):
                    found = await found
                if found is False:
                    return
                self._conduct.is_well = True
            self._beat()

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            handler = asyncio.get_running_loop().call_exception_handler
            handler({"message": "a health check failed; sam-run gets no answer any more", "exception": error})

    def _hang_up(self) -> None:
        for task in self._tasks:
            task.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self, welcome: Welcome) -> None:
        if self._welcomed is not None and not self._welcomed.done():
            self._welcomed.set_result(None)
        else:
            self._spawn(self._tell_once_more())

    async def _tell_once_more(self) -> None:
        """Another keeper has taken over where this one's had died."""
        with contextlib.suppress(TotemdError, TimeoutError):
            for message in self._conduct.once_more():
                await self._request(message)

    def _arrived(self, message: Any, payload: Sequence[bytes | memoryview]) -> None:
        if isinstance(message, Check):
            self._checks.put_nowait(message)

    def _lost(self, error: TotemdError) -> None:
        if self._welcomed is not None and not self._welcomed.done():
            self._welcomed.set_exception(error)


def _nothing_is_wrong() -> None:
    """That the loop turns is all that is asked for."""


class _Listener:
    """What the connection tells, handed to the application."""

    def __init__(self, application: Application) -> None:
        self.connected = application._connected
        self.arrived = application._arrived
        self.lost = application._lost
