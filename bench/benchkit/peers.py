"""corosync beside totemd: measured by a peer harness, in the same run.

A harness is a folder with `baseline.py` (corosync's clusters), `cpg_load.py`, `pbrun.py` and `pblib.py`.  Its names of
figures and ours are told apart by `NAMES` only; both count alike (docs/performance.md, "How a figure comes about").
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .members import BenchError
from .systems import CONNECTS, Effort, Sample
from .workload import Cell, What

NAMES = {
    "messages": "msgs",
    "messages_per_second": "msgs_s",
    "megabytes_per_second": "mb_s",
    "server_cpu_seconds_per_100k": "cpu_servers_per_100k",
    "server_cpu_seconds_per_mb": "cpu_servers_per_mb",
    "near_p50_us": "p50_us",
    "near_p99_us": "p99_us",
    "far_p50_us": "far_p50_us",
    "far_p99_us": "far_p99_us",
    "server_cpu_us_per_message": "cpu_servers_us",
    "connect_ms": "connect_ms",
    "join_ms": "join_ms",
    "foreign_share": "foreign",
}
"""Our name of a figure -> the harness's."""

LATENCIES = ("near_p50_us", "near_p99_us", "far_p50_us", "far_p99_us")
"""Figures of one outstanding message; a harness has some of them for floods too, where they are the queue's."""

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "corosync knet aes256/sha256": {"transport": "knet", "crypto": "aes256:sha256"},
    "corosync udpu plain": {"transport": "udpu"},
}

JUMBO: dict[str, dict[str, Any]] = {
    "corosync knet aes256/sha256 MTU 9000": {"transport": "knet", "crypto": "aes256:sha256", "mtu": 9_000},
    "corosync udpu plain MTU 9000": {"transport": "udpu", "mtu": 9_000, "totem": ["netmtu: 8900"]},
}


class Harness:
    """The modules of a harness."""

    def __init__(self, folder: Path) -> None:
        sys.path.insert(0, str(folder.resolve()))
        try:
            import baseline  # type: ignore[import-not-found]  # noqa: PLC0415
            import cpg_load  # type: ignore[import-not-found]  # noqa: PLC0415
            import pblib  # type: ignore[import-not-found]  # noqa: PLC0415
            import pbrun  # type: ignore[import-not-found]  # noqa: PLC0415
        except ImportError as error:
            raise SystemExit(f"{folder}: no peer harness with baseline.py and what belongs to it: {error}") from None
        self.baseline, self.load, self.lib, self.run = baseline, cpg_load, pblib, pbrun

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Its network is ours; ends with a word (SystemExit) where corosync or something else is missing."""
        self.lib.require("corosync", "ip", "nft", "unshare", "nsenter", "gcc", "/usr/include/corosync/cpg.h")
        with self.lib.flock("net-" + self.lib.PREFIX):
            yield


class Corosync:
    """corosync in one configuration; see `systems.System`."""

    def __init__(self, harness: Harness, name: str, options: Mapping[str, Any]) -> None:
        self.name = name
        self._harness = harness
        self._adapter = harness.baseline.Corosync(name, **options)
        self._nodes = 0

    def up(self, nodes: int) -> None:
        """See `System.up`; members are started for every measurement."""
        self._nodes = nodes
        self._adapter.up(nodes)

    def down(self) -> None:
        """See `System.down`."""
        if self._nodes:
            self._nodes = 0
            self._adapter.down()

    def measure(self, cell: Cell, effort: Effort) -> Sample:
        """See `System.measure`."""
        try:
            return self._measure(cell, effort)
        except (RuntimeError, OSError, ValueError) as error:
            raise BenchError(f"{type(error).__name__}: {error}") from error

    def _measure(self, cell: Cell, effort: Effort) -> Sample:
        match cell.what:
            case What.ONE | What.EVERY:
                found = self._adapter.flood(cell.size, effort.seconds, cell.what is What.EVERY)
                if not found["same_order"]:
                    raise BenchError("the members did not receive the same in the same order")
                members = {f"member_cpu_seconds_per_{unit}": _members_part(found, unit) for unit in ("100k", "mb")}
                floods = {name: figure for name, figure in translated(found).items() if name not in LATENCIES}
                return {**floods, **members, "megabytes": found["bytes"] / 1e6}
            case What.LATENCY:
                return self._latency(cell.size, effort.pings)
            case What.CONNECT:
                return translated(self._harness.baseline.connects(self._adapter.nodes, CONNECTS))
            case What.REST | What.LOADED:
                return self._resources(effort.rest_seconds if cell.what is What.REST else 0.0)

    def _latency(self, size: int, count: int) -> Sample:
        cluster = self._adapter.nodes
        roles = {node: node == 1 for node in cluster.ids()}
        answers = self._harness.load.run_members(cluster, roles, "c", 60, mode="latency", size=size, count=count)
        if len({(each["chain"], each["msgs"]) for each in answers["members"]}) != 1:
            raise BenchError("the members did not receive the same in the same order")
        found = self._harness.run.summarize_latency(answers, roles)
        alone = {f"far_{name}_us": found[f"{name}_us"] for name in ("p50", "p99")} if len(roles) == 1 else {}
        return translated({**found, **alone})

    def _resources(self, seconds: float) -> Sample:
        pids, lib = self._adapter.pids(), self._harness.lib
        sample: Sample = {"rss_mib_per_node": sum(map(lib.rss_mib, pids)) / self._nodes}
        if seconds:
            with lib.Meter(servers=pids) as meter:
                time.sleep(seconds)
            sample["cpu_percent_per_node"] = 100 * meter.cpu["servers"] / meter.wall / self._nodes
        return sample


def translated(found: Mapping[str, Any]) -> Sample:
    """A harness's sample under our names."""
    return {ours: found[theirs] for ours, theirs in NAMES.items() if found.get(theirs) is not None}


def for_harness(sample: Mapping[str, float]) -> dict[str, Any]:
    """Our sample under a harness's names; everything that we have is of one order."""
    found: dict[str, Any] = {theirs: sample[ours] for ours, theirs in NAMES.items() if ours in sample}
    for unit in ("100k", "mb"):
        if f"member_cpu_seconds_per_{unit}" in sample:
            both = sample[f"server_cpu_seconds_per_{unit}"] + sample[f"member_cpu_seconds_per_{unit}"]
            found[f"cpu_all_per_{unit}"] = both
    return {**found, "same_order": True}


def _members_part(found: Mapping[str, Any], unit: str) -> float:
    return float(found[f"cpu_all_per_{unit}"] - found[f"cpu_servers_per_{unit}"])
