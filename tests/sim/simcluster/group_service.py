"""A simulated cpg process: the real engine between the ordered stream and the clients of its node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from simcluster.group_client import Connection
from simcluster.group_history import Cause, Exchange, Place
from simcluster.group_ipc import LOST, Inbox
from simcluster.history import RingKey
from totemd.ipc.ids import RingId
from totemd.ipc.messages.common import Welcome
from totemd.ipc.messages.stream import (
    Attached,
    Credit,
    Delivered,
    Events,
    Regular,
    ServiceDown,
    ServiceUp,
    StreamEvent,
    Transitional,
)
from totemd.services.cpg.audience import Audience
from totemd.services.cpg.effects import Dismiss, Effect, Frames, Note, ToClients, ToRing
from totemd.services.cpg.engine import Engine, Placed
from totemd.services.cpg.memberships import LocalClient
from totemd.services.cpg.state import Change
from totemd.services.sync import Completed

if TYPE_CHECKING:
    from simcluster.group_stream import Link
    from simcluster.machine import Machine

RETRY = 0.003
"""Seconds between two attempts to reach the totem process."""


def ring_key(ring: RingId) -> RingKey:
    """The ring id as histories have it."""
    return RingKey(ring.sequence, ring.representative)


class StrictAudience(Audience):
    """Expels sooner than the real one, so that little traffic is enough."""

    def __init__(self, effects: list[Effect], unread_max: int) -> None:
        super().__init__(effects)
        self._unread_max = unread_max

    def send(self, clients: tuple[LocalClient, ...], frames: Frames) -> list[LocalClient]:
        """Send the same frames to each; returns those that are too far behind now."""
        return super().send(clients, frames) or [client for client in clients if client.unread > self._unread_max]


class WatchedEngine(Engine):
    """An engine that says what caused what it sends, and that notices messages before their exchange."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.audience = StrictAudience(self._effects, machine.options.unread_max)
        self._machine = machine
        self._cause: Cause = None
        self._here: Place | None = None
        self._last: Place | None = None
        self._places: dict[int, tuple[Delivered, Place]] = {}
        """Of messages that have not been applied, by the identity of their event."""
        self._down: dict[int, Place] = {}
        """Where each node's service was last announced to be gone."""
        self._complete: set[RingKey] = set()
        self._path: list[str] = []
        self._just_completed: Exchange | None = None
        """By the event that is being handled."""

    def attach(self, attached: Attached, credit: int, life: int) -> None:
        """A stream begins: nobody else came the same way."""
        self._complete.clear()
        self._places.clear()
        self._path = [f"life {life} of node {attached.node_id}"]
        super().attach(attached, credit, life)

    def event(self, event: StreamEvent, payload: bytes | memoryview = b"") -> None:
        """The next event of the stream."""
        self._just_completed = None
        match event:
            case Delivered(ring=ring, position=position):
                self._here = self._next(ring, position)
                self._places[id(event)] = (event, self._here)
            case ServiceUp(ring=ring, number=number):
                self._here = self._next(ring, self._machine.news_position(ring_key(ring), number))
            case ServiceDown(node=node, ring=ring, number=number):
                self._here = self._next(ring, self._machine.news_position(ring_key(ring), number))
                self._down[node] = self._here
            case Transitional() | Regular():
                self._here = None
                self._path.append(str(event))
            case _:
                self._here = None
        super().event(event, payload)

    def _next(self, ring: RingId, position: int) -> Place:
        last = self._last
        same = last is not None and last.position == position and last.ring == ring_key(ring)
        self._last = Place(ring_key(ring), position, last.part + 1 if same and last is not None else 0)
        return self._last

    def _apply(self, placed: Placed) -> None:
        ring = ring_key(placed.place.ring)
        if ring not in self._complete:
            self._machine.complain("G8", f"a message of {ring} was applied before the exchange of that ring")
        _, self._cause = self._places.pop(id(placed.place))
        super()._apply(placed)
        self._cause = None

    def _completed(self, done: Completed) -> None:
        ring, position = ring_key(done.epoch.ring), done.epoch.number
        self._complete.add(ring)
        self._machine.completed(ring, position, self._here)
        self._cause = self._just_completed = Exchange(ring, position, " ".join(self._path))
        super()._completed(done)
        self._path = [f"exchange {ring}:{position}"]
        self._cause = None

    def _tell(self, changes: Iterable[Change]) -> None:
        changes = list(changes)
        if self._cause is None and changes and changes[0].left:
            # What waited for an exchange is part of it: who came another way never knew who is gone here.
            self._cause = self._just_completed or self._down.get(changes[0].left[0].node_id)
            super()._tell(changes)
            self._cause = None
        else:
            super()._tell(changes)

    def _send(self, clients: tuple[LocalClient, ...], frames: Frames) -> None:
        for client in clients:
            client.handle.causes.append(self._cause)
        super()._send(clients, frames)


class CpgProcess:
    """One life of a node's cpg process."""

    def __init__(self, machine: Machine, life: int) -> None:
        self.machine = machine
        self.life = life
        self.engine = WatchedEngine(machine)
        self.alive = True
        self.link: Link | None = None
        """The connection to the totem process."""
        self.inbox = Inbox(self._handle)
        self._links = 0
        self._locals: dict[Connection, LocalClient] = {}
        self._greeting: set[Connection] = set()
        """Connections whose hello has not been handled."""
        self._carrying_out = False
        self._flush_scheduled = False
        self.connect()

    @property
    def serves(self) -> bool:
        """Whether clients may connect: cpg opens its socket at once."""
        return self.alive

    @property
    def on_the_way(self) -> int:
        """Credit that clients do not have back."""
        return sum(client.on_the_way for client in self._locals.values())

    def locals(self) -> list[tuple[Connection, LocalClient]]:
        """The connected clients."""
        return list(self._locals.items())

    def connect(self, _: object = None) -> None:
        """Reach for the totem process until it is there."""
        if not self.alive or self.link is not None:
            return
        self._links += 1
        self.link = self.machine.open_link(self, self._links)
        if self.link is None:
            self.machine.later(RETRY, self.connect)

    def die(self) -> None:
        """The process is killed: everybody at the other ends notices."""
        self.alive = False
        self.inbox.clear()
        if self.link is not None:
            self.link.to_cpg.cut = True
            self.link.to_totem.send(LOST)
            self.link = None
        for connection in (*self._locals, *sorted(self._greeting, key=lambda each: each.pid)):
            connection.to_cpg.cut = True
            connection.to_client.send(LOST)
        self._locals.clear()
        self._greeting.clear()

    def greeted_by(self, connection: Connection) -> None:
        """A client's hello is on its way."""
        self._greeting.add(connection)
        connection.to_cpg.send("hello")

    def take(self, item: Any) -> None:
        """Something arrives, from a client or from totem."""
        if self.alive:
            self.inbox.take(item)

    # -- the stream and the clients

    def _handle(self, item: Any) -> None:
        source, message = item
        if isinstance(source, Connection):
            self._client(source, message)
        elif source is self.link:
            self._totem(message)
        self._turn()

    def _totem(self, message: Any) -> None:
        link = self.link
        assert link is not None
        if message == LOST:
            self.link = None
            self.engine.detach("this node's network process went away")
            self.machine.later(RETRY, self.connect)
            return
        body, payload = message
        match body:
            case Attached():
                credit = min(link.credit, self.machine.options.service_credit)
                self.engine.attach(body, credit, self.machine.new_life())
            case Events(events, spent):
                frames = iter(payload)
                for event in events:
                    if isinstance(event, Delivered):
                        self.engine.event(event, next(frames, b""))
                    else:
                        self.engine.event(event)
                if spent:
                    self.engine.credited(spent)
                if payload:
                    link.to_totem.send((Credit(sum(map(len, payload))), ()))
            case Credit(payload_bytes):
                self.engine.credited(payload_bytes)

    def _client(self, connection: Connection, message: Any) -> None:
        local = self._locals.get(connection)
        if message == "hello":
            client = connection.client
            welcome = Welcome((1, 0), self.machine.node_id, 0, client.pid, self.machine.options.client_credit)
            self._greeting.discard(connection)
            connection.to_client.send(welcome)
            opened = self._locals[connection] = self.engine.opened(connection, client.pid)
            opened.credit = self.machine.options.client_credit
        elif local is None:
            self._greeting.discard(connection)
        elif message == LOST:
            del self._locals[connection]
            self.engine.closed(local)
        else:
            body, payload = message
            self.engine.received(local, body, payload)

    # -- effects

    def _turn(self) -> None:
        self._carry_out()
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self.machine.later(0.0, self._flush)

    def _flush(self, _: object) -> None:
        self._flush_scheduled = False
        if self.alive:
            self.engine.flush()
            self._carry_out()

    def _carry_out(self) -> None:
        if self._carrying_out:
            return
        self._carrying_out = True
        while self.alive and (effects := self.engine.take_effects()):
            for effect in effects:
                self._do(effect)
        self._carrying_out = False

    def _do(self, effect: Effect) -> None:
        match effect:
            case ToClients(clients, frames):
                for client in clients:
                    client.handle.to_client.send(tuple(frames))
            case ToRing(message, payload):
                if self.link is not None:
                    self.link.to_totem.send((message, payload))
            case Dismiss(client):
                connection = client.handle
                connection.to_client.send(LOST)
                connection.to_cpg.cut = True
                self._locals.pop(connection, None)
                self.engine.closed(client)
                self.machine.count("group.dismissed")
            case Note(level, text, fields):
                self.machine.noted(level, text, fields)
