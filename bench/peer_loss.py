#!/usr/bin/env python3
"""What is left of corosync's throughput under loss, for `bench/loss.py --peer "bench/peer_loss.py DIR"`.

DIR is a peer harness (docs/performance.md); needs root.  Each node drops what it receives, of any kind, at random.
Prints JSON: of each configuration the messages a second by size and loss, and their shares of the lossless figure.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchkit.members import BenchError
from benchkit.peers import CONFIGURATIONS, Corosync, Harness
from benchkit.systems import Effort
from benchkit.workload import Cell, What
from loss import SIZES, Samples, shares

RATES = (0.0, 1.0, 5.0)
NODES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description="corosync's throughput under loss, as JSON.")
    parser.add_argument("harness", type=Path, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    harness, report = Harness(options.harness), dict[str, Any]()
    with harness.claimed():
        for name, choices in CONFIGURATIONS.items():
            floods: Samples = {f"{size} B": {f"{rate:g}": [] for rate in RATES} for size in SIZES}
            for _ in range(options.rounds):
                for rate in RATES:
                    measure(Corosync(harness, name, {**choices, "loss": rate}), rate, options.seconds, floods)
            report[name] = {"messages_per_second": floods, "shares": shares(floods)}
    print(json.dumps(report, indent=1))


def measure(system: Corosync, rate: float, seconds: float, floods: Samples) -> None:
    """Every size once; a flood that does not come to an end under loss is said, and counts as 0."""
    try:
        system.up(NODES)
        for size in SIZES:
            figure, words = 0.0, ""
            try:
                figure = system.measure(Cell(What.ONE, size), Effort(seconds))["messages_per_second"]
            except BenchError as error:
                if not rate:
                    raise  # nothing could be a share of that
                words = f" ({error})"
            floods[f"{size} B"][f"{rate:g}"].append(figure)
            print(f"{system.name}, loss {rate:g} %, {size} B: {figure:.0f}/s{words}", file=sys.stderr, flush=True)
    finally:
        system.down()


if __name__ == "__main__":
    main()
