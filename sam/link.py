"""sam-run's connection to the sam process, which comes and goes; the application's life does not wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..ipc.connection import Connection
from ..ipc.errors import ConnectionLost, InvalidArgument, TotemdError
from ..ipc.messages.common import Welcome
from ..ipc.messages.sam import FROM_SAM, Changed, Ended, Progress, Recover, Register, Registered

ROLE = "sam-run"

LOOK_SECONDS = 0.5
"""How often a socket that is not there yet is looked for."""

ENLIST_SECONDS = 1.0
"""How long the start of an application waits for the sam process to put it on the list."""

LAST_WORD_SECONDS = 0.5
"""How long the end of sam-run waits for the sam process to take note of it."""


class Link:
    """Registers one application with the sam process, again whenever a new one serves, and tells it of every turn."""

    def __init__(
        self,
        socket: Path,
        registration: Register,
        progress: Callable[[], Progress],
        recover: Callable[[Recover], None],
        say: Callable[[str], None],
    ) -> None:
        """*registration* holds what never changes; *progress* is asked where the application stands now."""
        self._socket = socket
        self._registration = registration
        self._progress = progress
        self._recover = recover
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._connection: Connection[Any] | None = None
        self._registering: asyncio.Task[None] | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._first: asyncio.Future[None] = self._loop.create_future()
        self._last_told: Progress | None = None
        self._complaint = ""
        self.name = registration.name
        self.is_registered = False
        self._was_registered = False

    async def enlist(self) -> None:
        """Try to register before the application starts; go on trying for ever if that does not succeed in time.

        Raises:
            ConnectionLost: no sam process serves at the moment.
            TotemdError: it refuses this application, or this user.
        """
        self._look()
        try:
            if self._connection is None:
                raise ConnectionLost(f"no sam process serves {self._socket}")
            async with asyncio.timeout(ENLIST_SECONDS):
                await self._first
        except TimeoutError:
            raise ConnectionLost(f"no sam process answers at {self._socket}") from None
        finally:
            self._first.cancel()  # from now on nobody waits

    def tell(self) -> None:
        """The application's life may have taken a turn."""
        progress = self._progress()
        if self.is_registered and self._connection is not None and progress != self._last_told:
            with contextlib.suppress(ConnectionLost):  # `lost` follows, and the next registration tells everything
                self._connection.send(Changed(progress))
                self._last_told = progress

    async def close(self) -> None:
        """Say the last word, and wait a moment until it has been heard."""
        if self._looking is not None:
            self._looking.cancel()
        if self._registering is not None:
            self._registering.cancel()
        if self._connection is None:
            return
        if self.is_registered:
            with contextlib.suppress(TotemdError, TimeoutError):
                async with asyncio.timeout(LAST_WORD_SECONDS):
                    await self._connection.request(Ended(0, self._progress()))
        self._connection.close()

    # -- what happens on the connection

    def connected(self, welcome: Welcome) -> None:
        self._registering = self._loop.create_task(self._register())

    def arrived(self, message: Any, payload: Sequence[bytes | memoryview]) -> None:
        if isinstance(message, Recover):
            self._recover(message)

    def lost(self, error: TotemdError) -> None:
        self.is_registered = False
        if not isinstance(error, ConnectionLost):
            self._complain(error)
        elif self._was_registered:
            self._say("the sam process is gone; supervising alone until it is back")

    def _look(self) -> None:
        if os.path.exists(self._socket):  # False too where this user may not look
            self._looking = None
            self._connection = Connection(self._socket, ROLE, FROM_SAM, self)
        else:
            self._looking = self._loop.call_later(LOOK_SECONDS, self._look)

    async def _register(self) -> None:
        assert self._connection is not None
        progress = self._progress()
        # An application that runs already is not refused for its name: it is listed under a similar one.
        exact = self._registration.exact and not self._first.done()
        message = msgspec.structs.replace(self._registration, name=self.name, exact=exact, progress=progress)
        try:
            reply = await self._connection.request(message)
        except ConnectionLost:
            return  # it died meanwhile; the next one is asked again
        except TotemdError as error:
            self._complain(error)
            return
        assert isinstance(reply, Registered)
        self._enlisted(reply.name, progress)

    def _enlisted(self, name: str, told: Progress) -> None:
        if not self._first.done():
            self._first.set_result(None)
        else:
            self._say(f"registered with the sam process{' again' * self._was_registered}, as {name}")
        self.name, self.is_registered, self._was_registered = name, True, True
        self._last_told, self._complaint = told, ""
        self.tell()

    def _complain(self, error: TotemdError) -> None:
        """Say it once, not at every attempt."""
        if not self._first.done():
            self._first.set_exception(error)
        elif str(error) != self._complaint:
            self._say(f"the sam process refuses: {error}; supervising alone")
        self._complaint = str(error)


def refused_for_good(error: TotemdError) -> bool:
    """Whether the start must fail because of this answer: the user asked for something that cannot be."""
    return isinstance(error, InvalidArgument)
