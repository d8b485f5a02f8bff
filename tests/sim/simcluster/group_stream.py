"""The totem process's side of the services in a simulated node: the real ordered stream and feed, without a socket."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from simcluster.group_ipc import LOST, Inbox, Post
from simcluster.history import (
    Delivered,
    Event,
    Incarnation,
    Lane,
    MessageId,
    Regular,
    RingKey,
    Sent,
    Submitted,
    Synchronised,
    Transitional,
)
from simcluster.services import NO_MESSAGE, Core, ring_key
from totemd.executive.totem.core.effects import (
    Deliver,
    Discarded,
    Originated,
    RegularConfiguration,
    TransitionalConfiguration,
)
from totemd.executive.totem.core.submission import Submission
from totemd.executive.totem.feed import ServiceFeed
from totemd.executive.totem.stream import OrderedStream, RingPort
from totemd.ipc.channel import Session
from totemd.ipc.endpoints import Credentials
from totemd.ipc.errors import AlreadyMember
from totemd.ipc.ids import Guarantee
from totemd.ipc.messages.common import Hello
from totemd.ipc.messages.stream import Lane as WireLane
from totemd.ipc.server import Closed

if TYPE_CHECKING:
    from simcluster.group_service import CpgProcess
    from simcluster.machine import Machine

CPG_PID = 50


class Link:
    """A connection of cpg to totem."""

    def __init__(self, cpg: CpgProcess, services: StreamServices, serial: int, credit: int) -> None:
        self.credit = credit
        self.session = Session(f"{cpg.life}.{serial}".encode(), "cpg", 0, 0, CPG_PID + cpg.life)
        name = (cpg.life, serial)
        self.to_cpg: Post = cpg.machine.post(("to cpg", *name), lambda item: cpg.take((self, item)))
        self.to_totem: Post = cpg.machine.post(("from cpg", *name), lambda item: services.take((self, item)))


class _Quiet:
    """A log that nobody reads."""

    def info(self, *_: object, **__: object) -> None:
        """Nothing."""

    def warning(self, *_: object, **__: object) -> None:
        """Nothing."""


class PlacedStream(OrderedStream):
    """Writes down where starts and ends of services are, which their events do not say."""

    def __init__(self, machine: Machine, node_id: int, port: RingPort) -> None:
        log: Any = _Quiet()
        open_server: Any = lambda path, handler, node_id: port  # noqa: E731 (a type cannot be given to a def here)
        super().__init__(Path(), node_id, port, 0, log, open_server=open_server)
        self._machine = machine

    def deliver(self, message: Deliver) -> None:
        """A message in its place."""
        before = self._roster.news
        super().deliver(message)
        if self._roster.news != before:
            ring, late = ring_key(message.ring), message.in_transitional
            self._machine.news_at(ring, self._roster.news, message.position, in_transitional=late)


class StreamServices:
    """One life of the totem process, as its services see it; writes the history of the ring besides."""

    def __init__(
        self,
        process: Incarnation,
        core: Core,
        record: Callable[[Event], None],
        machine: Machine,
        pump: Callable[[], None],
    ) -> None:
        self.ring = RingKey(0, 0)
        self.synchronised: RingKey | None = None
        self.opened: RingKey | None = None
        self.undelivered: dict[MessageId, int] = {}
        self.inbox = Inbox(self._handle)
        self._process = process
        self._core = core
        self._record = record
        self._machine = machine
        self._pump = pump
        self._links: dict[bytes, Link] = {}
        self._up = True
        self._stream = PlacedStream(machine, process.node, self)
        machine.totem_is_up(self)

    @property
    def feed(self) -> ServiceFeed:
        """The feed that serves cpg."""
        return self._stream.feed

    # -- from the core

    def on_effect(
        self, effect: Deliver | Originated | Discarded | RegularConfiguration | TransitionalConfiguration
    ) -> None:
        """One event of the ordered stream."""
        match effect:
            case Deliver():
                self._deliver(effect)
            case Originated():
                message = MessageId(*self._process, effect.number)
                self._record(Sent(message, ring_key(effect.ring), effect.position))
                self._stream.settled(effect)
            case Discarded():
                self._stream.settled(effect)
            case TransitionalConfiguration(old, new, members, left):
                self._record(Transitional(ring_key(old), ring_key(new), members, left))
                self._stream.transitional(effect)
            case RegularConfiguration(ring, members, survivors, joined):
                self.ring = ring_key(ring)
                self._record(Regular(self.ring, members, survivors, joined))
                # Whether the exchange was complete is for the group properties: this process never holds back.
                self._record(Synchronised(self.ring, NO_MESSAGE))
                self._stream.regular(effect)

    def _deliver(self, effect: Deliver) -> None:
        message = MessageId(effect.origin, effect.incarnation, effect.number)
        safe = effect.guarantee is Guarantee.SAFE
        digest = zlib.crc32(effect.payload)
        self._record(Delivered(message, ring_key(effect.ring), effect.position, safe, digest, effect.in_transitional))
        self.undelivered.pop(message, None)
        self._stream.deliver(effect)

    def has_work(self) -> bool:
        """Never: what there is to do comes from cpg."""
        return False

    def work(self, now: float) -> None:
        """Nothing."""

    def flush(self) -> None:
        """The core's effects have been carried out."""
        if self._up:
            self.feed.flush()

    def down(self) -> None:
        """The process ends."""
        self._up = False
        self.inbox.clear()
        for link in self._links.values():
            link.to_totem.cut = True
            link.to_cpg.send(LOST)
        self._links.clear()

    # -- from cpg

    def accept(self, cpg: CpgProcess, serial: int) -> Link | None:
        """cpg connects; None: it is refused for the time being."""
        if not self._up:
            return None
        try:
            credit = self.feed.admit(Hello("cpg"), Credentials(0, 0, CPG_PID + cpg.life))
        except AlreadyMember:
            return None
        link = Link(cpg, self, serial, credit)
        self._links[link.session.peer] = link
        # What the feed says at once must find the link in its place.
        self._machine.later(0.0, self._open, link)
        return link

    def _open(self, link: Any) -> None:
        if self._up and link.session.peer in self._links:
            self.feed.opened(link.session)
            self._pump()

    def take(self, item: tuple[Link, Any]) -> None:
        """Something arrives from cpg."""
        if self._up:
            self.inbox.take(item)

    def _handle(self, item: tuple[Link, Any]) -> None:
        link, message = item
        if link.session.peer not in self._links:
            return
        if message == LOST:
            del self._links[link.session.peer]
            if link.session.state is not None:
                self.feed.closed(link.session, Closed.PROCESS_DIED)
        else:
            body, payload = message
            self.feed.received(link.session, body, payload)
        self._pump()

    # -- feed.ServerPort

    def send(self, session: Session, message: msgspec.Struct, *payload: bytes | memoryview) -> None:
        """Queue a message for cpg."""
        link = self._links.get(session.peer)
        if link is not None:
            link.to_cpg.send((message, payload))

    def dismiss(self, session: Session) -> None:
        """End a connection."""
        link = self._links.pop(session.peer, None)
        if link is not None:
            link.to_cpg.send(LOST)
            self.feed.closed(session, Closed.DISMISSED)

    def close(self) -> None:
        """Nothing: the process ends as a whole."""

    # -- stream.RingPort

    def submit(self, submission: Submission) -> int:
        """A service's message for the ring."""
        number = self._core.submit(submission, self._machine.clock())
        message = MessageId(*self._process, number)
        lane = Lane.SYNC if submission.lane is WireLane.SYNC else Lane.APPLICATION
        safe = submission.guarantee is Guarantee.SAFE
        self._record(Submitted(message, lane, safe, zlib.crc32(submission.payload)))
        if lane is Lane.APPLICATION:
            self.undelivered[message] = len(submission.payload)
        return number

    def services_synchronised(self) -> None:
        """The ring may carry application messages."""
        self.opened = self.ring
        self._core.services_synchronised(self._machine.clock())

    def services_consumed(self) -> None:
        """A service has caught up; tokens are never parked here."""
