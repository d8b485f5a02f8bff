"""Replicas in processes of their own: the donor of a transfer is killed in the middle of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kit.command import environment
from totemd.testing import Cluster

PROGRAM = Path(__file__).with_name("kit") / "replica_main.py"
PADDING = 24 * 1024 * 1024
"""So much that a transfer takes far longer than it takes to kill somebody."""


class Process:
    """A replica on a node."""

    def __init__(self, cluster: Cluster, node_id: int, padding: int) -> None:
        variables = environment(COROSYNC_RUN_DIR=str(cluster[node_id].run_dir))
        command = [sys.executable, str(PROGRAM), "padded", str(padding)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=variables
        )

    def submit(self, amount: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{amount}\n")

    def expect(self, text: str) -> str:
        assert self._process.stdout is not None
        seen = []
        while not (line := self._process.stdout.readline()).startswith(text):
            assert line, f"it ended without saying {text!r}; it said {seen}"
            seen.append(line)
        return line.strip()

    def kill(self) -> None:
        with self._process:
            self._process.kill()


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_donor_is_killed_in_the_middle(trio: Cluster, processes: ExitStack) -> None:
    def start(node: int, padding: int = 0) -> Process:
        process = Process(trio, node, padding)
        processes.callback(process.kill)
        return process

    oldest = start(1, PADDING)
    oldest.expect("active")
    oldest.submit(5)
    assert oldest.expect("result") == "result 5"
    donor = start(2)
    oldest.expect("snapshot")
    assert donor.expect("restored") == f"restored 5 {PADDING}"
    donor.expect("active")
    joiner = start(3)
    donor.expect("snapshot")
    donor.kill()
    oldest.expect("snapshot")  # The transfer was not over: another takes it up.
    oldest.submit(2)
    assert oldest.expect("result") == "result 7"
    assert joiner.expect("restored").endswith(str(PADDING))
    joiner.expect("active")
    joiner.submit(1)
    assert joiner.expect("result") == "result 8"
