"""The asyncio client against real cpg processes, on a ring without a network."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import totemd
import totemd.aio
from cpgkit import DEADLINE, Rig, changes, payloads
from cpgkit import receive as group_receive
from totemd import ConfigChange, Event, Member, Message, Reason, Rejoined
from totemd.services.cpg.subscription import Stage


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 4 * DEADLINE))


async def receive_until(group: totemd.aio.Group, condition: Callable[[list[Event]], bool]) -> list[Event]:
    events: list[Event] = []
    while not condition(events):
        events.append(await group.receive(DEADLINE))
    return events


async def receive(group: totemd.aio.Group, count: int) -> list[Event]:
    return await receive_until(group, lambda events: len(events) == count)


async def receive_payloads(group: totemd.aio.Group, count: int) -> list[bytes]:
    return payloads(await receive_until(group, lambda events: len(payloads(events)) == count))


def test_a_member_from_joining_to_leaving(pair: Rig) -> None:
    async def story() -> None:
        me = Member(1, os.getpid())
        async with totemd.aio.Client(pair.run_dirs[1]) as client:
            assert client.node_id == 1 and client.ring is not None and client.ring.members == (1, 2)
            async with client.join("story") as group:
                assert group.members == (me,)
                await group.mcast(b"hello")
                seen = []
                async for event in group:
                    seen.append(event)
                    if isinstance(event, Message):
                        await group.leave()
        assert seen[0] == ConfigChange((me,), (me._replace(reason=Reason.JOIN),), (), "story")
        assert payloads(seen) == [b"hello"]
        assert seen[2] == ConfigChange((), (), (me._replace(reason=Reason.LEAVE),), "story")

    run(story())


def test_what_is_sent_in_one_turn_travels_together(pair: Rig) -> None:
    async def story() -> None:
        async with totemd.aio.Client(pair.run_dirs[1]) as client:
            group = await client.join("turn")
            for number in range(100):
                await group.mcast(b"%d" % number)
            assert not client._channel.outgoing and len(client._channel._batch) == 200
            assert await receive_payloads(group, 100) == [b"%d" % number for number in range(100)]
            assert await group.mcast_many(b"x" * 1000 for _ in range(1000)) == 1000
            assert len(await receive_payloads(group, 1000)) == 1000

    run(story())


def test_tasks_share_a_client(pair: Rig) -> None:
    async def story() -> None:
        async with (
            totemd.aio.Client(pair.run_dirs[1]) as one,
            totemd.aio.Client(pair.run_dirs[2]) as two,
            one.join("tasks") as a,
            two.join("tasks") as b,
        ):

            async def send(name: bytes) -> None:
                for number in range(200):
                    await a.mcast(b"%b %d" % (name, number))
                    await asyncio.sleep(0)

            async with asyncio.TaskGroup() as group:
                readers = [group.create_task(receive_payloads(each, 600)) for each in (a, b)]
                for name in (b"p", b"q", b"r"):
                    group.create_task(send(name))
            assert readers[0].result() == readers[1].result()

    run(story())


def test_waiting_ends_in_time_and_loses_nothing(pair: Rig) -> None:
    async def story() -> None:
        async with totemd.aio.Client(pair.run_dirs[1]) as client, client.join("time") as group:
            await receive(group, 1)
            with pytest.raises(TimeoutError, match="time"):
                await group.receive(timeout=0.05)
            waiting = asyncio.ensure_future(group.receive())
            await asyncio.sleep(0)
            waiting.cancel()
            await group.mcast(b"m")
            assert await receive_payloads(group, 1) == [b"m"]

    run(story())


def test_errors_are_those_of_the_blocking_client(pair: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        with pytest.raises(totemd.ConnectionLost):
            await totemd.aio.Client(tmp_path).connect()
        with pytest.raises(totemd.ConnectionLost):
            await totemd.aio.Client(pair.run_dirs[1]).join("x")
        async with totemd.aio.Client(pair.run_dirs[1]) as client:
            async with client.join("errors") as group:
                with pytest.raises(totemd.AlreadyMember):
                    await client.join("errors")
                with pytest.raises(totemd.MessageTooLarge, match="1048576"):
                    await group.mcast(bytes(totemd.MESSAGE_BYTES_MAX + 1))
                with pytest.raises(totemd.InvalidArgument):
                    await group.mcast(b"x", 9)  # type: ignore[arg-type]
            with pytest.raises(totemd.NotMember):
                await group.mcast(b"x")
            with pytest.raises(totemd.GroupNameTooLong):
                await client.join("x" * 129)
            last = await client.join("last")
        await last.receive()
        with pytest.raises(totemd.ConnectionLost):
            await last.receive()

    run(story())


def test_without_credit_a_sender_waits_or_is_told(rig: Rig) -> None:
    async def story() -> None:
        async with totemd.aio.Client(rig.run_dirs[1]) as client, client.join("credit") as group:
            rig.ring.hold()
            big, sent = bytes(totemd.MESSAGE_BYTES_MAX), 0
            with pytest.raises(totemd.TryAgain):
                while sent < 100:
                    await group.mcast(big, wait=False)
                    sent += 1
            waiting = asyncio.ensure_future(group.mcast(big))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            rig.ring.release()
            await waiting
            assert len(await receive_payloads(group, sent + 1)) == sent + 1

    run(story())


@pytest.mark.parametrize("size", [100, 8_000, totemd.MESSAGE_BYTES_MAX])
def test_a_task_that_floods_does_not_keep_others_from_sending(pair: Rig, size: int) -> None:
    async def story() -> None:
        async with totemd.aio.Client(pair.run_dirs[1]) as client:
            busy, other = await client.join("busy"), await client.join("other")

            async def read() -> None:
                async for _ in busy:
                    pass

            async def flood() -> None:
                while True:
                    await busy.mcast(bytes(8_000))

            tasks = [asyncio.ensure_future(read()), asyncio.ensure_future(flood())]
            try:
                for _ in range(5):
                    await asyncio.wait_for(other.mcast(bytes(size)), DEADLINE)
                assert len(await receive_payloads(other, 5)) == 5
                with pytest.raises(totemd.TryAgain):
                    for _ in range(10_000):
                        await other.mcast(bytes(size), wait=False)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    run(story())


def test_who_waits_for_its_group_holds_up_no_other(rig: Rig) -> None:
    async def story() -> None:
        async with totemd.aio.Client(rig.run_dirs[1]) as client:
            here, away = await client.join("here"), await client.join("away")
            away._subscription.stage = Stage.AWAY
            waiting = asyncio.ensure_future(away.mcast(b"later"))
            await asyncio.sleep(0)
            await here.mcast(b"now")
            assert await receive_payloads(here, 1) == [b"now"] and not waiting.done()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert not client._senders
            away._subscription.stage = Stage.JOINED

    run(story())


@pytest.mark.parametrize("which", ["cpg", "totem"])
def test_who_was_away_learns_it_and_rejoins(rig: Rig, which: str) -> None:
    async def story() -> None:
        async with totemd.aio.Client(rig.run_dirs[1]) as client, client.join("away") as group:
            await receive(group, 1)
            if which == "cpg":
                rig.kill(1)
            else:
                rig.ring.stop_totem(1)
            while group.is_member:
                await asyncio.sleep(0.01)
            patient = asyncio.ensure_future(group.mcast(b"patient"))
            if which == "cpg":
                rig.start(1)
            else:
                rig.ring.start_totem(1)
            events = await receive_until(group, lambda events: bool(payloads(events)))
            await patient
            assert isinstance(events[0], Rejoined) and events[0].unconfirmed == 0
            assert isinstance(events[1], ConfigChange)
            assert payloads(events) == [b"patient"]

    run(story())


def test_a_join_that_is_cancelled_is_given_up(rig: Rig) -> None:
    async def story() -> None:
        async with totemd.aio.Client(rig.run_dirs[1]) as client:
            rig.ring.hold()
            with pytest.raises(TimeoutError, match="not joined"):
                await client.join("late", timeout=0.05)
            rig.ring.release()
            async with client.join("late", timeout=DEADLINE) as group:
                assert group.is_member

    run(story())


def test_groups_parts_pending_and_the_initial_ring(pair: Rig) -> None:
    async def story() -> None:
        me, big = Member(1, os.getpid()), os.urandom(100_000)
        async with (
            totemd.aio.Client(pair.run_dirs[1]) as client,
            client.join("all", initial_ring=True) as group,
        ):
            assert await client.groups(timeout=DEADLINE) == {"all": (me,)}
            assert await client.membership("all") == (me,) and await client.membership("none") == ()
            assert [type(event).__name__ for event in await receive(group, 2)] == ["ConfigChange", "RingChange"]
            assert group.room == totemd.MESSAGE_BYTES_MAX
            await group.mcast_parts([b"a", big])
            await group.mcast_parts([b"b", b"c"])
            assert await receive_payloads(group, 2) == [b"a" + big, b"bc"]
            assert group.pending() == []

    run(story())


def test_a_forgotten_client_hangs_up_with_a_warning(pair: Rig) -> None:
    async def story() -> None:
        async with totemd.aio.Client(pair.run_dirs[2]) as two, two.join("forgotten") as b:
            await receive(b, 1)
            client = await totemd.aio.Client(pair.run_dirs[1]).connect()
            await client.join("forgotten")
            await receive(b, 1)
            with pytest.warns(ResourceWarning, match="never closed"):
                del client
                gc.collect()
            (left,) = await receive(b, 1)
            assert isinstance(left, ConfigChange)
            assert left.left == (Member(1, os.getpid(), Reason.PROCESS_DOWN),)

    run(story())


def test_a_client_that_outlives_its_loop_says_goodbye_when_it_is_forgotten(pair: Rig) -> None:
    kept = []

    async def leave_open() -> None:
        kept.append(await totemd.aio.Client(pair.run_dirs[1]).connect())
        await kept[0].join("outlived")

    with pair.client(2) as two, two.join("outlived") as b:
        run(leave_open())
        group_receive(b, 2)
        b.mcast(b"nobody takes this")
        while not kept[0]._connection._endpoint._socket.poll(0):  # it has arrived, and a send sees it
            time.sleep(0.01)
        with pytest.warns(ResourceWarning, match="never closed"):
            kept.clear()
            gc.collect()
        group_receive(b, 1)
        assert changes(group_receive(b, 1))[0].left == (Member(1, os.getpid(), Reason.PROCESS_DOWN),)
