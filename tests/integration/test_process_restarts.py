"""Processes of a node are killed one by one: the node comes back, its clients are told, no gap is silent."""

from __future__ import annotations

import contextlib
import time

import psutil
import pytest
import totemd
from kit.command import alive
from kit.members import Recorder, common_order_agrees, repeated
from totemd.testing import Cluster, wait_until

BACK_SECONDS = 5.0
"""The goal; asserted with the slack of a busy machine."""

BACK_SECONDS_BUSY = 10.0
CHILDREN = ("cpg", "totem", "sam")


def restarted(cluster: Cluster, node_id: int, name: str, before: int) -> bool:
    return cluster[node_id].status().processes[name].pid not in (0, before)


@pytest.mark.parametrize("victim", ["cpg", "totem"])
def test_clients_are_told_and_are_members_again(trio: Cluster, victim: str) -> None:
    with Recorder(trio, group=f"killed {victim}") as members:
        members.everybody_sends(50)
        before = trio[1].kill_process(victim)
        killed_at = time.monotonic()
        members[1].wait_for(totemd.Rejoined, BACK_SECONDS_BUSY)
        members.wait_for_members(3, BACK_SECONDS_BUSY)
        took = time.monotonic() - killed_at
        assert took < BACK_SECONDS_BUSY
        wait_until(lambda: restarted(trio, 1, victim, before), BACK_SECONDS_BUSY, f"{victim} is back")
        members.wait_for_payloads(members.everybody_sends(50))
        for member in members:
            assert repeated(member.messages) == []
        for one in members:
            for other in members:
                assert common_order_agrees(one.messages, other.messages)
        assert not any(isinstance(event, totemd.Rejoined) for event in members[2].events)
        print(f"{victim}: back after {took:.2f} s")
    trio.wait_for_ring({1, 2, 3})


def test_the_others_see_the_reason(trio: Cluster) -> None:
    with Recorder(trio, group="reasons") as members:
        trio[1].kill_process("totem")
        left = members[2].wait_for_reason(totemd.Reason.NODE_DOWN, BACK_SECONDS_BUSY)
        assert [member.node_id for member in left.left] == [1]
        joined = members[2].wait_for_change(lambda change: bool(change.joined), BACK_SECONDS_BUSY)
        assert [member.node_id for member in joined.joined] == [1]
        members.wait_for_members(3, BACK_SECONDS_BUSY)
    trio.wait_for_ring({1, 2, 3})


def test_children_end_when_their_executive_is_killed(trio: Cluster) -> None:
    children = [trio[2].pid(name) for name in CHILDREN]
    trio[2].kill_process("executive")
    wait_until(lambda: not any(alive(pid) for pid in children), 15, "the children are gone")
    wait_until(lambda: not trio[2].is_running, 15, "the executive is gone")
    trio[2].start()
    trio.wait_for_ring({1, 2, 3})


def test_a_child_that_keeps_dying_ends_the_node_loudly() -> None:
    with Cluster(1) as cluster:
        node = cluster[1]

        def die() -> bool:
            # It may end, or have no such process, at any moment.
            with contextlib.suppress(totemd.TotemdError, LookupError):
                node.kill_process("sam")
            return not node.is_running

        wait_until(die, 60, "the node gives up")
        assert node.exit_code == 15
        assert cluster.leftovers() == []
        assert "sam" in node.last_words()


def test_a_stopped_child_is_replaced(trio: Cluster) -> None:
    pid = trio[3].pid("cpg")
    psutil.Process(pid).suspend()
    wait_until(lambda: restarted(trio, 3, "cpg", pid), 30, "a process that hangs is replaced")
    assert not alive(pid)
