#!/usr/bin/env python3
"""How long a small message takes while messages of 64 MiB are on their way in another group: `bench/turns.py`.

Three nodes on loopback.  A program on node 1 sends large messages one after the other; a neighbour on node 1, and a
member on node 3, each send a small one to a group of their own, which a member on node 2 is in too, and wait until it
comes back.  The same is measured before, with nothing else going on.  What counts is the ratio.
"""

from __future__ import annotations

import argparse
import json
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import totemd
from benchkit.systems import percentile
from totemd.testing import Cluster

MEBIBYTE = 1024 * 1024
SMALL_BYTES = 64
PAUSE_SECONDS = 0.002
"""Between two small messages: about what a program that is no benchmark does."""

SENDER = """
import sys, totemd
payload = bytes(int(sys.argv[2]))
with totemd.Client(sys.argv[1]) as client, client.join("large") as group:
    print("joined", flush=True)
    sys.stdin.readline()
    while True:
        group.mcast(payload)
        while not isinstance(group.receive(), totemd.Message):
            pass
        print("delivered", flush=True)
"""


def main() -> None:
    """Measure, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=int, default=64 * MEBIBYTE, help="of a large message")
    parser.add_argument("--large", type=int, default=3, help="large messages")
    parser.add_argument("--pings", type=int, default=500, help="small messages on the idle ring")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    options = {"cpg.max_message_size": max(chosen.bytes, MEBIBYTE)}
    with Cluster(3, options=options, crypto_cipher="aes256", faults=False) as cluster:
        cluster.wait_for_ring({1, 2, 3})
        found = {name: measure(cluster, node, chosen) for name, node in (("neighbour", 1), ("other node", 3))}
    if chosen.json:
        print(json.dumps(found))
        return
    print(f"| small message of a | idle p50, p99, max ms | beside {chosen.bytes // MEBIBYTE} MiB | ratio of p50, p99 |")
    print("| --- | --- | --- | --- |")
    for name, each in found.items():
        idle, beside = each["idle"], each["beside"]
        ratios = ", ".join(f"{beside[point] / idle[point]:.1f}" for point in ("p50", "p99"))
        print(f"| {name} | {row(idle)} | {row(beside)} ({each['MB/s']:.0f} MB/s) | {ratios} |")


def row(found: dict[str, float]) -> str:
    """The figures of one state."""
    return ", ".join(f"{found[point]:.2f}" for point in ("p50", "p99", "max"))


def measure(cluster: Cluster, node: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """The latencies at one node, idle and beside the large messages."""
    command = [sys.executable, "-c", SENDER, str(cluster[1].run_dir), str(chosen.bytes)]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as sender,
        cluster[2].client() as other,
        cluster[node].client() as client,
        other.join("small") as far,
        client.join("small") as group,
    ):
        try:
            assert sender.stdin is not None and sender.stdout is not None
            assert sender.stdout.readline() == "joined\n"
            left = iter(range(chosen.pings))
            idle = pings(group, far, lambda: next(left, None) is not None)
            end = time.monotonic()
            sender.stdin.write("\n")
            delivered = 0

            def goes_on() -> bool:
                nonlocal delivered
                delivered += has_line(sender)
                return bool(delivered < chosen.large)

            beside = pings(group, far, goes_on)
            speed = chosen.bytes * chosen.large / (time.monotonic() - end) / 1e6
        finally:
            sender.kill()
    return {"idle": summary(idle), "beside": summary(beside), "MB/s": speed}


def has_line(process: subprocess.Popen[str]) -> bool:
    """Whether the process has said something more, which is taken."""

    assert process.stdout is not None
    return bool(select.select([process.stdout], [], [], 0)[0]) and bool(process.stdout.readline())


def pings(group: totemd.Group, far: totemd.Group, goes_on: Callable[[], bool]) -> list[float]:
    """Milliseconds from sending to delivery at the sender."""
    found = []
    while goes_on():
        began = time.perf_counter()
        group.mcast(bytes(SMALL_BYTES))
        while not isinstance(group.receive(timeout=60), totemd.Message):
            pass
        found.append((time.perf_counter() - began) * 1000)
        far.pending()
        time.sleep(PAUSE_SECONDS)
    return sorted(found)


def summary(found: list[float]) -> dict[str, float]:
    """Percentiles in milliseconds."""
    return {
        **{"count": len(found), "p50": statistics.median(found)},
        **{"p99": percentile(found, 0.99), "max": max(found)},
    }


if __name__ == "__main__":
    main()
