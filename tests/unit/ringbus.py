"""Whole rings of cores on a network without faults, for tests of a rule at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from totemd.executive.totem.core.context import RingState
from totemd.executive.totem.core.effects import Fact, Multicast, RegularConfiguration, Scope, Unicast
from totemd.executive.totem.core.parameters import RingParameters
from totemd.executive.totem.core.ring import Ring
from totemd.executive.totem.wire.packets import AnyPacket, Probe

TOKEN, CONSENSUS, RETRANSMIT = 1.0, 1.2, 0.24
LATENCY = 0.0001


class Bus:
    """Three rings, one clock, a network that delivers everything after `LATENCY` to whoever is `up`."""

    def __init__(self, nodes: tuple[int, ...] = (1, 2, 3), knock: float = 0.0) -> None:
        self.now = 100.0
        self.up = set(nodes)
        self.stopped: set[int] = set()
        self.reports_closed_ports = False
        self.sent: list[tuple[float, int, int, AnyPacket]] = []
        self.installed: dict[int, list[tuple[float, tuple[int, ...]]]] = {node: [] for node in nodes}
        self.facts: list[tuple[int, Fact]] = []
        self.lost: Callable[[int, AnyPacket], bool] = lambda to, packet: False
        self._unread: dict[int, list[tuple[int, AnyPacket]]] = {}
        self._flying: deque[tuple[float, int, int, AnyPacket]] = deque()
        self.rings = {node: Ring(self.parameters(node, knock), 1, lambda: 0.5) for node in nodes}
        for node, ring in self.rings.items():
            ring.start(self.now)
            self._effects(node)
        self.until(lambda: all(ring.members == nodes for ring in self.rings.values()), 10.0)
        for ring in self.rings.values():
            ring.services_synchronised(self.now)

    @staticmethod
    def parameters(node: int, knock: float) -> RingParameters:
        return RingParameters(
            node, TOKEN, RETRANSMIT, hold=0.18, join=0.05, consensus=CONSENSUS, merge=0.2, knock=knock
        )

    def until(self, done: Callable[[], bool], seconds: float) -> float:
        """Run until *done*; how long it took.  Fails after *seconds*."""
        began = self.now
        while not done():
            assert self._step(began + seconds), f"not within {seconds} s"
        return self.now - began

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._step(end):
            pass
        self.now = end

    def _step(self, end: float) -> bool:
        awake = {node: ring for node, ring in self.rings.items() if node in self.up - self.stopped}
        deadlines = [at for ring in awake.values() if (at := ring.next_deadline()) is not None]
        flight = self._flying[0][0] if self._flying else float("inf")
        at = min(flight, *deadlines)
        if at > end:
            return False
        self.now = max(self.now, at)
        if flight <= self.now:
            self._land(*self._flying.popleft()[1:])
        for node, ring in awake.items():
            ring.expire(self.now)
            self._effects(node)
        return True

    def _land(self, sender: int, to: int, packet: AnyPacket) -> None:
        if to in self.stopped:
            self._unread.setdefault(to, []).append((sender, packet))
        elif to in self.up:
            self.rings[to].receive(packet, sender, self.now)
            self._effects(to)
        elif self.reports_closed_ports and sender in self.up:
            self.rings[sender].port_closed(to, self.now)
            self._effects(sender)

    def _effects(self, node: int) -> None:
        for effect in self.rings[node].take_effects():
            match effect:
                case Multicast(packet, scope, members):
                    for to in self.rings if scope is Scope.ALL else members:
                        self.send(node, to, packet)
                case Unicast(to, packet):
                    self.send(node, to, packet)
                case RegularConfiguration(members=members):
                    self.installed[node].append((self.now, members))
                case Fact():
                    self.facts.append((node, effect))

    def send(self, sender: int, to: int, packet: AnyPacket) -> None:
        self.sent.append((self.now, sender, to, packet))
        if to != sender and not self.lost(to, packet):
            self._flying.append((self.now + LATENCY, sender, to, packet))
            self._flying = deque(sorted(self._flying, key=lambda each: each[0]))

    def hint(self, at: int, about: int) -> None:
        """The network tells node *at*, rightly or not, that nobody listens at *about*."""
        self.rings[at].port_closed(about, self.now)
        self._effects(at)

    def obituary(self, at: int, about: int) -> None:
        self.rings[at].process_ended(about, self.now)
        self._effects(at)

    def pause(self, node: int, seconds: float) -> None:
        """Stop a node; when it goes on it does what the totem process does: flush, read, then look at the clock."""
        self.stopped.add(node)
        self.run(seconds)
        self.stopped.discard(node)
        ring = self.rings[node]
        ring.pause_detected(self.now)
        for sender, packet in self._unread.pop(node, []):
            ring.receive(packet, sender, self.now)
        ring.backlog_drained(self.now)
        ring.expire(self.now)
        self._effects(node)

    def probes(self, about: int) -> list[float]:
        return [at for at, _, to, packet in self.sent if packet == Probe(answer=True) and to == about]

    def count(self, name: str) -> int:
        return sum(ring.counters[name] for ring in self.rings.values())

    def survivors_are(self, *members: int) -> Callable[[], bool]:
        return lambda: all(
            self.rings[node].state is RingState.OPERATIONAL and self.rings[node].members == members for node in members
        )
