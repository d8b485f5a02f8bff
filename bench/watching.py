#!/usr/bin/env python3
"""What watching costs: `bench/watching.py [--count N] [--seconds S]`.

One node with so many declared applications that do nothing (`sleep`), watched by its sam process: first as they are
(gone, zombie, stopped), then with a limit of each kind and a window of 10 s.  Processor time of the sam process, as a
share of one processor; how long a look at everything takes, and how often that is.
"""

from __future__ import annotations

import argparse
import json
import time

import psutil
from totemd.testing import Cluster, Node, wait_until

PATIENCE_SECONDS = 120
SETTLE_SECONDS = 5.0

LIMITS = ("max_rss: 500M", "max_cpu: 90%", "max_files: 1000", "max_threads: 1000", "limit_window: 10")


def running(node: Node) -> int:
    """How many applications run."""
    done = node.control("--json", "apps")
    return sum(app["state"] == "running" for app in json.loads(done.stdout)) if done.returncode == 0 else 0


def measure(count: int, seconds: float, *lines: str) -> dict[str, float]:
    """Watch for so many seconds."""
    section = "\n".join(["command: sleep 1000000", *lines])
    apps = "".join(f"app {{\nname: a{number}\n{section}\n}}\n" for number in range(count))
    with Cluster(1, start=False, faults=False) as cluster:
        node = cluster[1]
        node.write_configuration(node.configuration_path.read_text() + f"sam {{\n{apps}}}\n")
        cluster.start()
        wait_until(lambda: running(node) == count, PATIENCE_SECONDS, lambda: f"{running(node)} of {count} run")
        time.sleep(SETTLE_SECONDS)
        sam = psutil.Process(node.pid("sam"))
        began, before = time.monotonic(), sam.cpu_times()
        time.sleep(seconds)
        after, passed = sam.cpu_times(), time.monotonic() - began
        used = after.user + after.system - before.user - before.system
        return {
            "applications": count,
            "cpu_percent_of_a_core": round(100 * used / passed, 2),
            "sam_rss_mb": round(sam.memory_info().rss / 2**20, 1),
        }


def main() -> None:
    """Measure both, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    for name, lines in (("watched", ()), ("watched, with limits", LIMITS)):
        print(json.dumps({"what": name, **measure(arguments.count, arguments.seconds, *lines)}))


if __name__ == "__main__":
    main()
