#!/usr/bin/env python3
"""What the flight recorder costs: `python bench/recorder.py`.

Two clusters stand side by side, one records and one does not; only one is given load at a time.  They
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

from benchkit.account import machine
from benchkit.systems import Effort, Totemd
from benchkit.workload import SIZES, Cell, What
from totemd.executive.totem.core.parameters import RingParameters
from totemd.executive.totem.core.ring import Ring
from totemd.executive.totem.core.submission import Submission
from totemd.executive.totem.recorder.ring import RecordedRing
from totemd.executive.totem.recorder.tape import buffer_bytes
from totemd.ipc.ids import Guarantee
from totemd.ipc.messages.stream import Lane

CHOSEN_SIZES = (64, 8_000)
NODES = 3
ROUNDS = 6
CORE_MESSAGES = 3_000
CORE_MESSAGE = bytes(60_000)


MICROSECONDS_PER_100K = 10.0
"""Of one message, where a hundred thousand took a second."""


def pairs(size: int, rounds: int, seconds: float, sides: dict[str, Totemd]) -> dict[str, Any]:
    """Throughput with and without, in turns."""
    seen: dict[str, list[float]] = {"on": [], "off": []}
    cpu: dict[str, list[float]] = {"on": [], "off": []}
    for round_ in range(rounds):
        for side in ("on", "off") if round_ % 2 else ("off", "on"):
            measured = sides[side].measure(Cell(What.ONE, size), Effort(seconds))
            seen[side].append(round(measured["messages_per_second"]))
            cpu[side].append(round(MICROSECONDS_PER_100K * measured["server_cpu_seconds_per_100k"], 2))
        figures = (seen["off"][-1], seen["on"][-1], cpu["off"][-1], cpu["on"][-1])
        print(f"{size:>9}" + "".join(f" {figure:>9}" for figure in figures), file=sys.stderr)
    ratios = [on / off for on, off in zip(seen["on"], seen["off"], strict=True)]
    return {
        "without": seen["off"],
        "with": seen["on"],
        "median_ratio": round(statistics.median(ratios), 4),
        "ratio_of_medians": round(statistics.median(seen["on"]) / statistics.median(seen["off"]), 4),
        "server_cpu_us_per_message_without": cpu["off"],
        "server_cpu_us_per_message_with": cpu["on"],
        "cpu_ratio_of_medians": round(statistics.median(cpu["on"]) / statistics.median(cpu["off"]), 4),
    }


def alone(messages: int) -> dict[str, float]:
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
            for _ in range(messages):
                ring.submit(Submission(1, Lane.APPLICATION, Guarantee.AGREED, CORE_MESSAGE), now)
                while ring.backlog_bytes:
                    now = max(now, ring.next_deadline() or now)
                    ring.expire(now)
                ring.take_effects()
            seen[name].append((time.process_time() - began) / messages * 1e6)
    return {name: round(min(values), 2) for name, values in seen.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Throughput with and without the flight recorder, in turns.")
    parser.add_argument("--nodes", type=int, default=NODES, help=f"of each cluster (default {NODES})")
    parser.add_argument("--sizes", type=int, nargs="*", default=list(CHOSEN_SIZES), metavar="BYTES", choices=SIZES)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"pairs per size (default {ROUNDS})")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each flood")
    parser.add_argument("--profile", action="store_true", help="the core alone, without a cluster")
    parser.add_argument("--core-rounds", type=int, default=CORE_MESSAGES, help="messages of a round of --profile")
    options = parser.parse_args()
    if options.profile:
        print(json.dumps(alone(options.core_rounds)))
        return
    with contextlib.ExitStack() as stack:
        sides: dict[str, Totemd] = {}
        for side in ("off", "on"):
            sides[side] = Totemd(namespaces=False, options={"logging.blackbox": side})
            stack.callback(sides[side].down)
            sides[side].up(options.nodes)
        print(f"{'bytes':>9} {'off':>9} {'on':>9} {'off':>9} {'on':>9}  messages/s, CPU us", file=sys.stderr)
        report = {size: pairs(size, options.rounds, options.seconds, sides) for size in options.sizes}
    print(json.dumps({"machine": machine(), "nodes": options.nodes, "sched_rr": "no", "pairs": report}, indent=1))


if __name__ == "__main__":
    main()
