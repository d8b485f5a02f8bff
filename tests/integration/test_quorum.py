"""Quorum with real nodes: partitions, two nodes, waiting for all, what operators and clients see."""

from __future__ import annotations

import asyncio
import json
import select
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from totemd import quorum
from totemd.ipc.errors import InvalidArgument, NotFound
from totemd.testing import Cluster, Node, wait_until

PROVIDER = {"quorum.provider": "corosync_votequorum"}
SECONDS = 30.0


def is_quorate(*nodes: Node) -> bool:
    return all(node.status().quorate is True for node in nodes)


def is_not_quorate(*nodes: Node) -> bool:
    return all(node.status().quorate is False for node in nodes)


def told(node: Node) -> Any:
    return json.loads(node.control("--json", "quorum").stdout)


@pytest.fixture(scope="module")
def voters() -> Iterator[Cluster]:
    """Three nodes that vote; each test leaves them whole."""
    with Cluster(3, options=PROVIDER, token=1000, token_coefficient=0) as cluster:
        yield cluster


@pytest.fixture
def three(voters: Cluster) -> Cluster:
    voters.heal()
    voters.start()
    wait_until(lambda: is_quorate(*voters), SECONDS, "all are quorate")
    return voters


def test_the_one_that_is_cut_off_is_not_quorate_and_the_two_are(three: Cluster) -> None:
    with quorum.Client(three[1].run_dir) as lonely, quorum.Client(three[2].run_dir) as other:
        assert lonely.quorate and other.quorate
        three.partition([1], [2, 3])
        status = lonely.receive(SECONDS)
        assert (status.quorate, status.members, status.total_votes, status.losses) == (False, (1,), 1, 1)
        status = other.receive(SECONDS)
        assert (status.quorate, status.members, status.quorum) == (True, (2, 3), 2)
        assert three[1].status().quorate is False and three[2].status().quorate is True
        three.heal()
        assert lonely.wait_until_quorate(SECONDS).members == (1, 2, 3)
    assert "This node is within the non-primary component and will NOT provide any services." in three[1].log
    assert "This node is within the primary component and will provide service." in three[1].log


def test_exit_codes_and_output_are_those_of_corosync_quorumtool(three: Cluster) -> None:
    shown = three[2].control("quorum")
    assert shown.returncode == 0
    for line in (
        "Quorum information\n------------------",
        "Quorum provider:  corosync_votequorum",
        "Quorate:          Yes",
        "Votequorum information\n----------------------",
        "Expected votes:   3",
        "Flags:            Quorate",
        "    Nodeid      Votes Name",
        "         2          1 node2 (local)",
    ):
        assert line in shown.stdout
    three.partition([1], [2, 3])
    wait_until(lambda: is_not_quorate(three[1]), SECONDS, "node 1 is not quorate")
    shown = three[1].control("quorum")
    assert shown.returncode == 2
    assert "Quorum:           2 Activity blocked" in shown.stdout and "Flags:\n" in shown.stdout
    assert told(three[1])["quorate"] is False


def test_votes_are_set_on_all_nodes_and_refusals_say_what_would_work(three: Cluster) -> None:
    assert three[1].control("quorum", "set-votes", "3", "--node", "3").returncode == 0
    wait_until(lambda: told(three[2])["total_votes"] == 5, SECONDS, "node 2 counts them")
    assert told(three[2])["expected_votes"] == 5
    refused = three[1].control("quorum", "set-expected", "4")
    assert refused.returncode == 1 and "5 votes are present" in refused.stderr
    assert three[1].control("quorum", "set-votes", "1", "--node", "9").returncode == 1
    with quorum.Client(three[1].run_dir) as client:
        client.set_votes(1, 3)
        client.set_expected_votes(3)
        assert client.status.expected_votes == 3
        with pytest.raises(InvalidArgument):
            client.set_expected_votes(99)


def test_a_client_can_be_selected(three: Cluster) -> None:
    with quorum.Client(three[1].run_dir) as client:
        assert select.select([client], [], [], 0)[0] == []
        three[2].control("quorum", "set-votes", "2")
        assert select.select([client], [], [], SECONDS)[0] == [client]
        assert client.receive(0).total_votes == 4
        assert select.select([client], [], [], 0)[0] == []
        client.set_votes(1, 2)
        assert select.select([client], [], [], 0)[0] == [client], "it was taken in while the request waited"
        assert client.receive(0).total_votes == 3
        client.set_expected_votes(3)


def test_a_quorum_process_that_dies_counts_as_lost_quorum_and_comes_back(three: Cluster) -> None:
    with quorum.Client(three[1].run_dir) as client:
        three[1].kill_process("quorum")
        assert not client.receive(SECONDS).quorate
        assert client.wait_until_quorate(SECONDS).members == (1, 2, 3)


def test_expected_votes_are_reloaded(three: Cluster) -> None:
    for votes, quorate in ((7, False), (3, True)):
        three.options["quorum.expected_votes"] = votes
        three.configure()
        for node in three:
            node.reload()
        wait_until(
            lambda votes=votes, quorate=quorate: all(  # type: ignore[misc]
                node.status().quorate is quorate and told(node)["expected_votes"] == votes for node in three
            ),
            SECONDS,
            f"{votes} votes are expected",
        )


def test_a_monitor_shows_every_change(three: Cluster) -> None:
    command = [sys.executable, "-m", "totemd.executive.control", "--run-dir", str(three[1].run_dir), "--json"]
    with subprocess.Popen([*command, "quorum", "--monitor"], stdout=subprocess.PIPE) as monitor:
        try:
            assert monitor.stdout is not None
            assert json.loads(monitor.stdout.readline())["total_votes"] == 3
            three[2].control("quorum", "set-votes", "2")
            assert json.loads(monitor.stdout.readline())["total_votes"] == 4
            three[2].control("quorum", "set-votes", "1")
            three[2].control("quorum", "set-expected", "3")
            assert [json.loads(monitor.stdout.readline())["expected_votes"] for _ in range(2)] == [4, 3]
        finally:
            monitor.kill()


def test_corosyncs_keys_and_metrics(three: Cluster) -> None:
    keys = json.loads(three[1].control("--json", "cmap", "list", "runtime.votequorum.").stdout)
    assert keys["runtime.votequorum.this_node_id"] == 1
    assert keys["runtime.votequorum.ev_barrier"] == 3
    assert three[1].metric("totemd_quorate", process="quorum") == 1


def test_the_asyncio_client_tells_the_same(three: Cluster) -> None:
    async def watch() -> None:
        async with quorum.aio.Client(three[1].run_dir) as client:
            assert (await client.wait_until_quorate(SECONDS)).members == (1, 2, 3)
            await client.set_votes(2)
            assert (await client.receive(SECONDS)).total_votes == 4
            await client.set_votes(1)
            await client.set_expected_votes(3)
            assert client.quorate and client.status.expected_votes == 3
            three[1].kill_process("quorum")
            while client.quorate:
                await client.receive(SECONDS)
            assert (await client.wait_until_quorate(SECONDS)).members == (1, 2, 3)

    asyncio.run(watch())


def test_two_nodes_wait_for_each_other_once_and_then_go_on_alone() -> None:
    options = PROVIDER | {"quorum.two_node": 1}
    with Cluster(2, options=options, start=False, token=1000, token_coefficient=0) as cluster:
        cluster[1].start()
        wait_until(lambda: "Waiting for all cluster members." in cluster[1].log, SECONDS, "it waits")
        assert is_not_quorate(cluster[1]) and told(cluster[1])["waiting_for_all"]
        cluster[2].start()
        wait_until(lambda: is_quorate(*cluster), SECONDS, "both are quorate")
        cluster[2].kill()
        wait_until(lambda: told(cluster[1])["total_votes"] == 1, SECONDS, "node 2 is missed")
        assert is_quorate(cluster[1]) and told(cluster[1])["flags"] == ["2Node", "Quorate", "WaitForAll"]
        cluster[1].kill_process("quorum")
        wait_until(lambda: is_quorate(cluster[1]), SECONDS, "it remembers that it has seen all")


def test_waiting_for_all_can_be_cancelled() -> None:
    options = PROVIDER | {"quorum.wait_for_all": 1}
    with Cluster(3, options=options, start=False, token=1000, token_coefficient=0) as cluster:
        cluster[1].start()
        cluster[2].start()
        cluster.wait_for_ring({1, 2})
        wait_until(lambda: told(cluster[2])["total_votes"] == 2, SECONDS, "both are counted")
        assert is_not_quorate(cluster[1], cluster[2])
        assert cluster[1].control("cmap", "set", "quorum.cancel_wait_for_all", "1").returncode == 0
        wait_until(lambda: is_quorate(cluster[1], cluster[2]), SECONDS, "two of three are enough now")


def test_the_rest_is_all_there_is_after_the_window_of_last_man_standing() -> None:
    options = PROVIDER | {"quorum.last_man_standing": 1, "quorum.last_man_standing_window": 500}
    with Cluster(3, options=options | {"quorum.wait_for_all": 1}, token=1000, token_coefficient=0) as cluster:
        wait_until(lambda: is_quorate(*cluster), SECONDS, "all are quorate")
        cluster[3].kill()
        wait_until(lambda: told(cluster[1])["expected_votes"] == 2, SECONDS, "the votes are counted anew")
        assert told(cluster[2])["quorum"] == 2 and is_quorate(cluster[1], cluster[2])
        cluster[3].start()
        wait_until(lambda: is_quorate(*cluster) and told(cluster[3])["expected_votes"] == 3, SECONDS, "it is back")


def test_a_node_that_is_shut_down_lowers_what_is_expected() -> None:
    options = PROVIDER | {"quorum.allow_downscale": 1, "quorum.expected_votes": 1}
    with Cluster(2, options=options, token=1000, token_coefficient=0) as cluster:
        wait_until(lambda: told(cluster[1])["expected_votes"] == 2, SECONDS, "both are counted")
        with quorum.Client(cluster[1].run_dir) as client:
            assert cluster[2].stop() == 0
            while (status := client.receive(SECONDS)).members != (1,):
                assert status.quorate
            assert (status.quorate, status.expected_votes, status.losses) == (True, 1, 0)
        assert (cluster[1].run_dir / "state" / "ev_tracking").read_bytes() == (2).to_bytes(4, sys.byteorder)


def test_a_damaged_file_of_tracked_votes_stops_the_start_in_words() -> None:
    options = PROVIDER | {"quorum.expected_votes_tracking": 1}
    with Cluster(1, options=options, start=False) as cluster:
        node = cluster[1]
        path = node.run_dir / "state" / "ev_tracking"
        path.parent.mkdir(mode=0o700, parents=True)
        path.write_bytes(b"abc")
        node.launch()
        assert node.wait() == 20
        assert f"{path}: holds 3 bytes instead of 4" in node.log


def test_without_a_provider_nobody_counts() -> None:
    with Cluster(1) as cluster:
        node = cluster[1]
        assert node.status().quorate is None and "quorum" not in node.status().processes
        refused = node.control("quorum")
        assert refused.returncode == 1 and "no quorum provider" in refused.stderr
        with pytest.raises(NotFound, match=r"quorum\.provider"):
            quorum.Client(node.run_dir)
