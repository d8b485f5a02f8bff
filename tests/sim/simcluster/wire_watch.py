"""Invariants that can be seen on what nodes send (docs/totem.md §4, §9).

W1  two tokens with equal (ring, hop) never differ
W2  two frames with equal (ring, seq) never differ
W3  no packet leaves with a ring sequence that is not durable at its sender yet
"""

from __future__ import annotations

from simcluster.history import RingKey
from simcluster.violation import Violation
from totemd.executive.totem.wire.packets import AnyPacket, CommitToken, Join, Mcast, Token


class WireWatch:
    """Sees every packet that leaves a node."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self._tokens: dict[tuple[RingKey, int], Token] = {}
        self._frames: dict[tuple[RingKey, int], Mcast] = {}

    def sent(self, time: float, node: int, durable: int, packet: AnyPacket) -> None:
        """Node *node*, with ring sequence *durable* on its disk, sends *packet*."""
        sequence = packet.ring_sequence if isinstance(packet, Join) else packet.ring.sequence
        if sequence > durable:
            self.violations.append(Violation("W3", time, f"node {node} sent {packet} with {durable} on disk"))
        if isinstance(packet, Token):
            name = RingKey(packet.ring.sequence, packet.ring.representative), packet.hop
            first = self._tokens.setdefault(name, packet)
            if first is not packet and first != packet:
                self.violations.append(Violation("W1", time, f"node {node} sent {packet}, another sent {first}"))
        elif isinstance(packet, Mcast):
            name = RingKey(packet.ring.sequence, packet.ring.representative), packet.seq
            frame = self._frames.setdefault(name, packet)
            if frame is not packet and frame != packet:
                self.violations.append(Violation("W2", time, f"node {node} sent {packet}, another sent {frame}"))
        elif isinstance(packet, CommitToken) and packet.ring.representative != packet.members[0]:
            self.violations.append(Violation("W1", time, f"node {node} sent {packet}, not of its representative"))
