"""A cluster of quorum engines without sockets, on rings that split and merge as EVS prescribes.

The model of what rings deliver is that of the groups' bus (docs/totem.md §9): per ring one log; a membership change
cuts it at one place for all nodes that go on together, which deliver everything up to there and, after it, what they
sent themselves.  Everything happens in single steps that a test chooses.  While it runs it is checked that the nodes
that stand at the same place of the same ring have the same count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from totemd.ipc.errors import TotemdError
from totemd.ipc.ids import RingId
from totemd.ipc.messages.quorum import Count
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
from totemd.services.quorum.effects import Answer, Note, Remember, Tell, ToRing, Track
from totemd.services.quorum.engine import Engine
from totemd.services.quorum.rules import Own
from totemd.services.quorum.votes import Tally
from totemd.services.quorum.wire import Record

Place = tuple[RingId, Any]


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


class Node:
    """One node: its totem process as the model has it, its quorum process."""

    def __init__(self, bus: Bus, node_id: int, own: Own) -> None:
        self.bus, self.node_id, self.own = bus, node_id, own
        self.engine: Engine | None = None
        self.memory: Record | None = None
        self.tracked = 0
        self.up = False
        self.told: list[Count] = []
        self.answers: list[tuple[Any, int, TotemdError | None]] = []
        self.notes: list[str] = []

    def boot(self) -> None:
        """The node starts, in a ring of its own; what a quorum process knew before is void."""
        self.memory = None
        self.start_totem()
        self.start_service()

    def start_totem(self) -> None:
        """The totem process starts."""
        self.up = True
        self.sync_lane: deque[Entry] = deque()
        self.application_lane: deque[Entry] = deque()
        self.ring = self.bus.make_ring((self.node_id,))
        self.delivered = 0
        self.roster: dict[int, tuple[str, ...]] = {}
        self.inbox: deque[tuple[StreamEvent, bytes]] = deque()
        self.attached = self.open = False
        self.announce_all()

    def crash(self) -> None:
        """The node dies, or only its totem process: `start_totem` or `boot` follow."""
        self.up = self.attached = False
        if self.engine is not None:
            self.engine.detach("the ring is away")
            self.carry_out()

    def start_service(self) -> None:
        """The quorum process starts."""
        self.engine = Engine(self.node_id, self.own, tracked=self.tracked, memory=self.memory)

    def kill_service(self) -> None:
        """The quorum process dies."""
        if self.engine is None:
            return
        self.engine = None
        if self.attached:
            self.attached = False
            self.inbox.clear()
            self.sync_lane.append(Entry(self.node_id, "down"))
            self.open = True

    def attach(self) -> None:
        """The quorum process connects to totem.sock."""
        if self.engine is None or self.attached or not self.up:
            return
        self.attached = True
        self.inbox.clear()
        self.bus.lives += 1
        attached = Attached(self.node_id, self.ring.ring_id, self.ring.members, dict(self.roster))
        self.sync_lane.append(Entry(self.node_id, "up"))
        self.engine.attach(attached, self.bus.lives)
        self.carry_out()

    def announce_all(self) -> None:
        services = ("quorum",) if self.attached else ()
        self.sync_lane = deque(entry for entry in self.sync_lane if entry.what == "submission")
        self.sync_lane.append(Entry(self.node_id, "list", services))
        self.open = not self.attached

    @property
    def quorate(self) -> bool:
        return self.engine is not None and self.engine.quorate

    @property
    def tally(self) -> Tally:
        assert self.engine is not None and self.engine.tally is not None
        return self.engine.tally

    # -- single steps

    def originate(self) -> bool:
        """The token is here: one submission gets its place."""
        lane = self.sync_lane or (self.application_lane if self.open else None)
        if not self.up or not lane:
            return False
        self.ring.log.append(lane.popleft())
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
        event: StreamEvent
        match entry.what:
            case "submission":
                event = Delivered(origin, ring, position)
            case "list":
                self.roster[origin] = entry.services
                event = ServiceList(origin, ring, entry.services)
            case "up":
                self.roster[origin] = ("quorum",)
                event = ServiceUp(origin, "quorum", ring, position)
            case _:
                if not self.roster.get(origin):
                    return
                self.roster[origin] = ()
                event = ServiceDown(origin, "quorum", ring, position)
        self.inbox.append((event, entry.payload))

    def serve(self) -> bool:
        """The quorum process takes the next event of its stream."""
        if not self.attached or self.engine is None or not self.inbox:
            return False
        event, payload = self.inbox.popleft()
        self.engine.event(event, payload, self.bus.now)
        if not isinstance(event, Transitional | Regular):
            match event:
                case Delivered(position=position):
                    place: object = position
                case ServiceList(node=node):
                    place = (node, "list")
                case _:
                    place = (type(event), event.number)
            self.bus.counted(self.engine, (event.ring, place))
        self.carry_out()
        return True

    def tick(self) -> None:
        if self.engine is not None:
            self.engine.time_passed(self.bus.now)
            self.carry_out()

    def carry_out(self) -> None:
        engine = self.engine
        if engine is None:
            return
        engine.flush()
        for effect in engine.take_effects():
            match effect:
                case ToRing(Submit(items), payload):
                    for item, data in zip(items, payload, strict=True):
                        lane = self.sync_lane if item.lane is Lane.SYNC else self.application_lane
                        lane.append(Entry(self.node_id, "submission", payload=data))
                case ToRing(Synchronised(epoch)):
                    self.open = self.open or epoch.ring == self.ring.ring_id
                case Tell(count):
                    self.told.append(count)
                case Answer(handle, request, error):
                    self.answers.append((handle, request, error))
                case Remember(record):
                    self.memory = record
                case Track(expected):
                    assert expected > self.tracked
                    self.tracked = expected
                case Note(text=text):
                    self.notes.append(text)


class Bus:
    """All nodes."""

    def __init__(self, owns: dict[int, Own]) -> None:
        self.sequence = self.lives = 0
        self.now = 0.0
        self.counts: dict[tuple[Epoch, Place], Tally] = {}
        self.nodes = {node: Node(self, node, own) for node, own in owns.items()}
        for node in self.nodes.values():
            node.boot()
            node.attach()

    def make_ring(self, members: tuple[int, ...]) -> Ring:
        self.sequence += 4
        return Ring(RingId(self.sequence, members[0]), members)

    def counted(self, engine: Engine, place: Place) -> None:
        """All who are at a place with the same exchange behind them have counted the same."""
        if engine.tally is not None and engine.epoch is not None and engine.synchronised:
            known = self.counts.setdefault((engine.epoch, place), engine.tally)
            assert known == engine.tally, f"{place}: {known} and {engine.tally}"

    def regroup(self, component: Iterable[int], extra: int = 0, early: int = 0) -> None:
        """The nodes of *component* that are up form a ring; see `bus.Bus.regroup` of the groups."""
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
            mate.inbox.append((Transitional(old.ring_id, new.ring_id, members, left), b""))
            for index in (each for each in last if each >= transitional):
                mate.take_in(old.log[index], index + 1)
            mate.inbox.append((Regular(new.ring_id, new.members, members), b""))

    def settle(self) -> None:
        """Everything that can happen without a fault happens."""
        for _ in range(100_000):
            if not any([node.originate() | node.deliver() | node.serve() for node in self.nodes.values()]):
                return
        raise AssertionError("it does not come to rest")

    def partition(self, *sides: Iterable[int]) -> None:
        """The network falls apart into *sides*, and everything comes to rest."""
        for side in sides:
            self.regroup(side)
        self.settle()

    def pass_time(self, seconds: float) -> None:
        """So much later, at rest."""
        self.now += seconds
        for node in self.nodes.values():
            node.tick()
        self.settle()

    def heal(self) -> None:
        """All nodes and services are up, in one ring, and at rest."""
        for node in self.nodes.values():
            if not node.up:
                node.boot()
            if node.engine is None:
                node.start_service()
            node.attach()
        self.settle()
        self.partition(self.nodes)
