"""The connecting side of a socket for programs with an asyncio loop: the shell over `ClientChannel`.

When the server dies (its pidfd says so) or does not know us any more, the socket is thrown away with everything
queued in it, and a new one says hello until somebody answers: no message meant for the old server reaches a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from .channel import Answered, Arrived, ClientChannel, ClientState, Garbled, Opened, Rejected, Replaced
from .codec import encode
from .endpoints import ClientEndpoint, open_pidfd
from .errors import ConnectionLost, TotemdError
from .messages.common import HEARTBEAT_SECONDS, PARTING_SECONDS, Goodbye, Heartbeat, Refused, Welcome
from .patience import Patience

M_contra = TypeVar("M_contra", contravariant=True)


class Listener(Protocol[M_contra]):
    """What the program does with what happens on its connection."""

    def connected(self, welcome: Welcome) -> None:
        """The server let us in (again)."""

    def arrived(self, message: M_contra, payload: Sequence[bytes | memoryview]) -> None:
        """A message of the service."""

    def lost(self, error: TotemdError) -> None:
        """The server died, forgot us or refused us.  After a death the connection is tried again by itself."""


class Connection(Generic[M_contra]):
    """A client's end of one socket, for a program with an asyncio loop."""

    def __init__(self, path: Path, role: str, union: Any, listener: Listener[M_contra], software: str = "") -> None:
        self._path = path
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._channel: ClientChannel[Any, asyncio.Future[Any]] = ClientChannel(role, union, software)
        self._endpoint: ClientEndpoint | None = None
        self._server_pidfd: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._patience = Patience()
        self._parting: asyncio.Future[None] | None = None
        """The answer to our goodbye, once that was said."""
        self._connect()

    @property
    def is_open(self) -> bool:
        """Whether the server has let us in."""
        return self._channel.state is ClientState.OPEN

    def send(self, message: msgspec.Struct, *payload: bytes | memoryview) -> None:
        """Queue a message.

        Raises:
            ConnectionLost: the server has not let us in.
        """
        self.send_encoded((encode(message), *payload))

    def send_encoded(self, frames: Sequence[bytes | memoryview]) -> None:
        """Queue a message whose frames are made already; raises as `send` does."""
        if self._endpoint is None or not self.is_open:
            raise ConnectionLost(f"not connected to {self._path}")
        self._endpoint.send(frames)

    async def request(self, message: msgspec.Struct, *payload: bytes | memoryview) -> Any:
        """Send a message that has a `request` field and wait for its reply.

        Raises:
            ConnectionLost: the server went away before it answered.
            TotemdError: the server refused.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        number = self._channel.expect(future)
        try:
            self.send(msgspec.structs.replace(message, request=number), *payload)
            return await future
        finally:
            self._channel.forget(number)

    def close(self) -> None:
        """Say goodbye and close."""
        if self._endpoint is not None and self.is_open and self._parting is None:
            self._endpoint.send([encode(Goodbye())])
        self._drop()
        self._fail_waiters(ConnectionLost("the connection was closed"))

    async def finish(self) -> None:
        """Close when the server has taken all that was sent, or after `PARTING_SECONDS`; else as `close`.

        What arrives meanwhile is dropped.
        """
        try:
            if self._endpoint is not None and self._channel.answers_goodbye:
                self._parting = self._loop.create_future()
                self._endpoint.send([encode(Goodbye())])
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._parting, PARTING_SECONDS)
        finally:
            self.close()

    def close_later(self) -> None:
        """`close`, from wherever an object is forgotten: in another thread, or after the end of the loop."""
        if self._loop.is_closed():
            self.close()
        else:
            self._loop.call_soon_threadsafe(self.close)

    def _connect(self) -> None:
        self._drop()
        self._endpoint = ClientEndpoint(self._path, self._receive)
        self._patience.begin()
        self._say_hello(self._endpoint)

    def _say_hello(self, endpoint: ClientEndpoint) -> None:
        endpoint.send(self._channel.hello())
        self._timer = self._loop.call_later(self._patience.next_wait(), self._hello_again)

    def _hello_again(self) -> None:
        if self.is_open or self._endpoint is None:
            return
        if not self._patience.has_worn_out:
            self._say_hello(self._endpoint)
            return
        # A slow server may have let this connection in already.  It must not go on believing in it: the process is
        # alive, so nothing else would ever end that session.
        self._endpoint.send([encode(Goodbye())])
        self._connect()

    def _drop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._server_pidfd is not None:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._server_pidfd)
            with contextlib.suppress(OSError):
                os.close(self._server_pidfd)
            self._server_pidfd = None
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None

    def _receive(self, frames: list[bytes | memoryview]) -> None:
        happening = self._channel.receive(frames)
        if self._parting is not None:
            if isinstance(happening, Replaced):
                self._parted(self._parting)
            return
        match happening:
            case Opened(welcome):
                self._opened(welcome)
            case Arrived(message, payload):
                self._listener.arrived(message, payload)
            case Answered(future, message, _):
                if not future.done():
                    if isinstance(message, Refused):
                        future.set_exception(message.exception())
                    else:
                        future.set_result(message)
            case Replaced():
                self._reconnect(ConnectionLost(f"{self._path}: the server has been replaced"))
            case Rejected(error):
                self._listener.lost(error)
            case Garbled() | None:
                pass

    def _opened(self, welcome: Welcome) -> None:
        self._patience.restore()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(HEARTBEAT_SECONDS, self._beat)
        if self._server_pidfd is None:
            self._server_pidfd = open_pidfd(welcome.server_pid)
            if self._server_pidfd is not None:
                error = ConnectionLost(f"{self._path}: the server died")
                self._loop.add_reader(self._server_pidfd, self._reconnect, error)
        self._listener.connected(welcome)

    def _beat(self) -> None:
        if self._endpoint is not None and self.is_open:
            self._endpoint.send([encode(Heartbeat())])
            self._timer = self._loop.call_later(HEARTBEAT_SECONDS, self._beat)

    @staticmethod
    def _parted(parting: asyncio.Future[None]) -> None:
        if not parting.done():
            parting.set_result(None)

    def _reconnect(self, error: TotemdError) -> None:
        if self._parting is not None:
            self._parted(self._parting)
            return
        was_open = self.is_open
        self._connect()
        self._fail_waiters(error)
        if was_open:
            self._listener.lost(error)

    def _fail_waiters(self, error: TotemdError) -> None:
        for future in self._channel.abandon():
            if not future.done():
                future.set_exception(error)
