"""What the flight recorder costs: `python bench/recorder.py`.

Two clusters of three nodes stand side by side, one records and one does not; only one is given load at a time.  They
take turns, each pair in the other order than the one before, and the ratio of each pair counts: so whatever else
happens on the machine meets both alike.  On a machine that has other work, the processors' time that the nodes take
for a message says more than their throughput.  The load is that of throughput.py.  `--profile` times the core alone
instead, in seconds of its processor.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from throughput import COUNTS, Members, machine, measure_flood
from totemd.executive.totem.core.parameters import RingParameters
from totemd.executive.totem.core.ring import Ring
from totemd.executive.totem.core.submission import Submission
from totemd.executive.totem.recorder.ring import RecordedRing
from totemd.executive.totem.recorder.tape import buffer_bytes
from totemd.ipc.ids import Guarantee
from totemd.ipc.messages.stream import Lane
from totemd.testing import Cluster

SIZES = (64, 8_192)
ROUNDS = 6
CORE_ROUNDS = 3_000
CORE_MESSAGE = bytes(60_000)


def pairs(size: int, rounds: int, scale: float, sides: dict[str, tuple[Cluster, Members]]) -> dict[str, Any]:
    """Throughput with and without, in turns."""
    count = max(2, round(scale * COUNTS[size]))
    seen: dict[str, list[float]] = {"on": [], "off": []}
    cpu: dict[str, list[float]] = {"on": [], "off": []}
    for round_ in range(rounds):
        for side in ("on", "off") if round_ % 2 else ("off", "on"):
            cluster, members = sides[side]
            measured = measure_flood(cluster, members, size, count)
            seen[side].append(measured["messages_per_second"])
            cpu[side].append(measured["server_cpu_us_per_message"])
        figures = (seen["off"][-1], seen["on"][-1], cpu["off"][-1], cpu["on"][-1])
        print(f"{size:>9}" + "".join(f" {figure:>9}" for figure in figures), file=sys.stderr)
    ratios = [on / off for on, off in zip(seen["on"], seen["off"], strict=True)]
    return {
        "count": count,
        "without": seen["off"],
        "with": seen["on"],
        "median_ratio": round(statistics.median(ratios), 4),
        "ratio_of_medians": round(statistics.median(seen["on"]) / statistics.median(seen["off"]), 4),
        "server_cpu_us_per_message_without": cpu["off"],
        "server_cpu_us_per_message_with": cpu["on"],
        "cpu_ratio_of_medians": round(statistics.median(cpu["on"]) / statistics.median(cpu["off"]), 4),
    }


def alone() -> dict[str, float]:
    """Microseconds of the core alone for each message of 60 kB: a ring of one, every frame of it recorded."""
    parameters = RingParameters(1, 1.0, 0.2, 0.15, 0.05, 1.2, 0.2)

    def plain() -> Ring:
        return Ring(parameters, 1, lambda: 0.5)

    def recorded() -> Ring:
        ring = RecordedRing(parameters, 1, lambda: 0.5)
        ring.record(bytearray(buffer_bytes(8 << 20)))
        return ring

    seen: dict[str, list[float]] = {"plain": [], "recorded": []}
    makers: dict[str, Callable[[], Ring]] = {"plain": plain, "recorded": recorded}
    for _ in range(5):
        for name, make in makers.items():
            ring, now = make(), 0.0
            ring.start(now)
            for _ in range(50):
                now = max(now, ring.next_deadline() or now)
                ring.expire(now)
            ring.services_synchronised(now)
            began = time.process_time()
            for _ in range(CORE_ROUNDS):
                ring.submit(Submission(1, Lane.APPLICATION, Guarantee.AGREED, CORE_MESSAGE), now)
                while ring.backlog_bytes:
                    now = max(now, ring.next_deadline() or now)
                    ring.expire(now)
                ring.take_effects()
            seen[name].append((time.process_time() - began) / CORE_ROUNDS * 1e6)
    return {name: round(min(values), 2) for name, values in seen.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Throughput with and without the flight recorder, in turns.")
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), metavar="BYTES", choices=list(COUNTS))
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"pairs per size (default {ROUNDS})")
    parser.add_argument("--scale", type=float, default=1.0, help="send so many times the usual number of messages")
    parser.add_argument("--profile", action="store_true", help="the core alone, without a cluster")
    options = parser.parse_args()
    if options.profile:
        print(json.dumps(alone()))
        return
    with contextlib.ExitStack() as stack:
        sides: dict[str, tuple[Cluster, Members]] = {}
        for side in ("off", "on"):
            cluster = stack.enter_context(Cluster(3, options={"logging.blackbox": side}, faults=False))
            cluster.wait_for_ring()
            sides[side] = cluster, stack.enter_context(contextlib.closing(Members(cluster)))
        print(f"{'bytes':>9} {'off':>9} {'on':>9} {'off':>9} {'on':>9}  messages/s, CPU us", file=sys.stderr)
        report = {size: pairs(size, options.rounds, options.scale, sides) for size in options.sizes}
    print(json.dumps({"machine": machine(), "nodes": 3, "sched_rr": "no", "pairs": report}, indent=1))


if __name__ == "__main__":
    main()
