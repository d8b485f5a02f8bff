"""Loopback addresses that no other cluster on this machine uses.

All of 127.0.0.0/8 belongs to the loopback interface, so every cluster gets a network of its own, 127.A.B.0/24, and
node n the address 127.A.B.n.  A network is claimed by an abstract unix socket of that name: the kernel gives it to one
process only, in the same network namespace that the addresses belong to, and takes it back when that process ends.
"""

from __future__ import annotations

import random
import socket
from types import TracebackType

from ..ipc.errors import OperationFailed

NODES_MAX = 254
"""Nodes of one cluster."""

PORT = 5405
"""corosync's port, as long as it is free on the claimed addresses."""

PORTS_TRIED = 200
NETWORKS_TRIED = 1000

SECOND_OCTETS = range(64, 255)
"""Lower ones are left to people who number their nodes by hand."""


class Network:
    """A claimed 127.A.B.0/24 for nodes 1 to 254."""

    def __init__(self) -> None:
        chance = random.SystemRandom()
        for _ in range(NETWORKS_TRIED):
            prefix = f"127.{chance.choice(SECOND_OCTETS)}.{chance.randrange(256)}"
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                claim.bind(f"\0totemd-testing-{prefix}")
            except OSError:
                claim.close()
                continue
            self._claim = claim
            self.prefix = prefix
            return
        raise OperationFailed(f"no free loopback network in {NETWORKS_TRIED} attempts")

    def address(self, node_id: int) -> str:
        """The address of a node."""
        if not 1 <= node_id <= NODES_MAX:
            raise OperationFailed(f"a cluster for tests has nodes 1 to {NODES_MAX}, not {node_id}")
        return f"{self.prefix}.{node_id}"

    def close(self) -> None:
        """Give the network back."""
        self._claim.close()

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def free_port(addresses: list[str]) -> int:
    """A UDP port that is free, with its neighbour below (which corosync uses too), on all *addresses*."""
    for port in range(PORT, PORT + 2 * PORTS_TRIED, 2):
        if all(_is_free(address, each) for address in addresses for each in (port, port - 1)):
            return port
    raise OperationFailed(f"no free UDP port from {PORT} on for {', '.join(addresses)}")


def _is_free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
