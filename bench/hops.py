#!/usr/bin/env python3
"""Where the time of one message goes, hop by hop: `bench/hops.py` (root for namespaces).

Every call that nodes and members make to their sockets is timed; one message is outstanding at a time, and the calls
that carry it are its hops.  Timing costs a few microseconds a call, so the sum is somewhat above the latency that
`canonical.py` tells.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from benchkit import hops
from benchkit.systems import Effort, Totemd, percentile
from benchkit.workload import Cell, What
from totemd.testing.namespaces import obstacle, remove_leftovers

TRACE = Path(hops.__file__).with_name("trace")
VARIABLE = "TOTEMD_BENCH_TRACE"
POINTS = {"p10": 0.1, "p50": 0.5, "p99": 0.99}


def main() -> None:
    """A table for each receiver."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--pings", type=int, default=500)
    parser.add_argument("--loopback", action="store_true", help="loopback addresses, also as root")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="totemd-hops-") as folder:
        found = hops.budget(trace(Path(folder), chosen), 1, range(2, chosen.nodes + 1))
    for receiver, each in found.items():
        print(f"| {receiver} | {' | '.join(f'{point}, µs' for point in POINTS)} |\n| --- |{' --- |' * len(POINTS)}")
        for name, spent in each.items():
            print(f"| {name} | " + " | ".join(f"{percentile(spent, share):.0f}" for share in POINTS.values()) + " |")
        print()


def trace(folder: Path, chosen: argparse.Namespace) -> hops.Trail:
    """Send messages through a cluster that writes down what its processes do."""
    path = os.pathsep.join(filter(None, [str(TRACE), os.environ.get("PYTHONPATH")]))
    namespaces = not chosen.loopback and not obstacle()
    if namespaces:
        remove_leftovers()
    totemd = Totemd(namespaces=namespaces, environment={VARIABLE: str(folder), "PYTHONPATH": path})
    try:
        totemd.up(chosen.nodes)
        directories = totemd.run_dirs()
        totemd.measure(Cell(What.LATENCY, hops.MESSAGE_BYTES), Effort(pings=chosen.pings))
    finally:
        totemd.down()  # the processes write when they end
    return hops.Trail(hops.read(folder, directories))


if __name__ == "__main__":
    main()
