"""totem.sock: the services' sessions, their streams, and credit both ways.

A service that does not keep up makes the ring slow down (`congested`); one that died is announced as down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from ...ipc.channel import Session
from ...ipc.endpoints import Credentials
from ...ipc.errors import AccessDenied, AlreadyMember, InvalidArgument, MessageTooLarge
from ...ipc.messages.common import Hello
from ...ipc.messages.stream import (
    FROM_SERVICE,
    Attached,
    Credit,
    Delivered,
    Epoch,
    Events,
    StreamEvent,
    Submit,
    SubmitItem,
    Synchronised,
)
from ...ipc.server import Closed, Server
from .announcements import CHANNELS

SERVICE_CREDIT_BYTES = 8 * 1024 * 1024
"""Submitted bytes of one service that may wait for the ring."""

STREAM_HIGH_BYTES = 32 * 1024 * 1024
"""Delivered bytes that a service has not consumed, from which on the ring is slowed down."""

SUBMISSION_BYTES_MAX = 2 * 1024 * 1024
"""Longest single submission."""


class FeedOwner(Protocol):
    """What the totem process does with what services do."""

    def service_attached(self, name: str) -> Attached:
        """A service is here: where its stream begins."""

    def service_gone(self, name: str, cleanly: bool) -> None:
        """A service said goodbye (*cleanly*), or died."""

    def service_submits(self, channel: int, item: SubmitItem, payload: bytes) -> int:
        """A submission for the ring; returns its number there."""

    def service_synchronised(self, name: str, epoch: Epoch) -> None:
        """A service has completed its state exchange."""

    def service_consumed(self) -> None:
        """A service has caught up somewhat."""


class ServerPort(Protocol):
    """The part of a `Server` that the feed uses."""

    def send(self, session: Session, message: msgspec.Struct, *payload: bytes | memoryview) -> None:
        """Queue a message for a session."""

    def dismiss(self, session: Session) -> None:
        """End a session from this side."""

    def close(self) -> None:
        """End every session."""


OpenServer = Callable[[Path, "ServiceFeed", int], ServerPort]
"""Listen at a path for a handler, on behalf of a node."""


def open_socket(path: Path, handler: ServiceFeed, node_id: int) -> ServerPort:
    """The real thing: a ZeroMQ socket."""
    server: Server[Any] = Server(path, FROM_SERVICE, handler, node_id=node_id)
    return server


@dataclass(slots=True)
class _Stream:
    """What waits for one service."""

    name: str
    channel: int
    events: list[StreamEvent] = field(default_factory=list)
    payload: list[bytes | memoryview] = field(default_factory=list)
    outstanding: int = 0
    """Bytes sent and not yet consumed."""
    submitted: set[int] = field(default_factory=set)
    """Submissions of this session that have no place in the order yet; a predecessor's may still be on their way."""


class ServiceFeed:
    """The serving side of totem.sock."""

    def __init__(
        self, path: Path, node_id: int, owner: FeedOwner, uid: int, *, open_server: OpenServer = open_socket
    ) -> None:
        """*open_server*: how to listen; a simulation has its own way."""
        self._owner = owner
        self._uid = uid
        self._streams: dict[int, tuple[Session, _Stream]] = {}
        self._spent: Counter[int] = Counter()
        self._server = open_server(path, self, node_id)

    @property
    def services(self) -> tuple[str, ...]:
        """Names of the attached services, sorted."""
        return tuple(sorted(stream.name for _, stream in self._streams.values()))

    @property
    def congested(self) -> bool:
        """Whether a service is too far behind."""
        return any(stream.outstanding > STREAM_HIGH_BYTES for _, stream in self._streams.values())

    def event(self, event: StreamEvent) -> None:
        """An event that every service gets."""
        for _, stream in self._streams.values():
            stream.events.append(event)

    def deliver(self, channel: int, event: Delivered, payload: bytes | memoryview) -> None:
        """A submission in its place, for the service of its channel."""
        entry = self._streams.get(channel)
        if entry is not None:
            entry[1].events.append(event)
            entry[1].payload.append(payload)

    def taken(self, channel: int, number: int, payload_bytes: int) -> None:
        """A submission has its place in the order: its credit goes back, to whom it was taken from, with `flush`."""
        entry = self._streams.get(channel)
        if entry is not None and number in entry[1].submitted:
            entry[1].submitted.discard(number)
            self._spent[channel] += payload_bytes

    def flush(self) -> None:
        """Send what has gathered since the last call, one message for each service.

        While one is too far behind no credit goes back: a ring of one has no token that could wait.
        """
        congested = self.congested
        for channel, (session, stream) in self._streams.items():
            spent = 0 if congested else self._spent.pop(channel, 0)
            if stream.events:
                events, payload = tuple(stream.events), tuple(stream.payload)
                stream.events.clear()
                stream.payload.clear()
                stream.outstanding += sum(map(len, payload))
                self._server.send(session, Events(events, spent), *payload)
            elif spent:
                self._server.send(session, Credit(spent))

    def close(self) -> None:
        """Hang up on every service."""
        self._server.close()

    # -- ipc.server.Handler

    def admit(self, hello: Hello, credentials: Credentials) -> int:
        """Only our own children's user may speak for a service, and only once at a time."""
        if credentials.uid not in (0, self._uid):
            raise AccessDenied(f"user {credentials.uid} is not the one that this node runs as")
        channel = CHANNELS.get(hello.role)
        if channel is None:
            raise InvalidArgument(f"no service {hello.role!r}; there are {', '.join(sorted(CHANNELS))}")
        if channel in self._streams:
            session, _ = self._streams[channel]
            if session.pid != credentials.pid:
                raise AlreadyMember(f"service {hello.role} is attached already")
            # The same process connects anew, so it has given up its former connection and does not read there.
            self._server.dismiss(session)
        return SERVICE_CREDIT_BYTES

    def opened(self, session: Session) -> None:
        """A service begins its stream."""
        channel = CHANNELS[session.role]
        session.state = channel
        attached = self._owner.service_attached(session.role)
        self._streams[channel] = (session, _Stream(session.role, channel))
        self._server.send(session, attached)

    def received(
        self, session: Session, message: Submit | Synchronised | Credit, payload: Sequence[bytes | memoryview]
    ) -> None:
        """What a service says."""
        channel: int = session.state
        match message:
            case Submit(items=items):
                if len(items) != len(payload):
                    raise InvalidArgument(f"{len(items)} items came with {len(payload)} payload frames")
                for item, data in zip(items, payload, strict=True):
                    if len(data) > SUBMISSION_BYTES_MAX:
                        raise MessageTooLarge(f"a submission has at most {SUBMISSION_BYTES_MAX} bytes, not {len(data)}")
                    self._streams[channel][1].submitted.add(self._owner.service_submits(channel, item, bytes(data)))
            case Synchronised(epoch=epoch):
                self._owner.service_synchronised(session.role, epoch)
            case Credit(payload_bytes=count):
                stream = self._streams[channel][1]
                stream.outstanding = max(0, stream.outstanding - count)
                self._owner.service_consumed()

    def closed(self, session: Session, why: Closed) -> None:
        """A service is gone."""
        self._streams.pop(session.state, None)
        self._spent.pop(session.state, None)
        if why is not Closed.SERVER_STOPS:
            self._owner.service_gone(session.role, why is Closed.GOODBYE)
