"""A simulated client process: the real client library (channel and subscriptions) without a socket."""

from __future__ import annotations

import zlib
from collections import deque
from typing import TYPE_CHECKING, Any

from simcluster.group_history import Back, Came, Cause, GroupEvent, Membership, RingSeen, Said, Seen, Who
from simcluster.group_ipc import LOST, Inbox, Post
from simcluster.history import RingKey
from totemd.ipc.codec import Codec
from totemd.ipc.errors import MalformedMessage, TotemdError
from totemd.ipc.ids import Guarantee
from totemd.ipc.messages.common import Welcome
from totemd.ipc.messages.cpg import FROM_CLIENT, TO_CLIENT, Credit, Expelled
from totemd.services.cpg.channel import Channel
from totemd.services.cpg.events import ConfigChange, Event, Message, Rejoined, RingChange
from totemd.services.cpg.subscription import Stage, Subscription

if TYPE_CHECKING:
    from simcluster.group_service import CpgProcess
    from simcluster.machine import Machine

FIRST_PID = 100
RETRY = 0.004
"""Seconds between two attempts to connect."""

_TO_CLIENT: Codec[Any] = Codec(TO_CLIENT)
_FROM_CLIENT: Codec[Any] = Codec(FROM_CLIENT)


class Connection:
    """A client's connection to cpg, one for each time it connects: what cpg's engine knows the client by."""

    def __init__(self, client: GroupClient, cpg: CpgProcess, serial: int) -> None:
        self.client = client
        self.pid = client.pid
        self.causes: deque[Cause] = deque()
        """Of what is under way to the client."""
        machine = client.machine
        self.to_client = machine.post(("to client", client.pid, client.life, serial), self._to_client)
        self.to_cpg = machine.post(
            ("from client", client.pid, client.life, serial), lambda item: cpg.take((self, item))
        )

    def _to_client(self, item: Any) -> None:
        self.client.inbox.take((self, item))


class GroupClient:
    """One client process, from its start to its death."""

    def __init__(self, machine: Machine, index: int, life: int) -> None:
        self.machine = machine
        self.index, self.life = index, life
        self.pid = FIRST_PID + index
        self.channel = Channel()
        self.inbox = Inbox(self._arrived)
        self.alive = True
        self.connection: Connection | None = None
        self.subscriptions: list[tuple[Subscription, Membership]] = []
        self._connections = 0
        self._said = 0
        self._flush_scheduled = False

    # -- life

    def connect(self, _: object = None) -> None:
        """Say hello to cpg, now or as soon as it is there."""
        if not self.alive or self.connection is not None:
            return
        cpg = self.machine.cpg
        if cpg is None or not cpg.serves:
            self.machine.later(RETRY, self.connect)
            return
        self._connections += 1
        self.connection = Connection(self, cpg, self._connections)
        cpg.greeted_by(self.connection)

    def die(self) -> None:
        """The process ends; its connection does, too."""
        self.alive = False
        if self.connection is not None:
            self.connection.to_client.cut = True
            self.connection.to_cpg.send(LOST)
            self.connection = None
        for subscription, membership in self.subscriptions:
            if membership.stage != Stage.CLOSED.value:
                self._note(subscription, membership)
                membership.stage = "dead"
        self.inbox.clear()

    # -- what the application does

    def join(self, group: str) -> None:
        """Ask to be a member, unless it is or has asked."""
        if self.inbox.stopped or not self.alive or self.find(group) is not None:
            return
        membership = Membership(Who(self.machine.node_id, self.pid), group)
        self.machine.groups.memberships.append(membership)
        self.subscriptions.append((self.channel.join(group.encode()), membership))
        self._send()

    def leave(self, group: str) -> None:
        """Ask to be out."""
        subscription = self.find(group)
        if subscription is not None and not self.inbox.stopped and self.alive:
            self.channel.leave(subscription)
            self._send()
            self._read_all(None)

    def say(self, group: str, payload: bytes, guarantee: Guarantee) -> bool:
        """Multicast; False where that is not possible now."""
        subscription = self.find(group)
        if subscription is None or subscription.stage is not Stage.JOINED or self.inbox.stopped or not self.alive:
            return False
        name = f"{self.machine.node_id}.{self.pid}.{self.life}.{self._said + 1}"
        message = name.encode() + b":" + payload
        if not self.channel.append(subscription, message, guarantee):
            return False
        self._said += 1
        self.machine.groups.said[name] = zlib.crc32(message)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self.machine.later(0.0, self._flush)
        return True

    def find(self, group: str) -> Subscription | None:
        """The subscription that is not over."""
        wanted = group.encode()
        for subscription, _ in reversed(self.subscriptions):
            if subscription.group == wanted and subscription.stage is not Stage.CLOSED:
                return subscription
        return None

    # -- what arrives

    def _arrived(self, item: tuple[Connection, Any]) -> None:
        connection, message = item
        if connection is not self.connection or not self.alive:
            return
        if message == LOST:
            self.connection = None
            self.channel.lost()
            self._read_all(None)
            self.machine.later(RETRY, self.connect)
            return
        if isinstance(message, Welcome):
            self.channel.welcomed(message)
        else:
            self._message(connection, message)
        self._send()

    def _message(self, connection: Connection, frames: tuple[bytes, ...]) -> None:
        try:
            message, payload = _TO_CLIENT.decode([bytes(frame) for frame in frames])
        except MalformedMessage as error:
            self.machine.complain("G10", f"client {self.pid}: {error}")
            return
        cause = None if isinstance(message, Credit | Expelled) else connection.causes.popleft()
        self.channel.arrived(message, payload)
        self._read_all(cause)

    def _read_all(self, cause: Cause) -> None:
        for subscription, membership in self.subscriptions:
            if membership.stage != Stage.CLOSED.value:
                self._read(subscription, membership, cause)
                self.channel.settle(subscription)
                self._note(subscription, membership)

    def _read(self, subscription: Subscription, membership: Membership, cause: Cause) -> None:
        while subscription.has_events:
            try:
                event = subscription.take()
            except TotemdError as error:
                membership.why = type(error).__name__
                return
            if event is None:
                return
            seen = Seen(self.machine.time(), translate(event), cause)
            membership.seen.append(seen)
            self.machine.saw(self.pid, membership.group, seen)

    def _note(self, subscription: Subscription, membership: Membership) -> None:
        membership.stage = subscription.stage.value
        membership.sent, membership.delivered_back = subscription.sent, subscription.delivered_back

    def _flush(self, _: object) -> None:
        self._flush_scheduled = False
        if self.alive:
            self.channel.flush()
            self._send()

    def _send(self) -> None:
        outgoing, self.channel.outgoing = self.channel.outgoing, []
        if self.connection is not None:
            for frames in outgoing:
                self.connection.to_cpg.send(_FROM_CLIENT.decode(frames))


def translate(event: Event) -> GroupEvent:
    """The client library's event as histories have it."""
    match event:
        case ConfigChange(members, joined, left):
            return Came(
                tuple(Who(member.node_id, member.pid) for member in members),
                tuple(Who(member.node_id, member.pid) for member in joined),
                tuple(Who(member.node_id, member.pid) for member in left),
                tuple(member.reason.name for member in (*joined, *left)),
            )
        case Message(sender, payload):
            name = payload.partition(b":")[0].decode("ascii", "replace")
            return Said(Who(sender.node_id, sender.pid), name, zlib.crc32(payload))
        case RingChange(ring, members):
            return RingSeen(RingKey(ring.sequence, ring.representative), members)
        case Rejoined(unconfirmed):
            return Back(unconfirmed)
    raise AssertionError(event)


__all__ = ["Connection", "GroupClient", "Post", "translate"]
