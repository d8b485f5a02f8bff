"""An ordered bus that breaks: rings with agreed order, whose nodes part and meet again, as their clients see them.

Cheaper and nastier than a real ring: configuration changes come to each node at a moment of its own, what was on its
way when a ring broke is delivered to any part of it, and what the votes say comes at yet another moment.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from totemd.ipc.ids import Address, RingId
from totemd.ipc.messages.quorum import Count, NodeVotes


class Told(NamedTuple):
    """A message in the order."""

    sender: Address
    payload: bytes


class Membership(NamedTuple):
    """The group's members."""

    members: tuple[Address, ...]


class NewRing(NamedTuple):
    """The ring changed."""

    ring: RingId


Item = Told | Membership | NewRing


@dataclass(eq=False)
class Port:
    """Where a node meets the bus."""

    node_id: int
    wake: Callable[[], None]
    """Something is in the inbox, or the votes changed."""
    inbox: deque[Item] = field(default_factory=deque)
    unsent: deque[Told] = field(default_factory=deque)
    member: Address | None = None
    """The sam process that is in the group."""
    ring: Ring | None = None
    sequence: int = 0
    """On disk."""
    count: Count | None = None
    up: bool = True


@dataclass(eq=False)
class Ring:
    """A ring and what is on its way in it."""

    ring_id: RingId
    ports: list[Port]
    broken: bool = False


class Bus:
    """All nodes' ports; `later(seconds, action)` is the world's clock."""

    def __init__(self, later: Callable[[float, Callable[[], None]], None], rng: random.Random) -> None:
        self.later = later
        self.rng = rng
        self.ports: dict[int, Port] = {}
        self.sides: list[set[int]] = []
        self.forming_seconds = (0.1, 1.0)
        """How long a ring takes to form."""
        self._epoch = 0

    def cut(self, sides: Iterable[Iterable[int]]) -> None:
        """From now on only these can hear each other; a node that is on no side is alone."""
        self.sides = [set(side) for side in sides]
        named = {node for side in self.sides for node in side}
        self.sides += [{node} for node in self.ports if node not in named]
        self.changed()

    def changed(self) -> None:
        """Who can hear whom has changed: rings break, others form after a while."""
        self._epoch += 1
        for side in self.sides:
            ports = [self.ports[node] for node in sorted(side) if self.ports[node].up]
            if ports and not self._stands(ports):
                self._break(ports)
                epoch = self._epoch
                self.later(
                    self.rng.uniform(*self.forming_seconds), lambda ports=ports, epoch=epoch: self._form(ports, epoch)
                )

    def submit(self, port: Port, payload: bytes) -> None:
        """A member multicasts."""
        if port.member is None:
            return
        told = Told(port.member, payload)
        if port.ring is None or port.ring.broken or port.unsent:
            port.unsent.append(told)
        else:
            self._order_soon(port, told)

    def join(self, port: Port, member: Address) -> None:
        """A sam process enters the group."""
        port.member = member
        self._tell_members(port)
        if port.ring is not None and not port.ring.broken:
            self._push([port], NewRing(port.ring.ring_id))

    def leave(self, port: Port) -> None:
        """A sam process has died; nothing that it has not sent yet will be."""
        port.member = None
        port.inbox.clear()
        port.unsent.clear()
        self._tell_members(port)

    # -- inside

    def _stands(self, ports: list[Port]) -> bool:
        ring = ports[0].ring
        return ring is not None and not ring.broken and ring.ports == ports

    def _break(self, side: list[Port]) -> None:
        for ring in {id(port.ring): port.ring for port in side if port.ring is not None}.values():
            ring.broken = True
            mates = [port for port in side if port.ring is ring]
            self._lose_some(mates)

    def _lose_some(self, mates: list[Port]) -> None:
        """The last messages of others, which none of these has read, may not have come here at all."""
        inside = {port.node_id for port in mates}
        for _ in range(self.rng.randint(0, 3)):
            lasts = [port.inbox[-1] if port.inbox else None for port in mates]
            last = lasts[0]
            if not isinstance(last, Told) or last.sender.node_id in inside or any(each is not last for each in lasts):
                return
            for port in mates:
                port.inbox.pop()

    def _order_soon(self, port: Port, told: Told) -> None:
        ring = port.ring
        self.later(self.rng.uniform(0.0002, 0.01), lambda: self._order(port, ring, told))

    def _order(self, port: Port, ring: Ring | None, told: Told) -> None:
        if port.member != told.sender or not port.up:
            return  # it died before the token came
        if ring is None or port.ring is not ring or ring.broken:
            if port.ring is None or port.ring.broken:
                port.unsent.append(told)
                self._deliver_among_mates(port)
            else:
                self._order_soon(port, told)
            return
        self._push(ring.ports, told)

    def _deliver_among_mates(self, port: Port) -> None:
        """A ring that is breaking may still order something, for those of its members who can hear the sender."""
        ring = port.ring
        if ring is None or self.rng.random() < 0.5:
            return
        side = next(side for side in self.sides if port.node_id in side)
        mates = [each for each in ring.ports if each.node_id in side and each.up and each.ring is ring]
        while port.unsent:
            self._push(mates, port.unsent.popleft())

    def _push(self, ports: Iterable[Port], item: Item) -> None:
        for port in ports:
            if port.up:
                port.inbox.append(item)
                self.later(self.rng.uniform(0.0001, 0.01), port.wake)

    def _form(self, ports: list[Port], epoch: int) -> None:
        if epoch != self._epoch:
            return
        ports = [port for port in ports if port.up]
        sequence = max(port.sequence for port in ports) + 4
        ring = Ring(RingId(sequence, ports[0].node_id), ports)
        for port in ports:
            port.ring, port.sequence = ring, sequence
        self._push(ports, Membership(self._members(ring)))
        self._push(ports, NewRing(ring.ring_id))
        total = len(self.ports)
        for port in ports:
            self.later(self.rng.uniform(0.0, 0.1), partial(self._count, port, ring, total))
            unsent, port.unsent = port.unsent, deque()
            for told in unsent:
                self._order_soon(port, told)

    def _count(self, port: Port, ring: Ring, total: int) -> None:
        if port.ring is ring and port.up:
            nodes, quorum = tuple(NodeVotes(each.node_id, 1) for each in ring.ports), total // 2 + 1
            quorate = len(nodes) >= quorum
            flags = ("Quorate",) if quorate else ()
            port.count = Count(quorate, port.node_id, ring.ring_id, nodes, total, len(nodes), quorum, flags, False)
            port.wake()

    def _tell_members(self, port: Port) -> None:
        if port.ring is not None and not port.ring.broken:
            self._push(port.ring.ports, Membership(self._members(port.ring)))

    @staticmethod
    def _members(ring: Ring) -> tuple[Address, ...]:
        return tuple(port.member for port in ring.ports if port.member is not None)
