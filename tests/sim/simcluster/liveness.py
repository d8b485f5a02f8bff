"""What must be true once the faults have stopped (docs/totem.md §9).

L1  all nodes operational in one ring of all of them       L4  no further configuration change for 10 T
L2  the state exchange of that ring is complete            L5  an idle ring's traffic is a token per hold time
L3  everything that the living submitted is delivered, and nothing waits
L6  where the network stays in pieces, the same holds for each of them
L7  is about links that are broken for good: see `lopsided`
"""

from __future__ import annotations

from collections.abc import Sequence

from simcluster import group_liveness
from simcluster.node import Node
from simcluster.services import ring_key
from totemd.executive.totem.core.context import RingState

SETTLED_TOKEN_TIMEOUTS = 10
"""L4: for so many token timeouts nothing may change."""

DRAIN_SECONDS_MAX = 20.0
"""L3: queues are empty so long after the bound of L1, or after the last message that got its place.

L2, too, where there are many nodes: how long an exchange takes depends on how many frames it is.
"""

IDLE_TRAFFIC_FACTOR = 4
"""L5: tokens may be this many times more than one rotation per hold time, since retransmissions are allowed."""


def problem(nodes: Sequence[Node]) -> tuple[str, str] | None:
    """What does not hold now in one component of the network, L1 to L3 or the groups' L8 to L10, and why; None: all."""
    machines = [node.machine for node in nodes if node.machine is not None]
    return (
        _one_ring(nodes)
        or _synchronised(nodes)
        or _delivered(nodes)
        or (group_liveness.problem(machines) if machines else None)
    )


def originated(nodes: Sequence[Node]) -> int:
    """How many frames the living have given a place.  There is an end to it once nobody submits any more."""
    return sum(node.ring.counters["mcast.originated"] for node in nodes if node.ring is not None)


def _one_ring(nodes: Sequence[Node]) -> tuple[str, str] | None:
    everybody = tuple(node.id for node in nodes)
    cores = [(node.id, node.ring) for node in nodes]
    states = "; ".join(
        f"node {number}: down" if ring is None else f"node {number}: {ring.state.value} {ring.installed} {ring.members}"
        for number, ring in cores
    )
    rings = {ring.installed if ring is not None else None for _, ring in cores}
    for _, ring in cores:
        if ring is None or ring.state is not RingState.OPERATIONAL or ring.members != everybody or len(rings) != 1:
            return "L1", f"no ring of all nodes: {states}"
    return None


def _synchronised(nodes: Sequence[Node]) -> tuple[str, str] | None:
    for node in nodes:
        assert node.ring is not None
        assert node.services is not None
        if node.services.opened != ring_key(node.ring.installed):
            return "L2", f"node {node.id} has not completed the state exchange of {node.ring.installed}"
    return None


def _delivered(nodes: Sequence[Node]) -> tuple[str, str] | None:
    for node in nodes:
        assert node.ring is not None
        assert node.services is not None
        if node.services.undelivered or node.ring.backlog_bytes:
            waiting = ", ".join(str(message) for message in list(node.services.undelivered)[:5])
            return "L3", f"node {node.id}: {node.ring.backlog_bytes} bytes wait; undelivered: {waiting or 'none'}"
    return None
