"""How many messages a second, how soon, and at which price: `make bench`.

The canonical load: three nodes on this machine, encryption on, a member on every node, one sender.  Throughput is that
of the slowest member, from its first delivery to its last, so what still waits when the sender has finished is in it.
All members must have received the same messages in the same order, or the figure does not count.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from totemd.testing import Cluster, Value

MEMBER = Path(__file__).with_name("member.py")
GROUP = "bench"
COUNTS = {64: 300_000, 1_600: 60_000, 8_192: 20_000, 65_536: 3_000, 1_048_576: 200}
"""Size of a message -> how many are sent; some seconds each."""

PINGS = 500
SENDER = 1


class Members:
    """One member process on each node."""

    def __init__(self, cluster: Cluster) -> None:
        self._processes = [
            subprocess.Popen(
                [sys.executable, str(MEMBER), str(node.run_dir), GROUP],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
            for node in cluster
        ]
        self._read_all()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def run(self, line: str) -> list[dict[str, Any]]:
        """Have all members do it; their answers in the order of the nodes."""
        # The sender comes last, so that everybody listens when it begins.
        for process in reversed(self._processes):
            assert process.stdin is not None
            process.stdin.write(line + "\n")
        return [json.loads(answer) for answer in self._read_all()]

    def close(self) -> None:
        for process in self._processes:
            with process:
                process.kill()

    def _read_all(self) -> list[str]:
        answers = []
        for process in self._processes:
            assert process.stdout is not None
            answer = process.stdout.readline()
            if not answer:
                raise SystemExit(f"member process {process.pid} has ended")
            answers.append(answer)
        return answers


def cpu_seconds(pids: list[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def measure_flood(cluster: Cluster, members: Members, size: int, count: int) -> dict[str, Any]:
    """One round."""
    servers = [process.pid for node in cluster for process in node.processes()]
    before = cpu_seconds(servers), cpu_seconds(members.pids)
    results = members.run(f"flood {size} {count} {SENDER}")
    after = cpu_seconds(servers), cpu_seconds(members.pids)
    if len({(each["received"], each["bytes"], each["chain"]) for each in results}) != 1:
        raise SystemExit(f"the members did not receive the same: {results}")
    seconds = max(each["seconds"] for each in results)
    return {
        "messages_per_second": round((count - 1) / seconds),
        "megabytes_per_second": round((count - 1) * size / seconds / 1e6, 2),
        "server_cpu_us_per_message": round(1e6 * (after[0] - before[0]) / count, 2),
        "member_cpu_us_per_message": round(1e6 * (after[1] - before[1]) / count, 2),
    }


def measure_latency(members: Members) -> dict[str, Any]:
    """One message at a time: at the sender (there and back) and at the slowest of the others."""
    results = members.run(f"ping {PINGS} {SENDER}")
    far = max(results[1:], key=lambda each: statistics.median(each["delays_us"])) if results[1:] else results[0]

    def summary(delays: list[int]) -> dict[str, int]:
        return {"median_us": round(statistics.median(delays)), "p99_us": delays[int(len(delays) * 0.99)]}

    return {"sender": summary(results[0]["delays_us"]), "far": summary(far["delays_us"])}


def machine() -> dict[str, Any]:
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
        return {"cpus": os.cpu_count(), "model": model, "python": platform.python_version()}
    return {"cpus": os.cpu_count(), "model": platform.processor(), "python": platform.python_version()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Throughput and latency of a cluster on this machine.")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(COUNTS), metavar="BYTES")
    parser.add_argument("--rounds", type=int, default=3, help="per size; the median counts (default 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="send so many times the usual number of messages")
    parser.add_argument("--cipher", default="aes256")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="option: totem.token=1000")
    parser.add_argument("--no-latency", action="store_true")
    options = parser.parse_args()
    extra: dict[str, Value] = dict(each.split("=", 1) for each in options.set)
    if options.cipher != "aes256":
        extra |= {"totem.crypto_cipher": options.cipher}
    if options.cipher == "none":
        extra |= {"totem.crypto_hash": "none"}
    report: dict[str, Any] = {"machine": machine(), "nodes": options.nodes, "cipher": options.cipher, "flood": {}}
    with (
        Cluster(options.nodes, options=extra, faults=False) as cluster,
        contextlib.closing(Members(cluster)) as members,
    ):
        print(
            f"{'bytes':>9} {'msg/s':>9} {'MB/s':>8} {'server CPU us/msg':>18} {'member CPU us/msg':>18}",
            file=sys.stderr,
        )
        for size in options.sizes:
            count = max(2, round(options.scale * COUNTS.get(size, max(200, 20_000_000 // size))))
            rounds = [measure_flood(cluster, members, size, count) for _ in range(options.rounds)]
            middle = sorted(rounds, key=lambda each: each["messages_per_second"])[len(rounds) // 2]
            report["flood"][size] = middle | {
                "count": count,
                "rounds": [each["messages_per_second"] for each in rounds],
            }
            print(
                f"{size:>9} {middle['messages_per_second']:>9} {middle['megabytes_per_second']:>8}"
                f" {middle['server_cpu_us_per_message']:>18} {middle['member_cpu_us_per_message']:>18}",
                file=sys.stderr,
            )
        if not options.no_latency:
            report["latency"] = measure_latency(members)
            sender, far = report["latency"]["sender"], report["latency"]["far"]
            print(f"latency: there and back {sender}, at the slowest other member {far}", file=sys.stderr)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
