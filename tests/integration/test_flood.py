"""Members that stop reading while others flood the group: they are expelled, nobody else notices, memory is bounded.

The bounds are those of docs/cpg.md.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import totemd
from kit.full import sized
from kit.program import KIT, Program
from totemd.services.cpg.audience import ClientLimits
from totemd.testing import Cluster, wait_until

GROUP = "flood"
MESSAGE_BYTES = 8 * 1024
MEBIBYTE = 1024 * 1024
SECONDS = sized(3, 60)
BACKLOG = sized(12 * MEBIBYTE, ClientLimits().backlog_bytes)
LAZY_ON_NODE_2 = 2

ALLOWANCE = 24 * MEBIBYTE
"""What a process may take beyond what its limits add up to: credit, batches under way, allocator."""

SLACK = 1.25
"""Memory for one byte that is unread: ZeroMQ's and the allocator's overhead."""

FLOOD_BYTES = sized(120 * MEBIBYTE, 512 * MEBIBYTE)
"""What is sent at the least."""


class Process(Program):
    """A member on a node."""

    def __init__(self, cluster: Cluster, node_id: int, role: str) -> None:
        super().__init__(KIT / "flood.py", cluster[node_id].run_dir, GROUP, MESSAGE_BYTES, role)
        self.expect("joined")
        self.memory = psutil.Process(self.pid).memory_info().rss

    def result(self) -> Any:
        return json.loads(self.line())


def peak(pid: int) -> int:
    """The most memory that a process ever had, by the kernel's word."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def delivered(cluster: Cluster) -> float:
    return cluster[2].metric("totemd_cpg_delivered_bytes_total")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(3, options={"cpg.backlog": BACKLOG}, token=3000, crypto_cipher="aes256") as made:
        made.wait_for_ring({1, 2, 3})
        yield made


@pytest.mark.timeout(120 + 3 * SECONDS)
def test_stopped_readers_are_expelled_and_memory_is_bounded(cluster: Cluster, programs: ExitStack) -> None:
    def start(node_id: int, role: str) -> Process:
        process = Process(cluster, node_id, role)
        programs.callback(process.kill)
        return process

    stopped, idle = start(2, "lazy"), start(2, "lazy")
    reader, senders = start(2, "reader"), [start(1, "sender"), start(3, "sender")]
    everybody = [reader, *senders, stopped, idle]
    before = {(node.node_id, name): peak(node.pid(name)) for node in cluster for name in ("cpg", "totem")}
    stopped.signal(signal.SIGSTOP)
    for process in everybody:
        process.say()
    wait_until(
        lambda: cluster[2].metric("totemd_cpg_expelled_total") == LAZY_ON_NODE_2,
        60,
        "both that do not read are expelled",
    )
    time.sleep(SECONDS)  # How long the flood goes on is what is tested.
    wait_until(lambda: delivered(cluster) > FLOOD_BYTES, 120, "so much that it would not fit the bounds")
    for sender in senders:
        sender.say()
    results = [process.result() for process in (reader, *senders)]
    sent = {"1": results[1]["sent"], "3": results[2]["sent"]}
    for result in results:
        assert result["received"] == sent and result["gaps"] == 0
        assert sorted(result["left"]) == sorted([each.pid, int(totemd.Reason.EXPELLED)] for each in (stopped, idle))
        assert result["after_expulsion"] > SECONDS * 100, "the others went on"
    for lazy in (stopped, idle):
        assert peak(lazy.pid) - lazy.memory <= BACKLOG * SLACK + ALLOWANCE, "what it has not read"
    stopped.signal(signal.SIGCONT)
    for lazy in (stopped, idle):
        lazy.say()
        result = lazy.result()
        assert (result["end"], result["gaps"]) == ("Expelled", 0)
        assert "unread" in result["text"] and str(BACKLOG) in result["text"]
        assert 0 < sum(result["received"].values()) * MESSAGE_BYTES < BACKLOG * SLACK

    unread = {(2, "cpg"): LAZY_ON_NODE_2 * BACKLOG}
    for (node_id, name), was in before.items():
        grown = peak(cluster[node_id].pid(name)) - was
        print(f"node {node_id} {name}: {was / MEBIBYTE:.0f} MiB, and {grown / MEBIBYTE:.0f} MiB more at the most")
        bound = unread.get((node_id, name), 0) * SLACK + ALLOWANCE
        assert grown <= bound < FLOOD_BYTES / 2, "what was sent is far more than what may be kept"
    for process, role in zip(everybody, ("reader", "sender 1", "sender 3", "stopped", "idle"), strict=True):
        # `pending` hands out all at once: it is there as it came, and as messages.
        grown = peak(process.pid) - process.memory
        print(f"{role}: {process.memory / MEBIBYTE:.0f} MiB, and {grown / MEBIBYTE:.0f} MiB more at the most")
        assert grown <= 2 * BACKLOG * SLACK + ALLOWANCE
    print(f"{sum(sent.values()) * MESSAGE_BYTES / MEBIBYTE:.0f} MiB in {SECONDS} s and what came before the expulsion")
