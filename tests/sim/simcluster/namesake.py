"""A second process with the id of a node of the cluster, at an address of its own: somebody's mistake.

It is a whole node, but what it does is in nobody's history: the cluster has to be as if it were not there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from simcluster.group_history import GroupHistory
from simcluster.history import Boots, History
from simcluster.network import Network
from simcluster.node import Node
from simcluster.options import Options
from simcluster.scheduler import Scheduler
from simcluster.trace import Trace
from simcluster.wire_watch import WireWatch
from simcluster.world import World
from totemd.executive.totem.wire.packets import AnyPacket

OTHER_CHANCES = 1 << 40
"""Added to the seed, so that it does not draw the same random bytes as the node whose id it has."""

SEALS = frozenset({"sealed", "unsealed"})
"""The wires on which packets say which boot they are of; on the others nobody could tell the two apart."""


class _Elsewhere:
    """The network as it is from another address than that of the node id."""

    def __init__(self, network: Network, address: int) -> None:
        self.nodes = network.nodes
        self._network = network
        self._address = address

    def send(self, _: int, receiver: int, packet: object, content: object) -> None:
        """Send from there."""
        self._network.send(self._address, receiver, packet, content)


class NamesakeNode(Node):
    """The second one."""

    def __init__(self, options: Options, scheduler: Scheduler, network: Network, number: int, address: int) -> None:
        own = replace(options, seed=options.seed + OTHER_CHANCES, groups=None, exchange="none")
        world = World(
            own, scheduler, History(), Trace(), WireWatch(), Counter(), GroupHistory(), Boots()
        )  # of all this nothing is looked at
        # It has as much of a network as nodes use.
        super().__init__(world, _Elsewhere(network, address), number)  # type: ignore[arg-type]

    def _send(
        self, packet: AnyPacket, receivers: tuple[int, ...], *, directed: bool = False, repeated: bool = False
    ) -> None:
        """To the real one, too: it is another machine."""
        self._wire.send(packet, receivers, self.now(), directed=directed, repeated=repeated)
