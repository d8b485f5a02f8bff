"""Real clusters for tests: N nodes of totemd on this machine's loopback, each with its own processes.

    from totemd.testing import Cluster

    with Cluster(3, token=500) as cluster:
        with cluster[1].client() as client, client.join("chat") as group:
            cluster[3].kill()
            cluster.wait_for_ring({1, 2})

Nodes are started as their users start them, from configuration files in corosync's syntax; nothing is simulated.
Whatever happens in the `with` block, no process, socket or file is left when it ends.  For pytest there is the
fixture `totemd_cluster` (see `totemd.testing.plugin`).
"""

from __future__ import annotations

from .cluster import Cluster
from .configuration import Value
from .node import Node
from .waiting import NotInTime, wait_until

__all__ = ["Cluster", "Node", "NotInTime", "Value", "wait_until"]
