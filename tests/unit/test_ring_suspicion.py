"""Members whose process is gone (docs/totem.md §5.9): obituaries, closed ports, probes, pauses."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import pytest
from totemd.executive.totem.core.context import RingState
from totemd.executive.totem.core.effects import Fact, Multicast, RegularConfiguration, Scope, Unicast
from totemd.executive.totem.core.parameters import RingParameters
from totemd.executive.totem.core.ring import Ring
from totemd.executive.totem.core.suspicion import PROBE_SECONDS_MIN, PROBES, RESPITE_SECONDS
from totemd.executive.totem.wire.packets import Alive, AnyPacket, Join, Probe

TOKEN, CONSENSUS, RETRANSMIT = 1.0, 1.2, 0.24
KNOCK = 0.1
LATENCY = 0.0001
VERDICT = PROBES * PROBE_SECONDS_MIN


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


@pytest.fixture
def bus() -> Iterator[Bus]:
    bus = Bus()
    yield bus
    assert not [name for ring in bus.rings.values() for name in ring.counters if name.startswith("bug.")]


def test_an_obituary_re_forms_the_ring_at_once(bus: Bus) -> None:
    bus.up.discard(2)
    bus.obituary(at=1, about=2)
    bus.obituary(at=3, about=2)
    assert bus.until(bus.survivors_are(1, 3), 5.0) < TOKEN / 10


def test_one_survivor_that_knows_is_enough(bus: Bus) -> None:
    bus.up.discard(2)
    bus.obituary(at=3, about=2)
    assert bus.until(bus.survivors_are(1, 3), 5.0) < TOKEN / 10


@pytest.mark.parametrize("times", [1, 3])
def test_an_obituary_of_an_outsider_changes_nothing(bus: Bus, times: int) -> None:
    bus.up.discard(2)
    for _ in range(times):
        bus.obituary(at=1, about=2)
        bus.obituary(at=3, about=2)
    bus.until(bus.survivors_are(1, 3), 5.0)
    rings = {node: ring.installed for node, ring in bus.rings.items()}
    for _ in range(times):
        bus.obituary(at=1, about=2)
        bus.obituary(at=1, about=9)
    bus.run(3 * TOKEN)
    assert {node: ring.installed for node, ring in bus.rings.items() if node != 2} == {1: rings[1], 3: rings[3]}


@pytest.mark.parametrize("state", [RingState.GATHER, RingState.COMMIT, RingState.RECOVERY])
def test_an_obituary_in_the_middle_of_forming_does_not_wait_for_a_timeout(bus: Bus, state: RingState) -> None:
    bus.rings[1].gather(bus.now)
    bus._effects(1)
    bus.until(lambda: bus.rings[3].state is state, 5.0)
    bus.up.discard(2)
    for node in (1, 3):
        bus.obituary(at=node, about=2)
    assert bus.until(bus.survivors_are(1, 3), 5.0) < TOKEN / 5


def test_a_closed_port_that_nobody_answers_at_ends_the_wait(bus: Bus) -> None:
    bus.up.discard(2)
    bus.hint(at=1, about=2)
    took = bus.until(bus.survivors_are(1, 3), 5.0)
    assert VERDICT <= took < VERDICT + TOKEN / 10
    assert len(bus.probes(about=2)) == PROBES
    assert [fact.fields for node, fact in bus.facts if fact.event == "ring.process_gone"] == [(("nodes", (2,)),)]


def test_a_hint_about_a_living_node_costs_a_question(bus: Bus) -> None:
    """However many are forged: nobody leaves, and the questions keep a bound."""
    rings = {ring.installed for ring in bus.rings.values()}
    began = bus.now
    while bus.now - began < 2.0:
        for about in (2, 3, 9, 1):
            bus.hint(at=1, about=about)
        bus.run(0.001)
    assert {ring.installed for ring in bus.rings.values()} == rings
    for about in (2, 3):
        assert 10 < len(bus.probes(about)) <= 2.0 / RESPITE_SECONDS + 1
    assert bus.probes(about=9) == bus.probes(about=1) == []
    assert bus.count("suspicion.answered") == len(bus.probes(2)) + len(bus.probes(3))


def test_any_packet_clears_a_suspect_even_if_answers_are_lost(bus: Bus) -> None:
    bus.lost = lambda to, packet: isinstance(packet, Alive)
    rings = {ring.installed for ring in bus.rings.values()}
    for _ in range(20):
        bus.hint(at=1, about=3)
        bus.run(0.05)
    assert {ring.installed for ring in bus.rings.values()} == rings
    assert bus.count("suspicion.cleared") > 0


def test_a_lost_probe_is_no_verdict(bus: Bus) -> None:
    lost = iter([True] * (PROBES - 1))
    bus.lost = lambda to, packet: packet == Probe(answer=True) and next(lost, False)
    rings = {ring.installed for ring in bus.rings.values()}
    for about in (2, 3):
        bus.hint(at=1, about=about)
    bus.run(2 * VERDICT)
    assert {ring.installed for ring in bus.rings.values()} == rings


def test_without_a_hint_a_silent_node_keeps_the_token_timeout(bus: Bus) -> None:
    bus.stopped.add(2)
    began = bus.now
    bus.run(0.9 * TOKEN)
    assert all(bus.rings[node].members == (1, 2, 3) for node in (1, 3))
    bus.until(bus.survivors_are(1, 3), 5.0)
    assert bus.now - began > TOKEN
    assert bus.probes(about=2) == []


def test_knocks_find_a_dead_successor_on_an_idle_ring() -> None:
    bus = Bus(knock=KNOCK)
    bus.reports_closed_ports = True
    bus.run(2 * TOKEN)
    bus.up.discard(2)
    assert bus.until(bus.survivors_are(1, 3), 5.0) < 2 * KNOCK + VERDICT + TOKEN / 10


def test_two_that_die_together_are_both_found() -> None:
    bus = Bus((1, 2, 3, 4, 5), knock=KNOCK)
    bus.reports_closed_ports = True
    bus.run(2 * TOKEN)
    bus.up -= {3, 4}
    assert bus.until(bus.survivors_are(1, 2, 5), 5.0) < 2 * KNOCK + 3 * VERDICT


def test_knocks_are_few_and_unanswered() -> None:
    bus = Bus(knock=KNOCK)
    bus.run(2.0)
    bus.sent.clear()
    bus.run(2.0)
    knocks = [packet for _, _, _, packet in bus.sent if packet == Probe(answer=False)]
    assert 0 < len(knocks) <= 3 * 2.0 / KNOCK
    assert not any(isinstance(packet, Alive) for _, _, _, packet in bus.sent)


def test_who_was_paused_accuses_nobody_before_it_has_listened(bus: Bus) -> None:
    """What was due while it stood still says nothing about the others."""
    bus.rings[3].gather(bus.now)
    bus._effects(3)
    bus.hint(at=3, about=1)
    bus.sent.clear()
    bus.pause(3, 5 * CONSENSUS)
    woke = bus.now
    assert bus.rings[3].state is RingState.GATHER
    bus.until(bus.survivors_are(1, 2, 3), 10.0)
    accusations = [packet for at, who, _, packet in bus.sent if at >= woke and who == 3 and isinstance(packet, Join)]
    assert accusations and not any(join.failed for join in accusations)


@pytest.mark.parametrize("seconds", [0.6 * TOKEN, 0.95 * TOKEN, 3 * TOKEN])
def test_who_was_paused_in_peace_comes_back_without_an_accusation(bus: Bus, seconds: float) -> None:
    bus.pause(2, seconds)
    woke = bus.now
    bus.until(bus.survivors_are(1, 2, 3), 10.0)
    joins = [packet for at, who, _, packet in bus.sent if at >= woke and who == 2 and isinstance(packet, Join)]
    assert not any(join.failed for join in joins)


def test_obituaries_and_hints_from_before_a_pause_are_old_news(bus: Bus) -> None:
    ring = bus.rings[1]
    ring.pause_detected(bus.now)
    bus.obituary(at=1, about=2)
    bus.hint(at=1, about=2)
    assert ring.state is RingState.OPERATIONAL and bus.probes(about=2) == []
    ring.backlog_drained(bus.now)
    bus.run(TOKEN)
    assert bus.survivors_are(1, 2, 3)()


def test_who_was_asked_before_a_pause_can_be_found_gone_after_it(bus: Bus) -> None:
    bus.hint(at=1, about=2)
    bus.up.discard(2)
    bus.pause(1, 0.7 * TOKEN)
    bus.hint(at=1, about=2)
    assert bus.until(bus.survivors_are(1, 3), 5.0) < VERDICT + TOKEN / 10


def test_who_has_left_says_nothing_any_more(bus: Bus) -> None:
    bus.hint(at=1, about=2)
    bus.rings[1].leave(bus.now)
    bus.obituary(at=1, about=2)
    bus.hint(at=1, about=3)
    bus.up.discard(1)
    assert bus.rings[1].next_deadline() is None
