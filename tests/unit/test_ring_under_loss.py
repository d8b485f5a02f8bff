"""What loss costs a ring of three, in virtual time: throughput as a share of the lossless one, and latency.

Cores, and a network on which every datagram takes half a millisecond and is lost with a given probability; a frame of
several datagrams is lost with any of them.  `bench/loss.py` measures the same of real nodes.
"""

from __future__ import annotations

import heapq
import random

import pytest
from totemd.executive.totem.core.context import RingState
from totemd.executive.totem.core.effects import Deliver, Multicast, Unicast
from totemd.executive.totem.core.flow import units
from totemd.executive.totem.core.parameters import RingParameters
from totemd.executive.totem.core.ring import Ring
from totemd.executive.totem.core.submission import Submission
from totemd.executive.totem.wire.packets import AnyPacket, Mcast
from totemd.ipc.ids import Guarantee
from totemd.ipc.messages.stream import Lane

HOP = 0.0005
DATAGRAM = 0.000_02
"""What sending a datagram takes its sender."""

UNIT = 1_400
NODES = (1, 2, 3)


class LossyRing:
    """Three cores that form a ring before anything is lost."""

    def __init__(self, seed: int, loss: float, sender: int = 1) -> None:
        self.sender = sender
        self.now = 100.0
        self.loss = 0.0
        self.delivered: dict[int, list[tuple[float, int]]] = {node: [] for node in NODES}
        """At each node: when, and which submission of the sender."""
        self._chance = random.Random(seed)
        self._flights: list[tuple[float, int, int, int, AnyPacket]] = []
        self._launched = 0
        self._rings = {
            node: Ring(
                RingParameters(
                    node,
                    token=3.65,
                    token_retransmit=0.869,
                    hold=0.685,
                    join=0.05,
                    consensus=4.38,
                    merge=0.2,
                    frame_bytes=16 * UNIT - 300,
                    datagram_bytes=UNIT,
                ),
                1,
                self._chance.random,
            )
            for node in NODES
        }
        for node in NODES:
            self._rings[node].start(self.now)
            self._carry_out(node)
        while any(ring.members != NODES or ring.state is not RingState.OPERATIONAL for ring in self._rings.values()):
            self.step()
        for node in NODES:
            self._rings[node].services_synchronised(self.now)
            self._carry_out(node)
        self.loss = loss

    @property
    def backlog(self) -> int:
        return self._rings[self.sender].backlog_bytes

    def submit(self, size: int, guarantee: Guarantee = Guarantee.AGREED) -> int:
        submission = Submission(1, Lane.APPLICATION, guarantee, bytes(size))
        number = self._rings[self.sender].submit(submission, self.now)
        self._carry_out(self.sender)
        return number

    def step(self) -> None:
        """To the next thing that happens."""
        due = [(deadline, node) for node in NODES if (deadline := self._rings[node].next_deadline()) is not None]
        timer, node = min(due)
        if self._flights and self._flights[0][0] <= timer:
            self.now, _, sender, node, packet = heapq.heappop(self._flights)
            self._rings[node].receive(packet, sender, self.now)
        else:
            self.now = max(self.now, timer)
            self._rings[node].expire(self.now)
        self._carry_out(node)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.step()

    def _carry_out(self, node: int) -> None:
        busy = 0.0
        for effect in self._rings[node].take_effects():
            match effect:
                case Multicast(packet):
                    size = units(len(packet.body), UNIT) if isinstance(packet, Mcast) else 1
                    busy += size * DATAGRAM
                    for to in effect.receivers(node, NODES):
                        self._launch(node, to, packet, size, busy)
                case Unicast(to, packet):
                    self._launch(node, to, packet, 1, busy)
                case Deliver(origin=origin, number=number) if origin == self.sender:
                    self.delivered[node].append((self.now, number))

    def _launch(self, sender: int, to: int, packet: AnyPacket, size: int, busy: float) -> None:
        if all(self._chance.random() >= self.loss for _ in range(size)):
            self._launched += 1
            heapq.heappush(self._flights, (self.now + busy + HOP, self._launched, sender, to, packet))


def throughput(loss: float, seconds: float = 1.0) -> float:
    """Deliveries per second at the slowest node, with one sender that never stops."""
    ring = LossyRing(1, loss)
    end = ring.now + seconds
    while ring.now < end:
        while ring.backlog < 400_000:
            ring.submit(8_192)
        ring.step()
    return min(len(each) for each in ring.delivered.values()) / seconds


def delays(loss: float, pause: float, count: int, sender: int, guarantee: Guarantee = Guarantee.AGREED) -> list[float]:
    """Seconds until everybody has a message, sorted; the next one is sent *pause* seconds after the last has come."""
    ring = LossyRing(2, loss, sender)
    took = []
    for _ in range(count):
        ring.run(pause)
        number, sent = ring.submit(64, guarantee), ring.now
        while not all(each and each[-1][1] == number for each in ring.delivered.values()):
            ring.step()
        took.append(ring.now - sent)
    return sorted(took)


def test_throughput_under_loss() -> None:
    whole = throughput(0.0)
    assert throughput(0.01) >= 0.75 * whole
    assert throughput(0.05) >= 0.40 * whole


@pytest.mark.parametrize(
    ("pause", "count", "sender"),
    [(0.0, 600, 2), (0.08, 200, 1), (0.08, 200, 2)],
    ids=["busy", "held here", "held there"],
)
def test_latency_under_loss(pause: float, count: int, sender: int) -> None:
    took = delays(0.01, pause, count, sender)
    assert took[count * 99 // 100] < 0.020
    assert took[-1] < 0.060, "nothing waits for one of the configured timeouts"


def test_who_misses_something_does_not_wait_for_the_only_sender() -> None:
    """Which keeps the token (decision 0020) and sends on: at each visit, for as long as it may."""
    ring = LossyRing(3, 0.01, sender=2)
    sent: dict[int, float] = {}
    came: dict[int, float] = {}
    for _ in range(3_000):
        ring.run(0.001)
        sent[ring.submit(64)] = ring.now
    ring.run(1.0)
    for each in ring.delivered.values():
        came = {number: max(at, came.get(number, 0.0)) for at, number in each}
    took = sorted(came[number] - at for number, at in sent.items())
    assert took[len(took) * 99 // 100] < 0.010


@pytest.mark.parametrize("sender", NODES)
def test_a_safe_message_does_not_wait_for_a_resting_token(sender: int) -> None:
    """Where a frame was lost the mark comes late, and the token must not rest before all have seen it twice."""
    took = delays(0.01, 0.08, 200, sender, Guarantee.SAFE)
    assert took[-1] < 0.080
