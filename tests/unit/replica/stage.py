"""Replicas on the cpg tests' model of rings (`bus.py`): real engines and clients, split and merged as EVS prescribes.

Everything happens in single steps that a test chooses.  The machine of each replica is the list of what it applied, so
that what happened can be compared afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from bus import Bus, Member, Node
from totemd.ipc.errors import TotemdError
from totemd.ipc.ids import Address
from totemd.services.cpg.subscription import Subscription
from totemd.services.replica.driver import Driver, Outcome
from totemd.services.replica.effects import Status
from totemd.services.replica.errors import OutcomeUnknown, Rejected
from totemd.services.replica.machine import Machine
from totemd.services.replica.policy import Policy

GROUP = b"g"


class Journal:
    """A state machine whose state is everything that it was given; it also counts what it was asked."""

    def __init__(self, padding: int = 0) -> None:
        self.entries: list[bytes] = []
        self.padding = padding
        self.superseded_with: list[list[bytes]] = []
        self.restored = 0

    def apply(self, command: bytes) -> int:
        if command.startswith(b"no"):
            raise Rejected("no")
        self.entries.append(command)
        return len(self.entries)

    def snapshot(self) -> Iterator[bytes]:
        data = msgspec.msgpack.encode((self.entries, bytes(self.padding)))
        return iter([data[at : at + 50_000] for at in range(0, len(data), 50_000)])

    def restore(self, snapshot: bytes) -> None:
        self.entries, _ = msgspec.msgpack.decode(snapshot, type=tuple[list[bytes], bytes])
        self.restored += 1

    def superseded(self) -> None:
        self.superseded_with.append(list(self.entries))


class Audience(Journal):
    """A journal that also notes who is there."""

    def members_changed(self, members: tuple[Address, ...]) -> None:
        self.entries.append(b"members " + repr([tuple(each) for each in members]).encode())


class Actor(Member):
    """A client process that runs a replica."""

    bus: Stage
    driver: Driver | None = None
    subscription_of: Subscription | None = None

    def __init__(self, node: Node, pid: int) -> None:
        super().__init__(node, pid)
        self.journal = Journal()
        self.tickets: dict[int, bytes] = {}
        self.outcomes: dict[bytes, Outcome] = {}

    def start(self) -> None:
        if self.driver is None and self.local is not None:
            self.subscription_of = self.channel.join(GROUP)
            self.journal = self.stage.machine()
            identity = self.stage.random.randbytes(16)
            address = Address(self.node.node_id, self.pid)
            self.driver = Driver(Machine(self.journal), address, self.stage.policy, identity)
            self.send()

    @property
    def stage(self) -> Stage:
        assert isinstance(self.node.bus, Stage)
        return self.node.bus

    @property
    def status(self) -> Status:
        return Status.CLOSED if self.driver is None else self.driver.core.status

    def get(self, frames: tuple[Any, ...]) -> None:
        message, payload = self.codec.decode([bytes(frame) for frame in frames])
        self.tags.clear()
        self.channel.arrived(message, payload)

    def take(self) -> bool:
        """One event of the group."""
        subscription = self.subscription_of
        if subscription is None or self.driver is None or not subscription.has_events:
            return False
        try:
            event = subscription.take()
        except TotemdError as error:
            self.driver.close(error)
            self.subscription_of = None
            return True
        if event is None:
            return False
        self.channel.settle(subscription)
        self.driver.event(event, self.stage.now)
        self.after()
        return True

    def after(self) -> None:
        assert self.driver is not None
        for ticket, outcome in self.driver.take_outcomes():
            self.outcomes[self.tickets[ticket]] = outcome
            self.stage.answered(self, self.tickets[ticket], outcome)
        if self.driver.core.status is Status.CLOSED and self.subscription_of is not None:
            self.channel.leave(self.subscription_of)

    def talk(self, most: int = 1) -> bool:
        """Hand some messages to the group."""
        did = False
        while most and self.driver is not None and self.driver.outgoing and self.subscription_of is not None:
            send = self.driver.outgoing[0]
            try:
                if not self.channel.append(self.subscription_of, send.payload, send.guarantee):
                    break
            except TotemdError:
                break
            self.driver.outgoing.popleft()
            most -= 1
            did = True
        if did:
            self.send()
        return did

    def propose(self, size: int = 0) -> bytes | None:
        if self.driver is None or self.driver.core.status is Status.CLOSED:
            return None
        self.counter += 1
        text = b"%d.%d.%d:" % (self.node.node_id, self.pid, self.counter) + b"x" * size
        self.tickets[self.driver.propose(text, self.stage.now)] = text
        self.after()
        return text

    def tick(self) -> None:
        if self.driver is not None:
            self.driver.expire(self.stage.now)
            self.after()


class Stage(Bus):
    """Nodes with replicas."""

    def __init__(
        self,
        nodes: int,
        policy: Policy,
        *,
        pids: Iterable[int] = (7,),
        machine: Any = Journal,
        seed: int = 0,
        actor: type[Actor] = Actor,
    ) -> None:
        self.actor_class = actor
        self.random = random.Random(seed)
        self.policy = policy
        self.machine = machine
        self.now = 0.0
        self.acknowledged: list[tuple[Address, bytes]] = []
        self.proposed: set[bytes] = set()
        super().__init__(range(1, nodes + 1), pids)
        for node in self.nodes.values():
            node.members = [self._actor(node, member) for member in node.members]
        self.settle()
        self.regroup(set(self.nodes), 0, 0)
        self.settle()

    def _actor(self, node: Node, member: Member) -> Actor:
        if isinstance(member, Actor):
            return member
        actor = self.actor_class(node, member.pid)
        actor.counter = member.counter
        if node.engine is not None:
            if member.local is not None:
                node.engine.closed(member.local)
                node.carry_out()
            actor.connect()
        return actor

    def answered(self, actor: Actor, text: bytes, outcome: Outcome) -> None:
        if outcome.error is None:
            self.acknowledged.append((Address(actor.node.node_id, actor.pid), text))
        else:
            assert isinstance(outcome.error, OutcomeUnknown | Rejected), outcome.error

    def actors(self) -> list[Actor]:
        return [member for node in self.nodes.values() for member in node.members if isinstance(member, Actor)]

    def actor(self, node: int, pid: int = 7) -> Actor:
        return next(each for each in self.actors() if (each.node.node_id, each.pid) == (node, pid))

    def start(self, *nodes: int) -> None:
        """Replicas on these nodes, or everywhere."""
        for actor in self.actors():
            if not nodes or actor.node.node_id in nodes:
                actor.start()

    def kill(self, node: int, index: int = 0) -> None:
        """A replica's process dies; another takes its place, without a replica yet."""
        self.nodes[node].die(index)
        members = self.nodes[node].members
        members[index] = self._actor(self.nodes[node], members[index])

    def step(self) -> bool:
        """Everything that can happen happens once."""
        did = False
        for node in self.nodes.values():
            did |= node.originate() | node.deliver() | node.serve()
        for actor in self.actors():
            did |= actor.take() | actor.talk(4)
        return did

    def settle(self) -> None:
        for _ in range(100_000):
            if not self.step():
                return
        raise AssertionError("it does not come to rest")

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for actor in self.actors():
            actor.tick()
        self.settle()

    def split(self, *components: set[int], extra: int = 0) -> None:
        """Partition into these; safe messages stay safe (see `_cut`)."""
        for component in components:
            self.regroup(component, extra, 0)

    def unite(self) -> None:
        """Everything is up and one ring, and everybody had the time to notice."""
        for node in self.nodes.values():
            if not node.up:
                node.boot()
            if node.engine is None:
                node.start_service()
            node.attach()
        self.settle()
        self.regroup(set(self.nodes), 0, 0)
        self.settle()
        for _ in range(6):
            self.pass_time(10.0)

    def entries(self) -> list[list[bytes]]:
        """The states of all active replicas."""
        return [actor.journal.entries for actor in self.actors() if actor.status is Status.ACTIVE]
