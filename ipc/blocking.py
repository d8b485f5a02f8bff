"""The connecting side of a socket for programs without a loop: the shell over `ClientChannel` that waits by itself.

Nothing happens behind the caller's back: there is no thread, so messages are taken, heartbeats sent and broken
connections made anew only while `open`, `request` or `pump` runs.  As in `connection.py`, a socket whose server died is
thrown away with everything queued in it, so no message meant for the old server reaches a new one.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from . import forks
from .channel import Answered, Arrived, ClientChannel, ClientState, Garbled, Opened, Rejected, Replaced
from .codec import encode
from .deadline import Deadline
from .endpoints import BlockingEndpoint, open_pidfd, require_socket
from .errors import ConnectionLost, OperationFailed, TotemdError
from .messages.common import HEARTBEAT_SECONDS, PARTING_SECONDS, Goodbye, Heartbeat, Refused, Welcome
from .patience import Patience

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Lost:
    """The server died or forgot us.  The connection is being made anew; `Opened` will follow when somebody answers."""

    error: TotemdError


Happening = Opened | Arrived[Any] | Rejected | Lost
"""What `pump` returns.  `Rejected` while the connection is open: the server refused a message that was no request."""


@dataclass(slots=True)
class _Box:
    """Where the reply to a request is put."""

    reply: Any = None
    error: TotemdError | None = None

    @property
    def filled(self) -> bool:
        return self.reply is not None or self.error is not None


class BlockingConnection(Generic[M]):
    """A client's end of one socket.  Not for several threads at once, and not for a forked child."""

    def __init__(self, path: Path, role: str, union: Any, *, service: str, software: str = "") -> None:
        """*union* holds the messages that may arrive; *service* names the server in error texts.  Sends nothing."""
        self._path = path
        self._service = service
        self._channel: ClientChannel[M, _Box] = ClientChannel(role, union, software)
        self._endpoint: BlockingEndpoint | None = None
        self._server_pidfd: int | None = None
        self._happenings: deque[Happening] = deque()
        self.in_hand = False
        """Something was taken since the owner set this to False, as it does when it has acted on what `pump` returned.
        If that is so before the next `pump`, an exception (of a signal handler, say) has come in between, and what was
        in hand may be lost: `start_over`."""
        self._next_beat = 0.0
        self._patience = Patience()
        self._process = forks.generation()
        self.generation = 0
        """Changes whenever `descriptors` do."""

    @property
    def is_open(self) -> bool:
        """Whether the server has let us in."""
        return self._channel.state is ClientState.OPEN

    @property
    def welcome(self) -> Welcome | None:
        """The server's latest welcome; None while there is no open connection."""
        return self._channel.welcome

    def open(self, timeout: float | None) -> Welcome:
        """Connect, and wait at most *timeout* seconds until the server lets us in.

        Raises:
            ConnectionLost: nothing serves there, or it does not answer in time.
            AccessDenied: this user may not.
            ProtocolError: the server speaks another version.
        """
        require_socket(self._path, self._service)
        self._patience.restore()
        self._connect()
        deadline = Deadline(timeout)
        while not deadline.passed:
            self._turn(deadline.left)
            while self._happenings:
                match self._happenings.popleft():
                    case Opened(welcome):
                        self.in_hand = False
                        return welcome  # what came with it is left for `pump`
                    case Rejected(error):
                        self.close()
                        raise error
        self.close()
        raise ConnectionLost(f"{self._service} did not answer at {self._path} within {timeout} s (starting still?)")

    def send(self, message: msgspec.Struct, *payload: bytes | memoryview) -> None:
        """Queue a message.

        Raises:
            ConnectionLost: the server has not let us in.
        """
        self.send_encoded((encode(message), *payload))

    def send_encoded(self, frames: Sequence[bytes | memoryview]) -> None:
        """Queue a message whose frames are made already; raises as `send` does."""
        if self._channel.state is not ClientState.OPEN or self._endpoint is None:
            raise ConnectionLost(f"not connected to {self._path}")
        self._check_process()
        self._endpoint.send(frames)

    def request(self, message: msgspec.Struct, *payload: bytes | memoryview, timeout: float | None = None) -> Any:
        """Send a message that has a `request` field and wait for its reply; what else happens is kept for `pump`.

        Raises:
            TimeoutError: no reply within *timeout* seconds; a late one is ignored.
            ConnectionLost: the server went away before it answered.
            TotemdError: the server refused.
        """
        box = _Box()
        number = self._channel.expect(box)
        try:
            self.send(msgspec.structs.replace(message, request=number), *payload)
            deadline = Deadline(timeout)
            while not box.filled:
                if deadline.passed:
                    raise TimeoutError(f"{self._service} did not answer within {timeout} s")
                self._turn(deadline.left)
        finally:
            self._channel.forget(number)
        if box.error is not None:
            raise box.error
        return box.reply

    def pump(self, timeout: float | None, enough: float = math.inf) -> list[Happening]:
        """What has happened since the last call; waits at most *timeout* seconds for something (None: for ever).

        Returns an empty list when nothing did.  A server that died is noticed here, and connected to again.  After
        *enough* bytes what else has arrived is left for the next call.
        """
        deadline = Deadline(timeout)
        while not self._happenings:
            last = deadline.passed
            self._turn(deadline.left, enough)
            if last:
                break
        happenings = list(self._happenings)
        self._happenings.clear()
        return happenings

    def start_over(self) -> None:
        """Connect anew, as if the server had died: what it knows of us, and we of it, is void.

        It is waited for that it has forgotten us, at most `PARTING_SECONDS`: the new connection is of the same process.
        """
        was_open = self.is_open
        self._part()
        self._begin_anew(ConnectionLost("an exception came in between while messages were taken"), was_open)
        self.in_hand = False

    def has_input(self) -> bool:
        """Whether `pump` would return something without waiting; sends may swallow the edge of `descriptors`."""
        return bool(self._happenings) or (self._endpoint is not None and self._endpoint.readable())

    def descriptors(self) -> tuple[int, ...]:
        """What to poll besides `has_input`: one of them is readable when `pump` has work."""
        fds = () if self._endpoint is None else (self._endpoint.fileno(),)
        return fds if self._server_pidfd is None else (*fds, self._server_pidfd)

    def close(self) -> None:
        """Say goodbye and close; harmless when closed already, and in a forked child."""
        if forks.generation() != self._process:
            return
        if self._endpoint is not None and self.is_open:
            self._endpoint.send([encode(Goodbye())])
        self._drop()
        self.in_hand = False
        self._fail_waiters(ConnectionLost(f"the connection to {self._path} was closed"))

    def finish(self) -> None:
        """Close when the server has taken all that was sent, or after `PARTING_SECONDS`; else as `close`.

        What arrives meanwhile is dropped.
        """
        if forks.generation() != self._process:
            return
        try:
            self._part()
        finally:
            self.close()

    def _part(self) -> None:
        """Say goodbye, and wait for the server's."""
        endpoint, deadline = self._endpoint, Deadline(PARTING_SECONDS)
        if endpoint is None or not self._channel.answers_goodbye:
            return
        endpoint.send([encode(Goodbye())])
        also = () if self._server_pidfd is None else (self._server_pidfd,)
        while not deadline.passed:
            died = endpoint.wait(deadline.left, also)
            while (frames := endpoint.take()) is not None:
                if isinstance(self._channel.receive(frames), Replaced):
                    self._channel.hello()
                    return
            if died:
                return

    # -- one turn: wait, take everything, notice a death

    def _turn(self, timeout: float | None, enough: float = math.inf) -> None:
        """Wait once, at most *timeout* seconds, and act on everything that is there then, or on *enough* bytes."""
        self._check_process()
        if self._endpoint is None:
            raise ConnectionLost(f"the connection to {self._path} is closed")
        pause = max(0.0, self._next_beat - time.monotonic())
        also = () if self._server_pidfd is None else (self._server_pidfd,)
        ready = self._endpoint.wait(pause if timeout is None else min(timeout, pause), also)
        self.in_hand = True
        while enough > 0 and self._endpoint is not None and (frames := self._endpoint.take()) is not None:
            enough -= sum(map(len, frames))
            self._receive(frames)
        if self._server_pidfd in ready:
            self._reconnect(ConnectionLost(f"{self._path}: the server died"))
        elif time.monotonic() >= self._next_beat:
            self._beat()

    def _receive(self, frames: list[bytes | memoryview]) -> None:
        match self._channel.receive(frames):
            case Opened(welcome) as opened:
                self._watch(welcome)
                self._happenings.append(opened)
            case Arrived() as arrived:
                self._happenings.append(arrived)
            case Answered(box, message, _):
                if isinstance(message, Refused):
                    box.error = message.exception()
                else:
                    box.reply = message
            case Replaced():
                self._reconnect(ConnectionLost(f"{self._path}: the server has been replaced"))
            case Rejected() as rejected:
                self._happenings.append(rejected)
            case Garbled() | None:
                pass

    def _watch(self, welcome: Welcome) -> None:
        self._patience.restore()
        self._next_beat = time.monotonic() + HEARTBEAT_SECONDS
        if self._server_pidfd is None:
            self._server_pidfd = open_pidfd(welcome.server_pid)
            self.generation += 1

    def _beat(self) -> None:
        if self.is_open and self._endpoint is not None:
            self._endpoint.send([encode(Heartbeat())])
            self._next_beat = time.monotonic() + HEARTBEAT_SECONDS
        elif self._endpoint is not None:
            if not self._patience.has_worn_out:
                self._say_hello(self._endpoint)
                return
            # A slow server may have let this connection in already; see `Connection._hello_again`.
            self._endpoint.send([encode(Goodbye())])
            self._connect()

    def _connect(self) -> None:
        self._drop()
        self._endpoint = BlockingEndpoint(self._path)
        self.generation += 1
        self._patience.begin()
        self._say_hello(self._endpoint)

    def _say_hello(self, endpoint: BlockingEndpoint) -> None:
        endpoint.send(self._channel.hello())
        self._next_beat = time.monotonic() + self._patience.next_wait()

    def _reconnect(self, error: TotemdError) -> None:
        self._begin_anew(error, self.is_open)

    def _begin_anew(self, error: TotemdError, was_open: bool) -> None:
        self._connect()
        self._fail_waiters(error)
        if was_open:
            self._happenings.append(Lost(error))

    def _drop(self) -> None:
        if self._server_pidfd is not None:
            with contextlib.suppress(OSError):
                os.close(self._server_pidfd)
            self._server_pidfd = None
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None
        self._channel.hello()

    def _fail_waiters(self, error: TotemdError) -> None:
        for box in self._channel.abandon():
            box.error = error

    def _check_process(self) -> None:
        if forks.generation() != self._process:
            raise OperationFailed(
                "this connection belongs to the process that opened it and cannot be used after fork(); "
                "open a new one in the child"
            )
