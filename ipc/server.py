"""The serving side of a socket: sessions with kernel credentials, hello, death of the peer.

A service implements `Handler`; everything about connections is here, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from .channel import SERVER_COMMON, Session, protocol_problem
from .codec import Codec, encode
from .endpoints import Credentials, ServerEndpoint, open_pidfd
from .errors import MalformedMessage, ProtocolError, TotemdError, TryAgain
from .messages.common import HEARTBEAT_SECONDS, PROTOCOL, Goodbye, Heartbeat, Hello, Unwelcome, Welcome, refusal

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)

SESSIONS_MAX = 4096
"""Connections of one socket; one more is refused."""


LAST_WORDS_SECONDS = 0.2
"""How long the end of a dead process's connection is waited for; a child that it has forked may hold that open."""

LOOK_AGAIN_SECONDS = 0.002


class Closed(enum.Enum):
    """Why a session ended."""

    GOODBYE = "goodbye"
    PROCESS_DIED = "process died"
    SILENT = "silent"
    DISCONNECTED = "connection closed"
    SERVER_STOPS = "server stops"
    DISMISSED = "dismissed"


class _Departure(NamedTuple):
    """A session that ends when everything that came before has been taken."""

    why: Closed
    until: float
    """Time of the loop after which it ends in any case."""


class Handler(Protocol[M_contra]):
    """What a service decides about its sessions and their messages."""

    def admit(self, hello: Hello, credentials: Credentials) -> int:
        """Let a connection in and return its first credit in bytes, or raise a `TotemdError` that says why not."""

    def opened(self, session: Session) -> None:
        """The session exists; its welcome has been sent."""

    def received(self, session: Session, message: M_contra, payload: Sequence[bytes | memoryview]) -> None:
        """A message.  A `TotemdError` raised here becomes the reply."""

    def closed(self, session: Session, why: Closed) -> None:
        """The session is gone; nothing can be sent to it."""


GIVEN_IDENTITY = b"\0"
"""How the routing ids begin that libzmq gives.  One that a peer chooses could be that of a session which has lost its
connection: whoever took it would speak for that process."""


_ANYTHING = (encode(Heartbeat()),)
"""What is sent to a dead process only to see whether its connection is closed."""


class Server(Generic[M]):
    """One ROUTER socket and its sessions."""

    def __init__(self, path: Path, union: Any, handler: Handler[M], *, node_id: int, mode: int = 0o600) -> None:
        self._handler = handler
        self._codec: Codec[Any] = Codec(union | SERVER_COMMON)
        self._node_id = node_id
        self._loop = asyncio.get_running_loop()
        self._sessions: dict[bytes, Session] = {}
        self._departing: dict[Session, _Departure] = {}
        """Those whose peers have died or closed their connections, and may have said something before."""
        self._looks_again = False
        self._pidfds: dict[bytes, int] = {}
        self.malformed = 0
        """Messages dropped because they were none of this protocol."""
        self.strangers = 0
        """Messages dropped because their sender had not said hello."""
        self._endpoint = ServerEndpoint(path, self._deliver, self._sessions.__contains__, mode, self._emptied)
        self._sweeper = self._loop.call_later(HEARTBEAT_SECONDS, self._sweep)

    @property
    def sessions(self) -> Iterable[Session]:
        """All open sessions."""
        return self._sessions.values()

    def send(self, session: Session, message: msgspec.Struct, *payload: bytes | memoryview) -> None:
        """Queue a message for a session; a closed one is ignored."""
        if session.peer in self._sessions:
            self._endpoint.send(session.peer, (encode(message), *payload))

    def send_encoded(self, session: Session, frames: Sequence[bytes | memoryview]) -> bool:
        """Queue a message whose frames are made already (one encoding for many sessions).

        Returns False if the peer has closed its connection; the session lives until its process dies, or `hang_up`.
        """
        return session.peer in self._sessions and self._endpoint.send(session.peer, frames)

    def hang_up(self, session: Session) -> None:
        """End a session whose peer has closed its connection, when all that it had said before has been taken."""
        self._depart(session, Closed.DISCONNECTED, 0.0)

    def dismiss(self, session: Session) -> None:
        """End a session from this side."""
        self._close(session, Closed.DISMISSED, tell=True)

    def close(self) -> None:
        """End every session and remove the socket."""
        self._sweeper.cancel()
        for session in list(self._sessions.values()):
            self._close(session, Closed.SERVER_STOPS, tell=True)
        self._endpoint.close()

    def _deliver(self, peer: bytes, frames: list[bytes | memoryview], credentials: Credentials | None) -> None:
        session = self._sessions.get(peer)
        try:
            message, payload = self._codec.decode(frames)
        except MalformedMessage as error:
            self.malformed += 1
            self._endpoint.send(peer, [encode(refusal(error))])
            return
        if session is None:
            if isinstance(message, Hello) and credentials is not None:
                self._greet(peer, message, credentials)
            else:
                self.strangers += 1
                self._endpoint.send(peer, [encode(Unwelcome())])
            return
        session.heard = True
        match message:
            case Hello() | Heartbeat():
                return
            case Goodbye():
                self._close(session, Closed.GOODBYE, tell=True)
            case _:
                try:
                    self._handler.received(session, message, payload)
                except TotemdError as error:
                    self.send(session, refusal(error, getattr(message, "request", 0)))

    def _greet(self, peer: bytes, hello: Hello, credentials: Credentials) -> None:
        try:
            if problem := protocol_problem(hello):
                raise ProtocolError(problem)
            if not peer.startswith(GIVEN_IDENTITY):
                raise ProtocolError("this socket has set a routing id (ZMQ_ROUTING_ID): connect without one")
            if len(self._sessions) >= SESSIONS_MAX:
                raise TryAgain(f"this service has {SESSIONS_MAX} connections, which is its limit")
            credit = self._handler.admit(hello, credentials)
        except TotemdError as error:
            self._endpoint.send(peer, [encode(refusal(error))])
            return
        session = Session(peer, hello.role, *credentials, software=hello.software, last_heard=self._loop.time())
        self._sessions[peer] = session
        pidfd = open_pidfd(session.pid)
        if pidfd is None:
            session.visible = False
        else:
            self._pidfds[peer] = pidfd
            self._loop.add_reader(pidfd, self._died, session, pidfd)
        self.send(session, Welcome(PROTOCOL, self._node_id, os.getpid(), session.pid, credit))
        self._handler.opened(session)

    def _close(self, session: Session, why: Closed, tell: bool = False) -> None:
        if self._sessions.get(session.peer) is not session:
            return
        if tell:
            self.send(session, Goodbye())
        del self._sessions[session.peer]
        self._departing.pop(session, None)
        pidfd = self._pidfds.pop(session.peer, None)
        if pidfd is not None:
            self._loop.remove_reader(pidfd)
            with contextlib.suppress(OSError):
                os.close(pidfd)
        self._handler.closed(session, why)

    def _died(self, session: Session, pidfd: int) -> None:
        """What the process had sent may be on its way still: libzmq's thread has not read the end of its connection."""
        self._loop.remove_reader(pidfd)
        self._depart(session, Closed.PROCESS_DIED, LAST_WORDS_SECONDS)

    def _depart(self, session: Session, why: Closed, seconds: float) -> None:
        if self._sessions.get(session.peer) is session and session not in self._departing:
            self._departing[session] = _Departure(why, self._loop.time() + seconds)
            self._endpoint.look()

    def _emptied(self) -> None:
        """Nothing is left to take: it was all, from those whose connections are known to be closed."""
        for session, departure in list(self._departing.items()):
            if self._loop.time() >= departure.until or not self._endpoint.send(session.peer, _ANYTHING):
                self._close(session, departure.why)
        if self._departing and not self._looks_again:
            self._looks_again = True
            self._loop.call_later(LOOK_AGAIN_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._looks_again = False
        self._endpoint.look()

    def _sweep(self) -> None:
        now = self._loop.time()
        for session in [each for each in self._sessions.values() if each.overdue(now)]:
            self._close(session, Closed.SILENT, tell=True)
        self._sweeper = self._loop.call_later(HEARTBEAT_SECONDS, self._sweep)
