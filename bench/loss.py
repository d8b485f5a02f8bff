#!/usr/bin/env python3
"""What loss costs: throughput as a share of the lossless one, and latency, `bench/loss.py`.

Three real nodes, encryption on, a member on every node, one sender.  Every node drops each datagram that it receives
with the given probability: data, tokens, and all else.  A round measures every rate once, beginning with another one
each time, so that a share compares figures that lie seconds apart; the median of the rounds' shares counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchkit.account import machine
from benchkit.members import Members
from benchkit.systems import percentile
from totemd.testing import Cluster, Value

SENDER = 1
PINGS = 1_500
PING_BYTES = 64
IDLE_PINGS = 200
IDLE_PAUSE_SECONDS = 0.12
"""Silence before a message to a ring at rest; longer than the rotations after which the token is held."""

EVENTS = ("token.visited", "token.resent", "token.repeated", "token.requested", "mcast.retransmitted", "mcast.known")
"""What nodes count when the token passes, when they repeat something, or get something for the second time."""

SIZES = (64, 8_192)

Samples = dict[str, dict[str, list[float]]]
"""What was measured -> rate of loss -> one figure of each round."""


def shares(samples: Samples) -> dict[str, dict[str, float]]:
    """Each rate's figures as a share of the lossless one of the same round, the median of all rounds."""
    return {
        what: {
            rate: round(statistics.median(lossy / whole for lossy, whole in zip(figures, by_rate["0"], strict=True)), 3)
            for rate, figures in by_rate.items()
            if rate != "0"
        }
        for what, by_rate in samples.items()
    }


def delays(members: Members, count: int, pause: float = 0.0) -> dict[str, float]:
    """Milliseconds at the sender (there and back) and at the slowest of the others."""
    return {
        f"{place}_{name}_ms": round(percentile(sorted_us, share) / 1000, 2)
        for place, sorted_us in members.ping(PING_BYTES, count, SENDER, pause).items()
        for name, share in (("median", 0.5), ("p99", 0.99), ("max", 1.0))
    }


def repairs(cluster: Cluster) -> dict[str, int]:
    """How often the nodes have repeated something so far, all together."""
    family = "totemd_ring_events_total"
    return {event: round(sum(node.metric(family, event=event) for node in cluster)) for event in EVENTS}


def measure(cluster: Cluster, members: Members, options: argparse.Namespace) -> dict[str, Any]:
    """All rounds."""
    rates = ["0", *(f"{rate:g}" for rate in options.loss)]
    floods: Samples = {f"{size} B": {rate: [] for rate in rates} for size in options.sizes}
    latency: dict[str, list[dict[str, Any]]] = {rate: [] for rate in rates}
    for number in range(options.rounds):
        for rate in rates[number % len(rates) :] + rates[: number % len(rates)]:
            cluster.loss(float(rate) / 100)
            for size in options.sizes:
                before = repairs(cluster)
                figure = members.flood(size, options.seconds, [SENDER])["messages_per_second"]
                floods[f"{size} B"][rate].append(figure)
                rated = f"{figure:.0f} messages/s, {figure * size / 1e6:.2f} MB/s"
                say(f"round {number + 1}: loss {rate} %, {size} B: {rated}")
                say("    " + ", ".join(f"{event} {count - before[event]}" for event, count in repairs(cluster).items()))
            if options.latency:
                figures = {
                    "busy": delays(members, PINGS),
                    "idle": delays(members, IDLE_PINGS, IDLE_PAUSE_SECONDS),
                }
                latency[rate].append(figures)
                say(f"round {number + 1}: loss {rate} %, latency {figures}")
        cluster.heal()
    return {"messages_per_second": floods, "shares": shares(floods), "latency": latency}


def peer_report(command: str) -> Any:
    """What a command prints that measures another system's shares on this machine, in the same run."""
    done = subprocess.run(command, shell=True, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Throughput and latency of a cluster on this machine under loss.")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--loss", type=float, nargs="*", default=[1.0, 5.0], metavar="PERCENT")
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), metavar="BYTES")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long the sender sends each time")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="option: totem.token=1000")
    parser.add_argument("--no-latency", dest="latency", action="store_false")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--peer", metavar="COMMAND", help="also run this; it prints JSON with another system's figures")
    options = parser.parse_args()
    extra: dict[str, Value] = dict(each.split("=", 1) for each in options.set)
    with Cluster(options.nodes, options=extra) as cluster, Members(cluster) as members:
        report = {"machine": machine(), "nodes": options.nodes, **measure(cluster, members, options)}
    for what, by_rate in report["shares"].items():
        say(f"{what}: " + ", ".join(f"{100 * share:.0f} % at {rate} % loss" for rate, share in by_rate.items()))
    save(report, options.json)
    if options.peer:
        report["peer"] = peer_report(options.peer)
        save(report, options.json)
    print(json.dumps(report, indent=1))


def save(report: dict[str, Any], path: Path | None) -> None:
    """Write what is known so far: the peer's part takes long, and may fail."""
    if path is not None:
        path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
