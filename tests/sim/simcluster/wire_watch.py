"""Invariants that can be seen on what nodes send (docs/totem.md §4, §9).

W1  two tokens with equal (ring, hop) never differ
W2  two frames with equal (ring, seq) never differ
W3  no packet leaves with a ring sequence that is not durable at its sender yet
W4  members do not send more than the window in one rotation, but for the one frame that each may always send
"""

from __future__ import annotations

from math import inf

from simcluster.history import RingKey
from simcluster.violation import Violation
from totemd.executive.totem.core.flow import units
from totemd.executive.totem.core.parameters import RingParameters
from totemd.executive.totem.wire.codec import MCAST_OVERHEAD_BYTES
from totemd.executive.totem.wire.packets import Alive, AnyPacket, CommitToken, Join, Mcast, Probe, Token


def flow_max(ring: RingParameters, nodes: int) -> int:
    """The window, and the one frame that each of *nodes* may always send."""
    return ring.window_size * ring.window_growth + nodes * units(
        ring.frame_bytes + MCAST_OVERHEAD_BYTES, ring.datagram_bytes
    )


class WireWatch:
    """Sees every packet that leaves a node."""

    def __init__(self, flow_max: float = inf) -> None:
        """*flow_max*: most units that members may send in one rotation."""
        self._flow_max = flow_max
        self.violations: list[Violation] = []
        self._tokens: dict[tuple[RingKey, int], Token] = {}
        self._frames: dict[tuple[RingKey, int], Mcast] = {}
        self._in_hand: dict[tuple[RingKey, int], int] = {}
        """By ring and node: new frames sent since it passed the token on last."""

    def sent(self, time: float, node: int, durable: int, packet: AnyPacket) -> None:
        """Node *node*, with ring sequence *durable* on its disk, sends *packet*."""
        if isinstance(packet, Probe | Alive):
            return  # they belong to no ring
        sequence = packet.ring_sequence if isinstance(packet, Join) else packet.ring.sequence
        if sequence > durable:
            self.violations.append(Violation("W3", time, f"node {node} sent {packet} with {durable} on disk"))
        if isinstance(packet, Token):
            if packet.flow > self._flow_max:
                what = f"node {node} sent {packet}; {self._flow_max} units are the most"
                self.violations.append(Violation("W4", time, what))
            name = RingKey(packet.ring.sequence, packet.ring.representative), packet.hop
            self._in_hand.pop((name[0], node), None)
            first = self._tokens.setdefault(name, packet)
            if first is not packet and first != packet:
                self.violations.append(Violation("W1", time, f"node {node} sent {packet}, another sent {first}"))
        elif isinstance(packet, Mcast):
            name = RingKey(packet.ring.sequence, packet.ring.representative), packet.seq
            frame = self._frames.setdefault(name, packet)
            if frame is packet:
                self._count(time, node, name[0])
            if frame is not packet and frame != packet:
                self.violations.append(Violation("W2", time, f"node {node} sent {packet}, another sent {frame}"))
        elif isinstance(packet, CommitToken) and packet.ring.representative != packet.members[0]:
            self.violations.append(Violation("W1", time, f"node {node} sent {packet}, not of its representative"))

    def _count(self, time: float, node: int, ring: RingKey) -> None:
        """Frames are counted besides what the token says of them, since a mistake may be in that; each is a unit."""
        frames = self._in_hand[ring, node] = self._in_hand.get((ring, node), 0) + 1
        if frames > self._flow_max:
            what = f"node {node} sent {frames} frames with one token of {ring}; {self._flow_max} units are the most"
            self.violations.append(Violation("W4", time, what))
