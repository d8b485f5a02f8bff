"""A cluster of cpg engines and client channels without sockets, on rings that split and merge as EVS prescribes.

The core of a `Bus` is a model of what rings deliver (docs/totem.md §9): per ring one log; a membership change cuts it
at one place for all nodes that go on together, which deliver everything up to there and, after it, what they sent
themselves. Everything happens in single steps that a test chooses, so every interleaving can be had. What each client
saw is checked while it runs and at the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from totemd.ipc.codec import Codec
from totemd.ipc.ids import Guarantee, RingId
from totemd.ipc.messages.common import Welcome
from totemd.ipc.messages.cpg import CLIENT_CREDIT_BYTES, FROM_CLIENT, TO_CLIENT, Credit
from totemd.ipc.messages.stream import (
    Attached,
    Delivered,
    Epoch,
    Lane,
    Regular,
    ServiceDown,
    ServiceList,
    ServiceUp,
    StreamEvent,
    Submit,
    Synchronised,
    Transitional,
)
from totemd.services.cpg.channel import Channel
from totemd.services.cpg.effects import Dismiss, Frames, ToClients, ToRing
from totemd.services.cpg.engine import Engine, Placed
from totemd.services.cpg.events import ConfigChange, Event, Message, Rejoined
from totemd.services.cpg.memberships import LocalClient
from totemd.services.cpg.subscription import Stage, Subscription
from totemd.services.sync import Completed

SERVICE_CREDIT = 6_000
"""Small, so that submissions wait."""

Place = tuple[RingId, int]


@dataclass
class Entry:
    """One place of a ring's log: an announcement or a submission."""

    origin: int
    what: str
    services: tuple[str, ...] = ()
    payload: bytes = b""


@dataclass
class Ring:
    """A ring and its order."""

    ring_id: RingId
    members: tuple[int, ...]
    log: list[Entry] = field(default_factory=list)


class Recorder(Engine):
    """An engine that tells the checker what happens where."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node

    def _apply(self, placed: Placed) -> None:
        ring = placed.place.ring
        assert ring in self.node.completed_rings, (
            f"E17: a message of {ring} at node {self.node.node_id} before its exchange"
        )
        self.node.tag = (ring, placed.place.position)
        super()._apply(placed)
        self.node.tag = None

    def _send(self, clients: tuple[LocalClient, ...], frames: Frames) -> None:
        for client in clients:
            client.handle.tags.append(self.node.tag)
        super()._send(clients, frames)

    def _completed(self, done: Completed) -> None:
        self.node.completed_rings.add(done.epoch.ring)
        self.node.bus.completed(done.epoch, self.node.at)
        super()._completed(done)


@dataclass
class Seen:
    """One event of one subscription, and the place of the order that caused it (None: an exchange, a ring)."""

    event: Event
    tag: Place | None


class Member:
    """A client process with its channel; what it is sent arrives at once."""

    def __init__(self, node: Node, pid: int) -> None:
        self.node, self.pid = node, pid
        self.channel = Channel()
        self.local: LocalClient | None = None
        self.codec: Codec[Any] = Codec(TO_CLIENT)
        self.histories: list[tuple[Subscription, list[Seen]]] = []
        self.tags: deque[Place | None] = deque()
        """Where what is on its way to this client was caused."""
        self.counter = 0
        self.alive = True

    def connect(self) -> None:
        self.tags.clear()
        self.local = self.node.engine.opened(self, self.pid)  # type: ignore[union-attr]
        self.channel.welcomed(Welcome((1, 0), self.node.node_id, 0, self.pid, CLIENT_CREDIT_BYTES))
        self.send()

    def get(self, frames: tuple[Any, ...]) -> None:
        message, payload = self.codec.decode([bytes(frame) for frame in frames])
        tag = None if isinstance(message, Credit) else self.tags.popleft()
        self.channel.arrived(message, payload)
        for subscription, seen in self.histories:
            self.read(subscription, seen, tag)

    def read(self, subscription: Subscription, seen: list[Seen], tag: Place | None = None) -> None:
        while subscription.has_events:
            if not subscription._ready and not subscription._waiting:
                return  # closed, and everything has been read
            event = subscription.take()
            assert event is not None
            seen.append(Seen(event, tag if isinstance(event, Message | ConfigChange) else None))
        self.channel.settle(subscription)

    def send(self) -> None:
        self.channel.flush()
        outgoing, self.channel.outgoing = self.channel.outgoing, []
        codec: Codec[Any] = Codec(FROM_CLIENT)
        for frames in outgoing:
            message, payload = codec.decode(frames)
            if self.node.engine is not None and self.local is not None:
                self.node.engine.received(self.local, message, payload)
        if outgoing:
            self.node.carry_out()

    def subscription(self, group: bytes) -> Subscription | None:
        return self.channel._subscriptions.get(group)

    def join(self, group: bytes) -> None:
        if self.subscription(group) is None and self.alive:
            self.histories.append((self.channel.join(group), []))
            self.send()

    def leave(self, group: bytes) -> None:
        if (subscription := self.subscription(group)) is not None:
            self.channel.leave(subscription)
            self.send()

    def mcast(self, group: bytes, guarantee: Guarantee, size: int) -> None:
        subscription = self.subscription(group)
        if subscription is None or subscription.stage is not Stage.JOINED:
            return
        self.counter += 1
        text = b"%d.%d.%d:" % (self.node.node_id, self.pid, self.counter)
        assert self.channel.append(subscription, text + b"x" * size, guarantee)
        self.send()


class Node:
    """One node: its totem process as the model has it, its cpg process, its clients."""

    def __init__(self, bus: Bus, node_id: int) -> None:
        self.bus, self.node_id = bus, node_id
        self.engine: Recorder | None = None
        self.members: list[Member] = []
        self.up = False
        self.tag: Place | None = None
        self.at: Place | None = None
        self.completed_rings: set[RingId] = set()
        self.went_to: dict[RingId, RingId] = {}
        """Ring -> the next, where this node went through a transitional configuration."""
        self.regular_end: dict[RingId, int] = {}
        """Ring -> how far its log was delivered in the regular configuration."""

    def boot(self) -> None:
        """The totem process starts, in a ring of its own."""
        self.up = True
        self.sync_lane: deque[Entry] = deque()
        self.application_lane: deque[Entry] = deque()
        self.ring = self.bus.make_ring((self.node_id,))
        self.delivered = 0
        self.roster: dict[int, tuple[str, ...]] = {}
        self.inbox: deque[tuple[StreamEvent, bytes, Place | None]] = deque()
        self.attached = False
        self.open = False
        self.announce_all()

    def crash(self) -> None:
        """The totem process dies; the cpg process loses its stream."""
        self.up = self.attached = False
        self.regular_end[self.ring.ring_id] = self.delivered
        if self.engine is not None:
            self.engine.detach("the ring is away")
            self.carry_out()

    def start_service(self) -> None:
        self.engine = Recorder(self)
        for member in self.members:
            if member.alive:
                member.connect()

    def kill_service(self) -> None:
        """The cpg process dies; its clients notice."""
        if self.engine is None:
            return
        self.engine = None
        if self.attached:
            self.attached = False
            self.inbox.clear()
            self.sync_lane.append(Entry(self.node_id, "down"))
            self.open = True
        for member in self.members:
            member.channel.lost()
            member.local = None
            for subscription, seen in member.histories:
                member.read(subscription, seen)

    def die(self, index: int) -> None:
        """A client process dies, and another with the same pid takes its place."""
        member = self.members[index]
        if self.engine is not None and member.local is not None:
            self.engine.closed(member.local)
            member.local = None
            self.carry_out()
        member.channel.lost()
        self.members[index] = successor = Member(self, member.pid)
        successor.counter = member.counter
        self.bus.graveyard.append(member)
        if self.engine is not None:
            successor.connect()

    def attach(self) -> None:
        """The cpg process connects to totem.sock."""
        if self.engine is None or self.attached or not self.up:
            return
        self.attached = True
        self.inbox.clear()
        self.completed_rings = set()
        self.bus.lives += 1
        attached = Attached(self.node_id, self.ring.ring_id, self.ring.members, dict(self.roster))
        self.sync_lane.append(Entry(self.node_id, "up"))
        self.engine.attach(attached, SERVICE_CREDIT, self.bus.lives)
        self.carry_out()

    def announce_all(self) -> None:
        services = ("cpg",) if self.attached else ()
        self.sync_lane = deque(entry for entry in self.sync_lane if entry.what == "submission")
        self.sync_lane.append(Entry(self.node_id, "list", services))
        self.open = not self.attached

    # -- single steps

    def originate(self) -> bool:
        """The token is here: one submission gets its place."""
        lane = self.sync_lane or (self.application_lane if self.open else None)
        if not self.up or not lane:
            return False
        entry = lane.popleft()
        self.ring.log.append(entry)
        if entry.what == "submission" and self.engine is not None and self.attached:
            self.engine.credited(len(entry.payload))
            self.carry_out()
        return True

    def deliver(self) -> bool:
        """The ring process delivers the next entry of its ring."""
        if not self.up or self.delivered >= len(self.ring.log):
            return False
        self.take_in(self.ring.log[self.delivered], self.delivered + 1)
        self.delivered += 1
        return True

    def take_in(self, entry: Entry, position: int) -> None:
        ring, origin = self.ring.ring_id, entry.origin
        place = (ring, position)
        event: StreamEvent
        match entry.what:
            case "submission":
                event = Delivered(origin, ring, position)
            case "list":
                self.roster[origin] = entry.services
                event = ServiceList(origin, ring, entry.services)
            case "up":
                self.roster[origin] = ("cpg",)
                event = ServiceUp(origin, "cpg", ring, position)
            case _:
                if not self.roster.get(origin):
                    return
                self.roster[origin] = ()
                event = ServiceDown(origin, "cpg", ring, position)
        self.inbox.append((event, entry.payload, place))

    def serve(self) -> bool:
        """The cpg process takes the next event of its stream."""
        if not self.attached or self.engine is None or not self.inbox:
            return False
        event, payload, self.at = self.inbox.popleft()
        self.engine.event(event, payload)
        self.carry_out()
        self.at = None
        return True

    def carry_out(self) -> None:
        engine = self.engine
        if engine is None:
            return
        engine.flush()
        while self.engine is engine and (effects := engine.take_effects()):
            for effect in effects:
                match effect:
                    case ToRing(Submit(items), payload):
                        for item, data in zip(items, payload, strict=True):
                            lane = self.sync_lane if item.lane is Lane.SYNC else self.application_lane
                            lane.append(Entry(self.node_id, "submission", payload=data))
                    case ToRing(Synchronised(epoch)):
                        self.open = self.open or epoch.ring == self.ring.ring_id
                    case ToClients(clients, frames):
                        for client in clients:
                            client.handle.get(tuple(frames))
                    case Dismiss():
                        raise AssertionError("nobody is dismissed here")
            engine.flush()
        for member in self.members:
            if member.local is not None and member.channel.outgoing:
                member.send()


class Bus:
    """All nodes."""

    def __init__(self, node_ids: Iterable[int], pids: Iterable[int]) -> None:
        self.sequence = 0
        self.lives = 0
        self.graveyard: list[Member] = []
        self.completions: dict[Epoch, Place | None] = {}
        self.nodes = {node: Node(self, node) for node in node_ids}
        for node in self.nodes.values():
            node.members = [Member(node, pid) for pid in pids]
            node.boot()
            node.start_service()
            node.attach()

    def make_ring(self, members: tuple[int, ...]) -> Ring:
        self.sequence += 4
        return Ring(RingId(self.sequence, members[0]), members)

    def completed(self, epoch: Epoch, place: Place | None) -> None:
        """E18: an exchange completes at one place of the order."""
        assert self.completions.setdefault(epoch, place) == place, f"E18: {epoch} completed at two places"

    def regroup(self, component: set[int], extra: int, early: int) -> None:
        """The nodes of *component* that are up form a ring.

        *extra* entries beyond what somebody delivered are recovered where they exist; *early* of the common ones come
        before the transitional configuration.
        """
        together = sorted(node for node in component if self.nodes[node].up)
        if not together:
            return
        new = self.make_ring(tuple(together))
        for old_id in sorted({self.nodes[node].ring.ring_id for node in together}):
            mates = [self.nodes[node] for node in together if self.nodes[node].ring.ring_id == old_id]
            self._cut(mates, new, extra, early)
        for node in together:
            self.nodes[node].ring, self.nodes[node].delivered, self.nodes[node].roster = new, 0, {}
            self.nodes[node].announce_all()

    def _cut(self, mates: list[Node], new: Ring, extra: int, early: int) -> None:
        old, ids = mates[0].ring, {mate.node_id for mate in mates}
        most = max(mate.delivered for mate in mates)
        cut = min(len(old.log), most + extra)
        last = [index for index in range(len(old.log)) if index < cut or old.log[index].origin in ids]
        transitional = min(cut, most + early)
        left = tuple(sorted(set(old.members) - ids))
        members = tuple(sorted(ids))
        for mate in mates:
            for index in (each for each in last if mate.delivered <= each < transitional):
                mate.take_in(old.log[index], index + 1)
            mate.went_to[old.ring_id], mate.regular_end[old.ring_id] = new.ring_id, transitional
            mate.inbox.append((Transitional(old.ring_id, new.ring_id, members, left), b"", None))
            for index in (each for each in last if each >= transitional):
                mate.take_in(old.log[index], index + 1)
            mate.inbox.append((Regular(new.ring_id, new.members, members), b"", None))

    def settle(self) -> None:
        """Everything that can happen without a fault happens."""
        for _ in range(100_000):
            if not any([node.originate() | node.deliver() | node.serve() for node in self.nodes.values()]):
                return
        raise AssertionError("it does not come to rest")

    def heal(self) -> None:
        """All nodes and services are up, in one ring, and at rest; every member has said something there."""
        for node in self.nodes.values():
            if not node.up:
                node.boot()
            if node.engine is None:
                node.start_service()
            node.attach()
        self.settle()
        assert all(node.engine is not None and node.engine.synchronised for node in self.nodes.values()), "stuck"
        self.regroup(set(self.nodes), 0, 0)
        self.settle()
        for member in [member for node in self.nodes.values() for member in node.members]:
            for subscription, _ in member.histories:
                member.mcast(subscription.group, Guarantee.AGREED, 0)
        self.settle()


def unconfirmed(seen: list[Seen]) -> int:
    return sum(each.event.unconfirmed for each in seen if isinstance(each.event, Rejoined))
