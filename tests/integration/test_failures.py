"""Nodes die, are paused, and are cut off from each other."""

from __future__ import annotations

import time

import totemd
from kit.members import Recorder
from totemd.ipc.messages.common import HEARTBEAT_DEADLINE_SECONDS, HEARTBEAT_SECONDS
from totemd.testing import Cluster

SLACK_SECONDS = 1.0
"""The goal beyond token and consensus timeouts; a busy machine gets SLACK_SECONDS_BUSY."""

SLACK_SECONDS_BUSY = 4.0


def test_a_killed_node_is_noticed_in_time_and_comes_back() -> None:
    """With corosync's default timeouts, since it is their promise."""
    with Cluster(3) as cluster, Recorder(cluster, group="g") as members:
        status = cluster[1].status()
        limit = (status.token_ms + status.consensus_ms) / 1000
        began = time.monotonic()
        cluster[3].kill()
        for survivor in (1, 2):
            change = members[survivor].wait_for_reason(totemd.Reason.NODE_DOWN, limit + SLACK_SECONDS_BUSY)
            assert [each.node_id for each in change.members] == [1, 2]
        print(f"told after {time.monotonic() - began:.2f} s, limit {limit:.2f} s + {SLACK_SECONDS:.0f} s")
        cluster.wait_for_ring({1, 2})
        cluster[3].start()
        cluster.wait_for_ring({1, 2, 3})
        members[3].wait_for(totemd.Rejoined)
        members.wait_for_members(3)


def test_a_clean_leave_is_no_failure(trio: Cluster) -> None:
    with Recorder(trio, group="leaving", nodes=(1, 2)) as members:
        with trio[3].client() as third, third.join("leaving"):
            members.wait_for_members(3)
            said_before = len(trio[1].log)
            trio[3].stop()
            members.wait_for_members(2)
            assert "Failed to receive the leave message" not in trio[1].log[said_before:]
        trio[3].start()
        trio.wait_for_ring({1, 2, 3})


def test_a_client_that_dies_is_down_at_once(trio: Cluster) -> None:
    """The kernel says so; its silence would tell later."""
    with Recorder(trio, group="client", nodes=(1, 2)) as members:
        pid = members.start_process(3)
        members.wait_for_members(3)
        members.kill_process(pid)
        change = members[1].wait_for_reason(totemd.Reason.PROCESS_DOWN, HEARTBEAT_DEADLINE_SECONDS - HEARTBEAT_SECONDS)
        assert [each.pid for each in change.left] == [pid]


def test_a_partition_splits_the_ring_and_heals(trio: Cluster) -> None:
    with Recorder(trio, group="split") as members:
        trio.partition([1], [2, 3])
        trio.wait_for_ring({1})
        trio.wait_for_ring({2, 3})
        alone = members[1].wait_for_reason(totemd.Reason.NODE_DOWN, 30)
        assert [each.node_id for each in alone.left] == [2, 3]
        assert [each.node_id for each in members[2].wait_for_reason(totemd.Reason.NODE_DOWN, 30).left] == [1]
        members[1].group.mcast(b"nobody else")
        members[2].group.mcast(b"we two")
        trio.heal()
        trio.wait_for_ring({1, 2, 3})
        assert [each.node_id for each in members[1].wait_for_reason(totemd.Reason.NODE_UP, 30).joined] == [2, 3]
        assert [each.node_id for each in members[3].wait_for_reason(totemd.Reason.NODE_UP, 30).joined] == [1]
        members.wait_for_members(3)
        assert b"nobody else" not in members[2].payloads
        assert b"we two" in members[3].payloads
        assert b"we two" not in members[1].payloads
        later = members.everybody_sends(10)
        members.wait_for_payloads(later)
        tails = [[each for each in member.payloads if each in later] for member in members]
        assert tails[0] == tails[1] == tails[2], "the sequences are equal again"


def test_a_paused_node_is_left_out_and_comes_back(trio: Cluster) -> None:
    with Recorder(trio, group="pause") as members:
        trio[2].pause()
        trio.wait_for_ring({1, 3})
        trio[2].resume()
        trio.wait_for_ring({1, 2, 3})
        members.wait_for_members(3, 30)


def test_a_bad_network_loses_no_message(trio: Cluster) -> None:
    with Recorder(trio, group="loss") as members:
        trio.loss(0.05)
        try:
            members.wait_for_payloads(members.everybody_sends(300), 60)
        finally:
            trio.heal()
        assert members[1].messages == members[2].messages == members[3].messages
    trio.wait_for_ring({1, 2, 3})
