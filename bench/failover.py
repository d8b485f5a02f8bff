#!/usr/bin/env python3
"""How soon survivors are told that a node is gone, `bench/failover.py`.

Real nodes on this machine, corosync's default timeouts (`token: 1000`, 650 ms more for each node beyond two), a member
of one group on every node.  Three faults: the totem process is killed; all processes of the node are killed; the node
is cut off from the network.  A figure is the time from the fault until the last survivor's member has got the
configuration change, the median of all rounds.

With `--peer DIR` corosync is measured beside it, round by round.  DIR holds a program `corosync-cluster` that knows `up
N --token MS`, `kill I`, `start I`, `partition 1,2|3`, `heal` and `down`, and keeps below $PBENCH_DIR the logs of its
nodes, `…/I/corosync.log` or with I in the folder's name, timestamp hires.  There a fault counts from the end of the
command that makes it, and the change from the log line, which are both in corosync's favour; `command` says how long
the commands took.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import totemd
from totemd.testing import Cluster

VICTIM = 2
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.002
SETTLE_SECONDS = 2.0
"""Quiet before a fault: the ring is idle, as it is most of the time."""

FAULTS = ("totem", "family", "link")


class Members:
    """A member on each node."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._clients: dict[int, totemd.Client] = {}
        self._groups: dict[int, totemd.Group] = {}

    def join(self) -> None:
        """Everybody is a member (again)."""
        for node in self._cluster:
            if node.node_id not in self._groups:
                client = self._clients[node.node_id] = node.client()
                self._groups[node.node_id] = client.join("failover")
        self._drain(SETTLE_SECONDS)

    def told(self, victim: int, began: float) -> float:
        """Seconds from *began* until every survivor was told that *victim* is gone."""
        del self._groups[victim]
        waiting = dict(self._groups)
        while waiting:
            for node, group in list(waiting.items()):
                event = _next(group)
                if isinstance(event, totemd.ConfigChange) and any(each.node_id == victim for each in event.left):
                    del waiting[node]
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise SystemExit(f"nodes {sorted(waiting)} were not told")
            time.sleep(POLL_SECONDS)
        took = time.monotonic() - began
        self._clients.pop(victim).close()
        return took

    def _drain(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for group in self._groups.values():
                _next(group)
            time.sleep(POLL_SECONDS)


def _next(group: totemd.Group) -> object:
    with contextlib.suppress(TimeoutError, totemd.NotMember):
        return group.receive(timeout=0)
    return None


def ours(nodes: int, rounds: int, token: int) -> Iterator[tuple[str, float]]:
    """(fault, seconds), round by round."""
    with Cluster(nodes, token=token) as cluster:
        members = Members(cluster)
        strikes: dict[str, Callable[[], None]] = {
            "totem": lambda: os.kill(totem_pid, signal.SIGKILL),
            "family": lambda: _kill_all(pids),
            "link": lambda: cluster.partition([VICTIM], set(cluster.nodes) - {VICTIM}),
        }
        for _ in range(rounds):
            for fault, strike in strikes.items():
                members.join()
                totem_pid = cluster[VICTIM].pid("totem")
                pids = [each.pid for each in cluster[VICTIM].processes()]
                began = time.monotonic()
                strike()
                yield fault, members.told(VICTIM, began)
                cluster.heal()
                if fault == "family":
                    cluster[VICTIM].wait()
                    cluster[VICTIM].start()
                cluster.wait_for_ring()


def _kill_all(pids: list[int]) -> None:
    os.kill(pids[0], signal.SIGSTOP)  # it must not start anybody again meanwhile
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


class Peer:
    """corosync, through the program of a directory."""

    def __init__(self, directory: Path, nodes: int, token: int) -> None:
        self._program = directory / "corosync-cluster"
        self._state = tempfile.mkdtemp(prefix="failover-")
        self._nodes = nodes
        self.command_seconds: list[float] = []
        """How long the commands took that made a fault: a figure is too short by at most that."""
        self._run("up", str(nodes), "--token", str(token), "--no-rt")

    def rounds(self, rounds: int) -> Iterator[tuple[str, float]]:
        """(fault, seconds), round by round."""
        others = ",".join(str(node) for node in range(1, self._nodes + 1) if node != VICTIM)
        faults = {"family": ("kill", str(VICTIM)), "link": ("partition", f"{others}|{VICTIM}")}
        for _ in range(rounds):
            for fault, command in faults.items():
                time.sleep(SETTLE_SECONDS)
                asked = time.time()
                self._run(*command)
                began = time.time()
                self.command_seconds.append(began - asked)
                yield fault, self._changed(self._nodes - 1, began) - began
                self._run("start", str(VICTIM)) if fault == "family" else self._run("heal")
                self._changed(self._nodes, time.time())

    def close(self) -> None:
        """Away with it."""
        self._run("down")

    def _changed(self, size: int, since: float) -> float:
        """When the last of the survivors had a membership of *size*."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            times = [self._installed(log, size, since) for log in self._logs()]
            if len(times) >= self._nodes - 1 and None not in times:
                return max(each for each in times if each is not None)
            time.sleep(0.05)
        raise SystemExit(f"no membership of {size} within {PATIENCE_SECONDS:g} s")

    def _logs(self) -> list[Path]:
        found = sorted(Path(self._state).rglob("corosync.log"))
        return [log for log in found if not re.search(rf"(^|\D){VICTIM}$", log.parent.name)]

    def _installed(self, log: Path, size: int, since: float) -> float | None:
        for line in reversed(log.read_text(errors="replace").splitlines()):
            if f"Members[{size}]" in line:
                stamp = datetime.strptime(f"{datetime.now().year} {line[:19]}", "%Y %b %d %H:%M:%S.%f")
                return stamp.timestamp() if stamp.timestamp() >= since - 1 else None
        return None

    def _run(self, *arguments: str) -> None:
        environment = {**os.environ, "PBENCH_DIR": self._state, "PBENCH_PREFIX": "fo", "PBENCH_NET": "10.96.3"}
        subprocess.run([self._program, *arguments], check=True, env=environment, stdout=subprocess.DEVNULL)


def report(figures: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Median and extremes."""
    return {
        fault: {
            "median": round(statistics.median(times), 3),
            "least": round(min(times), 3),
            "most": round(max(times), 3),
        }
        for fault, times in figures.items()
    }


def main() -> None:
    """One line of JSON for each size and system."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[3, 5, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--token", type=int, default=1000, metavar="MS")
    parser.add_argument("--peer", type=Path, metavar="DIR", help="measure corosync too, with the program in DIR")
    chosen = parser.parse_args()
    for nodes in chosen.nodes:
        measured: dict[str, list[float]] = {}
        for fault, seconds in ours(nodes, chosen.rounds, chosen.token):
            measured.setdefault(fault, []).append(seconds)
        print(json.dumps({"nodes": nodes, "system": "totemd", **report(measured)}), flush=True)
        if chosen.peer:
            peer = Peer(chosen.peer.resolve(), nodes, chosen.token)
            try:
                measured = {}
                for fault, seconds in peer.rounds(chosen.rounds):
                    measured.setdefault(fault, []).append(seconds)
                figures = report({**measured, "command": peer.command_seconds})
                print(json.dumps({"nodes": nodes, "system": "corosync", **figures}), flush=True)
            finally:
                peer.close()


if __name__ == "__main__":
    main()
