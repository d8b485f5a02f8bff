"""Replicas in processes of their own: the donor of a transfer is killed in the middle of it."""

from __future__ import annotations

from contextlib import ExitStack

from kit.program import KIT, Program
from totemd.testing import Cluster

PADDING = 24 * 1024 * 1024
"""So much that a transfer takes far longer than it takes to kill somebody."""


def test_a_donor_is_killed_in_the_middle(trio: Cluster, programs: ExitStack) -> None:
    def start(node: int, padding: int = 0) -> Program:
        process = Program(KIT / "replica_main.py", "padded", padding, COROSYNC_RUN_DIR=str(trio[node].run_dir))
        programs.callback(process.kill)
        return process

    oldest = start(1, PADDING)
    oldest.expect("active")
    oldest.say(5)
    assert oldest.expect("result") == "result 5"
    donor = start(2)
    oldest.expect("snapshot")
    assert donor.expect("restored") == f"restored 5 {PADDING}"
    donor.expect("active")
    joiner = start(3)
    donor.expect("snapshot")
    donor.kill()
    oldest.expect("snapshot")  # The transfer was not over: another takes it up.
    oldest.say(2)
    assert oldest.expect("result") == "result 7"
    assert joiner.expect("restored").endswith(str(PADDING))
    joiner.expect("active")
    joiner.say(1)
    assert joiner.expect("result") == "result 8"
