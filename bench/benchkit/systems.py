"""A system that is measured: totemd, with everything that a measurement of it needs.

`peers.py` has the same for corosync.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from totemd.testing import Cluster, Value
from totemd.testing.namespaces import MTU, Namespaces

from .account import Meter, rss_mib
from .members import BenchError, Members
from .workload import Cell, What

PORT = 5405
"""corosync's; in the namespaces is nobody else."""

MTU_MARGIN_BYTES = 100
"""What `netmtu` is below an MTU that is not Ethernet's, for the headers of IP and UDP and to be on the safe side."""

CONNECTS = 20
"""Fresh clients of one measurement."""

N = TypeVar("N", int, float)

Sample = dict[str, float]
"""Name of a figure -> its value; units are in the names."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long the single measurements are."""

    seconds: float = 2.0
    pings: int = 1_000
    rest_seconds: float = 2.0


class System(Protocol):
    """One system in one configuration."""

    name: str
    """Unique in a run."""

    def up(self, nodes: int) -> None:
        """Start a cluster, with a member on every node."""

    def measure(self, cell: Cell, effort: Effort) -> Sample:
        """One figure.

        Raises:
            BenchError: there is none; above all if the members did not receive the same in the same order.
        """

    def down(self) -> None:
        """End it.  Harmless when there is none."""


class Totemd:
    """totemd.

    Each node is in a network namespace of its own (*namespaces*, needs root), or has a loopback address of its own.
    *cipher* is `aes256`, `none` and whatever else the configuration knows.  *environment* is added to that of all nodes
    and members.
    """

    def __init__(
        self,
        cipher: str = "aes256",
        *,
        namespaces: bool,
        mtu: int = MTU,
        options: Mapping[str, Value] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = " ".join(
            ["totemd", "plain" if cipher == "none" else cipher, *([] if mtu == MTU else [f"MTU {mtu}"])]
        )
        self._mtu = mtu
        self._namespaces = namespaces
        self._options: dict[str, Value] = {"totem.crypto_cipher": cipher}
        if cipher == "none":
            self._options["totem.crypto_hash"] = "none"
        if mtu != MTU:
            self._options["totem.netmtu"] = mtu - MTU_MARGIN_BYTES
        self._options |= options or {}
        self._environment = dict(environment or {})
        self._up = contextlib.ExitStack()
        self._cluster: Cluster | None = None
        self._members: Members | None = None

    def up(self, nodes: int) -> None:
        """See `System.up`."""
        with contextlib.ExitStack() as building:
            if self._namespaces:
                network = building.enter_context(Namespaces(nodes, mtu=self._mtu))
                cluster = Cluster(
                    nodes,
                    options=self._options,
                    addresses=list(network.addresses.values()),
                    launchers={node: network.launcher(node) for node in network.addresses},
                    port=PORT,
                    faults=False,
                    environment=self._environment,
                )
            else:
                cluster = Cluster(nodes, options=self._options, faults=False, environment=self._environment)
            self._cluster = building.enter_context(cluster)
            self._members = building.enter_context(Members(cluster, self._environment))
            self._up = building.pop_all()

    def down(self) -> None:
        """See `System.down`."""
        self._up.close()
        self._cluster = self._members = None

    def run_dirs(self) -> dict[int, Path]:
        """Of all nodes."""
        return {node.node_id: node.run_dir for node in self._running()[0]}

    def pids(self) -> list[int]:
        """All processes of all nodes."""
        return [process.pid for node in self._running()[0] for process in node.processes()]

    def measure(self, cell: Cell, effort: Effort) -> Sample:
        """See `System.measure`."""
        _, members = self._running()
        match cell.what:
            case What.ONE:
                return self._flood(cell.size, effort.seconds, members.nodes[:1])
            case What.EVERY:
                return self._flood(cell.size, effort.seconds, members.nodes)
            case What.LATENCY:
                return self._latency(cell.size, effort.pings)
            case What.CONNECT:
                times = members.connect(CONNECTS, members.nodes[0])
                return {f"{name}_ms": 1_000 * statistics.median(seconds) for name, seconds in times.items()}
            case What.REST | What.LOADED:
                return self._resources(effort.rest_seconds if cell.what is What.REST else 0.0)

    def _flood(self, size: int, seconds: float, senders: Sequence[int]) -> Sample:
        _, members = self._running()
        with self._meter() as meter:
            flood = members.flood(size, seconds, senders)
        return {**flood, **costs(flood, meter.used), "foreign_share": meter.foreign_share}

    def _latency(self, size: int, count: int) -> Sample:
        _, members = self._running()
        with self._meter() as meter:
            delays = members.ping(size, count, members.nodes[0])
        figures = {
            f"{place}_{name}_us": float(percentile(sorted_us, share))
            for place, sorted_us in delays.items()
            for name, share in (("p50", 0.5), ("p99", 0.99))
        }
        used = meter.used["servers"] / count * 1e6
        return {**figures, "server_cpu_us_per_message": used, "foreign_share": meter.foreign_share}

    def _resources(self, seconds: float) -> Sample:
        cluster, _ = self._running()
        nodes = len(cluster)
        sample = {"rss_mib_per_node": rss_mib(self.pids()) / nodes}
        if seconds:
            with self._meter() as meter:
                time.sleep(seconds)
            sample["cpu_percent_per_node"] = 100 * meter.used["servers"] / seconds / nodes
        return sample

    def _meter(self) -> Meter:
        return Meter({"servers": self.pids(), "members": self._running()[1].pids})

    def _running(self) -> tuple[Cluster, Members]:
        if self._cluster is None or self._members is None:
            raise BenchError("there is no cluster")
        return self._cluster, self._members


def costs(flood: Mapping[str, float], used: Mapping[str, float]) -> Sample:
    """Processor seconds of servers and members, by the message and by the megabyte that each member received."""
    return {
        f"{who[:-1]}_cpu_seconds_per_{unit}": seconds / amount
        for who, seconds in used.items()
        for unit, amount in (("100k", flood["messages"] / 1e5), ("mb", flood["megabytes"]))
    }


def percentile(in_order: Sequence[N], share: float) -> N:
    """Of sorted values: the one below which *share* of them are."""
    return in_order[min(len(in_order) - 1, int(share * len(in_order)))]
