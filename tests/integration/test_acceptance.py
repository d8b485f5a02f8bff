"""What corosync's own test suite asks of groups and is not asked elsewhere (docs/cpg.md has the whole list)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import psutil
import pytest
import totemd
from kit.full import sized
from kit.members import Recorder
from totemd import aio
from totemd.testing import Cluster, wait_until

TOKEN_MS = 300_000
CONSENSUS_MS = 360_001
"""As in corosync's suite: nothing that waits for one of these can pass."""

CONNECTIONS_AT_ONCE = 20
GROWTH_BYTES = 4 * 1024 * 1024
"""What a process may grow by in thousands of connections after the first hundreds."""

QUICKLY_SECONDS = 30.0


@pytest.fixture(scope="module")
def endless() -> Iterator[Cluster]:
    with Cluster(3, token=TOKEN_MS, token_coefficient=0, consensus=CONSENSUS_MS) as cluster:
        cluster.wait_for_ring({1, 2, 3})
        yield cluster


def test_a_clean_leave_does_not_wait_for_the_token(endless: Cluster) -> None:
    """CfgChgOnNodeLeave with a token timeout of five minutes."""
    with Recorder(endless, group="endless", nodes=(1, 2)) as members:
        with endless[3].client() as third, third.join("endless"):
            members.wait_for_members(3)
            assert endless[3].stop() == 0
            change = members[1].wait_for_change(lambda each: bool(each.left), QUICKLY_SECONDS)
            assert [(each.node_id, each.reason) for each in change.left] == [(3, totemd.Reason.PROCESS_DOWN)]
            endless.wait_for_ring({1, 2})
        endless[3].start()
        endless.wait_for_ring({1, 2, 3})


def test_a_node_that_restarts_at_once_has_left_and_come(endless: Cluster) -> None:
    """CfgChgOnNodeRestart: both are seen, in this order, though the token was never missed."""
    with Recorder(endless, group="restart") as members:
        endless[2].kill()
        endless[2].launch()
        left = members[1].wait_for_change(lambda each: bool(each.left), QUICKLY_SECONDS)
        assert [(each.node_id, each.reason) for each in left.left] == [(2, totemd.Reason.NODE_DOWN)]
        came = members[1].wait_for_change(lambda each: bool(each.joined), QUICKLY_SECONDS)
        assert [each.node_id for each in came.joined] == [2]
        members[2].wait_for(totemd.Rejoined, QUICKLY_SECONDS)
        endless[2].wait_for_processes()
        endless.wait_for_ring({1, 2, 3})
        members.wait_for_members(3)
        members.wait_for_payloads(members.everybody_sends(20))


def test_the_lowest_node_comes_last_and_nobody_seems_to_leave() -> None:
    """CfgChgOnLowestNodeJoin."""
    with Cluster(3, start=False, token=1000, token_coefficient=0) as cluster:
        for node_id in (2, 3):
            cluster[node_id].launch()
        for node_id in (2, 3):
            cluster[node_id].wait_for_processes()
        cluster.wait_for_ring({2, 3})
        with Recorder(cluster, group="lowest", nodes=(2, 3)) as members:
            cluster[1].start()
            cluster.wait_for_ring({1, 2, 3})
            status = cluster[3].status()
            assert status.ring is not None and status.ring.representative == 1
            with cluster[1].client() as client, client.join("lowest"):
                members.wait_for_members(3)
                for member in members:
                    assert not any(isinstance(each, totemd.ConfigChange) and each.left for each in member.events)


def test_nodes_stop_and_start_one_by_one_and_all_at_once(trio: Cluster) -> None:
    """GenStopOneByOne, GenRestartOneByOne, GenSimulStop, GenSimulStart."""
    for node in trio:
        assert node.stop() == 0
        trio.wait_for_ring({1, 2, 3} - {node.node_id})
        node.start()
        trio.wait_for_ring({1, 2, 3})
    for node in trio:
        node.request_stop()
    assert [node.wait() for node in trio] == [0, 0, 0]
    trio.start()
    trio.wait_for_ring({1, 2, 3})


def test_all_stop_while_members_answer_each_change_with_messages(trio: Cluster) -> None:
    """GenStopAllBeekhof: no node hangs on another's messages."""

    async def member(run_dir: str, joined: asyncio.Event) -> None:
        with contextlib.suppress(totemd.TotemdError):
            async with aio.Client(run_dir) as client, client.join("beekhof") as group:
                async for event in group:
                    if isinstance(event, totemd.ConfigChange):
                        joined.set()
                        for _ in range(50):
                            await group.mcast(bytes(2_000))

    async def main() -> None:
        joined = [asyncio.Event() for _ in trio]
        tasks = [asyncio.create_task(member(str(node.run_dir), each)) for node, each in zip(trio, joined, strict=True)]
        await asyncio.gather(*(each.wait() for each in joined))
        for node in trio:
            node.request_stop()
        codes = await asyncio.gather(*(asyncio.to_thread(node.wait) for node in trio))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert codes == [0, 0, 0]

    asyncio.run(main())
    trio.start()
    trio.wait_for_ring({1, 2, 3})


def test_thousands_of_connections_leave_no_memory_behind(trio: Cluster) -> None:
    """MemLeakSession: connect, join, send, end with and without leaving."""

    async def visit(number: int) -> None:
        async with aio.Client(trio[1].run_dir, timeout=60) as client:
            group = await client.join(f"visit {number}")
            await group.mcast(bytes(100))
            if number % 2:
                await group.leave()

    async def visits(count: int) -> None:
        for first in range(0, count, CONNECTIONS_AT_ONCE):
            await asyncio.gather(*(visit(first + each) for each in range(CONNECTIONS_AT_ONCE)))

    processes = {name: psutil.Process(trio[1].pid(name)) for name in ("cpg", "totem", "executive")}
    asyncio.run(visits(300))
    before = {name: each.memory_info().rss for name, each in processes.items()}
    files = processes["cpg"].num_fds()
    asyncio.run(visits(sized(1_000, 10_000)))
    for name, each in processes.items():
        grown = each.memory_info().rss - before[name]
        print(f"{name}: {grown / 1024:.0f} KiB more")
        assert grown < GROWTH_BYTES, name
    few = files + CONNECTIONS_AT_ONCE
    wait_until(lambda: processes["cpg"].num_fds() <= few, 60, "the last ones have hung up")
    with trio[1].client() as client:
        wait_until(lambda: not any(name.startswith("visit") for name in client.groups()), 60, "and left")


def test_a_node_is_added_and_removed_by_reload() -> None:
    """The ring goes on, and the new node is let in."""
    with Cluster(3, start=False, token=1000, token_coefficient=0) as cluster:
        whole = {node.node_id: node.configuration_path.read_text() for node in cluster}
        for node_id in (1, 2):
            cluster[node_id].write_configuration(without_node(whole[node_id], 3))
            cluster[node_id].launch()
        for node_id in (1, 2):
            cluster[node_id].wait_for_processes()
        cluster.wait_for_ring({1, 2})
        with Recorder(cluster, group="reload", nodes=(1, 2)) as members:
            before = cluster[1].stands()
            for node_id in (1, 2):
                cluster[node_id].write_configuration(whole[node_id])
                cluster[node_id].reload()
            members.wait_for_payloads(members.everybody_sends(50))
            assert cluster[1].stands() == before, "the reload alone changes nothing"
            cluster[3].start()
            cluster.wait_for_ring({1, 2, 3})
            cluster[3].stop()
            cluster.wait_for_ring({1, 2})
            for node_id in (1, 2):
                cluster[node_id].write_configuration(without_node(whole[node_id], 3))
                cluster[node_id].reload()
            members.wait_for_payloads(members.everybody_sends(50))
            assert not any(isinstance(each, totemd.Rejoined) for member in members for each in member.events)


def test_a_running_node_is_taken_out_by_reload() -> None:
    words = "Node 3 is not in the node list any more, forming new configuration."
    with Cluster(3, token=1000, token_coefficient=0) as cluster:
        for node in (cluster[1], cluster[2]):
            node.write_configuration(without_node(node.configuration_path.read_text(), 3))
            node.reload()
        cluster.wait_for_ring({1, 2})
        # By whoever took the new list over first: the other may have re-formed with it before its own came.
        wait_until(lambda: any(words in cluster[each].log for each in (1, 2)), 30, "it is said")


def without_node(text: str, node_id: int) -> str:
    """The configuration without that node."""
    head, *nodes = text.split("    node {\n")
    *others, last = nodes
    kept = [each for each in (*others, last) if f"nodeid: {node_id}\n" not in each]
    tail = last[last.index("    }\n") + len("    }\n") :]
    bodies = [each[: each.index("    }\n")] for each in kept]
    return head + "".join(f"    node {{\n{body}    }}\n" for body in bodies) + tail
