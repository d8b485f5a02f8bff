"""Both ends of a connection as pure state: hello, request matching, liveness.  No socket, no clock, no loop.

The shells are `server.py` (serving side), `connection.py` (asyncio) and `blocking.py`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .codec import Codec, encode
from .errors import MalformedMessage, TotemdError
from .messages.common import (
    GOODBYE_ANSWERED,
    HEARTBEAT_DEADLINE_SECONDS,
    PROTOCOL,
    Done,
    Goodbye,
    Heartbeat,
    Hello,
    Refused,
    Unwelcome,
    Welcome,
)

M = TypeVar("M")
T = TypeVar("T")

REQUESTS_PENDING_MAX = 10_000
"""Requests of one client that may wait for their reply at the same time."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The server let us in."""

    welcome: Welcome


@dataclass(frozen=True, slots=True)
class Rejected:
    """The server does not let us in."""

    error: TotemdError


@dataclass(frozen=True, slots=True)
class Replaced:
    """The server does not know us (any more): everything it knew of us is void, say hello again."""


@dataclass(frozen=True, slots=True)
class Arrived(Generic[M]):
    """A message of the service that answers no request."""

    message: M
    payload: Sequence[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """The reply to a request; *waiter* is what `expect` was given."""

    waiter: T
    message: Any
    payload: Sequence[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Garbled:
    """Bytes that are no message of this protocol; dropped."""

    error: MalformedMessage


class ClientState(enum.Enum):
    """Where a client's connection stands."""

    GREETING = "greeting"
    OPEN = "open"


class ClientChannel(Generic[M, T]):
    """The connecting end.  *T* is what a shell wants back with a reply: a future, a box."""

    def __init__(self, role: str, union: Any, software: str = "") -> None:
        self._codec: Codec[Any] = Codec(union | Welcome | Refused | Unwelcome | Done | Goodbye)
        self._hello = encode(Hello(role, software=software))
        self._waiters: dict[int, T] = {}
        self._last_request = 0
        self.state = ClientState.GREETING
        self.welcome: Welcome | None = None

    def hello(self) -> list[bytes]:
        """The frames that open the connection; also forgets the previous one."""
        self.state, self.welcome = ClientState.GREETING, None
        return [self._hello]

    @property
    def answers_goodbye(self) -> bool:
        """Whether the server has let us in, and says goodbye, too, when it has taken all that came before ours."""
        return self.welcome is not None and self.welcome.protocol >= GOODBYE_ANSWERED

    def expect(self, waiter: T) -> int:
        """Reserve a request number; its reply will come back as `Answered(waiter, …)`."""
        assert len(self._waiters) < REQUESTS_PENDING_MAX
        self._last_request += 1
        self._waiters[self._last_request] = waiter
        return self._last_request

    def forget(self, request: int) -> None:
        """Nobody waits for this reply any more."""
        self._waiters.pop(request, None)

    def abandon(self) -> list[T]:
        """All waiters whose replies will never come, since the connection is gone."""
        waiters = list(self._waiters.values())
        self._waiters.clear()
        return waiters

    def receive(
        self, frames: Sequence[bytes | memoryview]
    ) -> Opened | Rejected | Replaced | Arrived[M] | Answered[T] | Garbled | None:
        """What one ZeroMQ message means.  None: nothing to act on (late, stray)."""
        try:
            message, payload = self._codec.decode(frames)
        except MalformedMessage as error:
            return Garbled(error)
        match message:
            case Welcome():
                self.state, self.welcome = ClientState.OPEN, message
                return Opened(message)
            case Unwelcome() | Goodbye():
                return Replaced() if self.state is ClientState.OPEN else None
            case Refused(request=0):
                return Rejected(message.exception())
        request = getattr(message, "request", 0)
        if request and not message.asks:
            waiter = self._waiters.pop(request, None)
            return None if waiter is None else Answered(waiter, message, payload)
        return Arrived(message, payload) if self.state is ClientState.OPEN else None


@dataclass(slots=True, eq=False)
class Session:
    """The serving end's view of one connection."""

    peer: bytes
    role: str
    uid: int
    gid: int
    pid: int
    software: str = ""
    visible: bool = True
    """Its process can be watched through a pidfd; if not, heartbeats decide."""
    heard: bool = True
    """Something came since the last sweep; a flag, since the time would have to be asked for with every message."""
    last_heard: float = 0.0
    state: Any = field(default=None)
    """What the service keeps for it."""

    def overdue(self, now: float) -> bool:
        """Whether a peer that cannot be watched has been silent for too long; asked once a sweep."""
        if self.heard:
            self.heard, self.last_heard = False, now
        return not self.visible and now - self.last_heard > HEARTBEAT_DEADLINE_SECONDS


def protocol_problem(hello: Hello) -> str | None:
    """Why this hello's protocol version cannot be served; None when it can."""
    major, minor = hello.protocol
    if major == PROTOCOL[0]:
        return None
    return (
        f"this service speaks protocol {PROTOCOL[0]}.{PROTOCOL[1]}; the client speaks {major}.{minor}: "
        f"use a client of major version {PROTOCOL[0]}"
    )


SERVER_COMMON = Hello | Heartbeat | Goodbye
"""What every serving socket understands besides its own verbs."""
