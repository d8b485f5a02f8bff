"""The ordered stream that services get: what the ring delivers, with who serves where (docs/architecture.md).

It announces this node's services on each ring, tells the services what was announced, and opens the ring for
application messages once every service here has exchanged its state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ...ipc.errors import MalformedMessage
from ...ipc.ids import Guarantee, RingId
from ...ipc.messages.stream import Attached, Delivered, Epoch, Lane, Regular, SubmitItem, Transitional
from ..runtime.logging import Logger
from .announcements import ANNOUNCEMENTS, Announcement, Down, Roster, Services, Up, decode, encode
from .core.effects import Deliver, Discarded, Originated, RegularConfiguration, TransitionalConfiguration
from .core.submission import Submission
from .feed import OpenServer, ServiceFeed, open_socket


class RingPort(Protocol):
    """What the stream asks of the ring's process."""

    def submit(self, submission: Submission) -> int:
        """Hand a message to the ring; returns its number among this node's submissions."""

    def services_synchronised(self) -> None:
        """The ring may carry application messages."""

    def services_consumed(self) -> None:
        """A service has caught up somewhat."""


class OrderedStream:
    """Between the ring's effects and the services' connections."""

    def __init__(
        self,
        path: Path,
        node_id: int,
        port: RingPort,
        uid: int,
        log: Logger,
        *,
        open_server: OpenServer = open_socket,
    ) -> None:
        """*open_server*: how to listen at *path* for services; a simulation has its own way."""
        self._node_id = node_id
        self._port = port
        self._log = log
        self._roster = Roster()
        self._ring = RingId(0, node_id)
        self._members: tuple[int, ...] = (node_id,)
        self._unsynchronised: set[str] = set()
        """Services of this node that have not completed the exchange of the installed ring."""
        self._open = False
        """The installed ring carries application messages."""
        self.feed = ServiceFeed(path, node_id, self, uid, open_server=open_server)

    # -- from the ring

    def regular(self, change: RegularConfiguration) -> None:
        """A new ring: tell the services, and announce them on it."""
        self._ring, self._members = change.ring, change.members
        self._roster.new_ring()
        self._open = False
        self._unsynchronised = set(self.feed.services)
        self.feed.event(Regular(change.ring, change.members, change.survivors))
        self._announce(Services(change.ring, self.feed.services))
        self._open_if_synchronised()

    def transitional(self, change: TransitionalConfiguration) -> None:
        """The old ring goes on among fewer, until the new one."""
        self.feed.event(Transitional(change.old, change.new, change.members, change.left))

    def deliver(self, message: Deliver) -> None:
        """A message in its place."""
        if message.channel != ANNOUNCEMENTS:
            event = Delivered(message.origin, message.ring, message.position)
            self.feed.deliver(message.channel, event, message.payload)
            return
        try:
            announcement = decode(message.payload)
        except MalformedMessage as error:
            self._log.warning("announcement dropped", node=message.origin, reason=str(error))
            return
        news = self._roster.delivered(message.origin, message.ring, announcement)
        if news is not None:
            self.feed.event(news)

    def settled(self, submission: Originated | Discarded) -> None:
        """A submission has its place, or never will: its credit is free."""
        self.feed.taken(submission.channel, submission.number, submission.payload_bytes)

    # -- from the services (feed.FeedOwner)

    def service_attached(self, name: str) -> Attached:
        """A service starts its stream in the middle of a ring."""
        self._log.info("service attached", service=name)
        if not self._open:
            self._unsynchronised.add(name)
        self._announce(Up(self._ring, name))
        return Attached(self._node_id, self._ring, self._members, dict(self._roster.services))

    def service_gone(self, name: str, cleanly: bool) -> None:
        """A service has ended or died: nobody should wait for it."""
        say = self._log.info if cleanly else self._log.warning
        say("service gone", service=name)
        self._announce(Down(self._ring, name))
        self._unsynchronised.discard(name)
        self._open_if_synchronised()

    def service_submits(self, channel: int, item: SubmitItem, payload: bytes) -> int:
        """A service's message for the ring."""
        return self._port.submit(Submission(channel, item.lane, item.guarantee, payload))

    def service_synchronised(self, name: str, epoch: Epoch) -> None:
        """A service has completed an exchange; one of an earlier ring means nothing any more."""
        if epoch.ring == self._ring:
            self._unsynchronised.discard(name)
            self._open_if_synchronised()

    def service_consumed(self) -> None:
        """A service has caught up somewhat."""
        self._port.services_consumed()

    def _announce(self, announcement: Announcement) -> None:
        self._port.submit(Submission(ANNOUNCEMENTS, Lane.SYNC, Guarantee.AGREED, encode(announcement)))

    def _open_if_synchronised(self) -> None:
        if not self._open and not self._unsynchronised:
            self._open = True
            self._port.services_synchronised()
