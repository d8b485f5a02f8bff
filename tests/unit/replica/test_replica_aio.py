"""The asyncio replica and its building blocks on real cpg processes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest
from cpgkit import DEADLINE, Rig
from machines import Counter
from totemd import Address, InvalidArgument, NotMember, aio, replica
from totemd.replica import Available, IncompatibleState, Majority, Rejected, Status, TransferFailed
from totemd.services.replica.facade import Leader, Lock, Replica, ReplicatedDict


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(3 * DEADLINE):
            await coroutine

    asyncio.run(limited())


async def client(stack: AsyncExitStack, rig: Rig, node: int) -> aio.Client:
    return await stack.enter_async_context(aio.Client(rig.run_dirs[node]))


async def until(condition: Any) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.01)


def test_commands_are_applied_everywhere(pair: Rig) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            mine, theirs = Counter(), Counter()
            one = await stack.enter_async_context(Replica(await client(stack, pair, 1), "counter", mine))
            two = await stack.enter_async_context(Replica(await client(stack, pair, 2), "counter", theirs))
            assert await one.submit(b"5") == 5
            assert await two.submit(b"2") == 7
            await one.barrier()
            assert (mine.total, theirs.total) == (7, 7)
            with pytest.raises(Rejected, match="not a number"):
                await two.submit(b"many")
            assert await one.submit(b"1") == 8
            assert one.active_members == (one.address, two.address)
            assert sorted(await asyncio.gather(*(one.submit(b"1") for _ in range(300)))) == list(range(9, 309))

    run(main())


def test_a_late_one_is_given_the_state(pair: Rig) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(Replica(await client(stack, pair, 1), "late", Counter()))
            await one.submit(b"41")
            counter = Counter()
            two = await stack.enter_async_context(Replica(await client(stack, pair, 2), "late", counter))
            await two.active()
            assert counter.total == 41
            assert two.status is Status.ACTIVE

    run(main())


def test_what_is_no_state_machine_joins_nothing(pair: Rig) -> None:
    wrong: Any = object()

    async def main() -> None:
        async with AsyncExitStack() as stack:
            connected = await client(stack, pair, 1)
            with pytest.raises(InvalidArgument, match="apply, snapshot and restore"):
                await Replica(connected, "none", wrong).start()
            assert await connected.membership("none") == ()
            await (await stack.enter_async_context(Replica(connected, "none", Counter()))).active()

    run(main())


def test_what_the_state_machine_raises_ends_the_replica(pair: Rig) -> None:
    class Broken(Counter):
        def apply(self, command: bytes) -> int:
            raise ZeroDivisionError(command)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(Replica(await client(stack, pair, 1), "broken", Broken()))
            with pytest.raises(ZeroDivisionError):
                await one.submit(b"1")
            with pytest.raises(ZeroDivisionError):
                await one.closed()
            with pytest.raises(ZeroDivisionError):
                await one.submit(b"1")

    run(main())


def test_what_a_callback_raises_at_the_end_leaves_nobody_without_an_answer(
    pair: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Counter):
        def apply(self, command: bytes) -> int:
            raise ZeroDivisionError(command)

    def refuse_the_end(status: Status) -> None:
        if status is Status.CLOSED:
            raise LookupError("the end")

    async def main() -> None:
        async with AsyncExitStack() as stack:
            connected = await client(stack, pair, 1)
            one = await Replica(connected, "end", Broken(), on_status=refuse_the_end).start()
            with pytest.raises(ZeroDivisionError):
                async with asyncio.timeout(DEADLINE):
                    await one.submit(b"1")
            await one.close()
            assert await connected.membership("end") == ()

    run(main())
    assert "LookupError: the end" in caplog.text


def test_a_state_of_another_format_is_refused(pair: Rig) -> None:
    class Later(Counter):
        snapshot_format = 2

    async def main() -> None:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(Replica(await client(stack, pair, 1), "format", Counter()))
            await one.submit(b"1")
            two = await stack.enter_async_context(Replica(await client(stack, pair, 2), "format", Later()))
            with pytest.raises(IncompatibleState, match=r"format 1.*accepts 2"):
                await two.active()
            await until(lambda: one.members == (one.address,))
            assert await one.submit(b"1") == 2

    run(main())


def test_a_lock_has_no_place_in_the_group_of_a_dictionary(pair: Rig) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            shared = await stack.enter_async_context(ReplicatedDict(await client(stack, pair, 1), "mixed"))
            await shared.set("k", 1)
            with pytest.raises(IncompatibleState, match="not the state of a lock"):
                async with Lock(await client(stack, pair, 2), "mixed", Available()):
                    pass
            await until(lambda: len(shared.replica.members) == 1)
            assert await shared.add("k") == 2

    run(main())


def test_a_closed_replica_says_so(pair: Rig) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            one = Replica(await client(stack, pair, 1), "closed", Counter())
            async with one:
                await one.submit(b"1")
            with pytest.raises(NotMember):
                await one.submit(b"1")

    run(main())


def test_the_state_survives_the_cpg_process(rig: Rig) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            counter = Counter()
            one = await stack.enter_async_context(Replica(await client(stack, rig, 1), "kept", counter))
            two = await stack.enter_async_context(Replica(await client(stack, rig, 2), "kept", Counter()))
            await one.submit(b"3")
            await two.active()
            rig.kill(1)
            assert await two.submit(b"4") == 7
            await until(lambda: len(two.members) == 1)
            rig.start(1)
            # It has missed the 4, so only a transfer can bring it to 7: then it has noticed that it was away.
            await until(lambda: counter.total == 7 and one.status is Status.ACTIVE)
            assert await one.submit(b"1") == 8
            assert counter.total == 8

    run(main())


def test_a_majority_of_both_nodes(pair: Rig) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(Replica(await client(stack, pair, 1), "both", Counter(), Majority(2)))
            with pytest.raises(TimeoutError, match=r"not become active within 0\.2 s \(it is (joining|suspended)\)"):
                await one.active(timeout=0.2)
            two = await stack.enter_async_context(Replica(await client(stack, pair, 2), "both", Counter(), Majority(2)))
            assert await two.submit(b"3") == 3
            await two.close()
            await until(lambda: one.status is Status.SUSPENDED)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await one.submit(b"3")

    run(main())


def test_a_dictionary(pair: Rig) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            changes: list[tuple[Any, Any]] = []
            told: list[int] = []
            one = await stack.enter_async_context(ReplicatedDict(await client(stack, pair, 1), "dict"))
            await one.set("colour", {"name": "blue"})
            two = await stack.enter_async_context(
                ReplicatedDict(
                    await client(stack, pair, 2),
                    "dict",
                    on_change=lambda key, value: changes.append((key, value)),
                    on_members=lambda members: told.append(len(members)),
                )
            )
            assert told == [2]
            assert dict(two) == {"colour": {"name": "blue"}}
            await two.update({1: [2], "raw": None})
            assert await one.compare_and_set(1, [2], [3])
            assert not await two.compare_and_set(1, [2], [4])
            assert not await two.compare_and_set(1, replica.MISSING, [4])
            assert await two.setdefault(1, [5]) == [3]
            assert await two.compare_and_set(1, [3], replica.MISSING)
            assert await one.setdefault(1, [3]) == [3]
            assert await two.pop(1) == [3]
            with pytest.raises(KeyError):
                await one.delete(1)
            await one.clear()
            assert len(one) == 0
            await two.sync()
            assert dict(two) == {}
            assert changes == [
                *(
                    ("colour", {"name": "blue"}),
                    (1, [2]),
                    ("raw", None),
                    (1, [3]),
                    (1, replica.MISSING),
                    (1, [3]),
                    (1, replica.MISSING),
                ),
                *(("colour", replica.MISSING), ("raw", replica.MISSING)),
            ]

    run(main())


def test_a_lock_is_fair_and_passes_on_when_its_holder_goes(pair: Rig) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(Lock(await client(stack, pair, 1), "lock", Available()))
            two = await stack.enter_async_context(Lock(await client(stack, pair, 2), "lock", Available()))
            async with one.held() as first:
                assert one.is_held
                waiting = asyncio.create_task(two.acquire())
                await until(lambda: len(one._turns.line) == 2)
                assert not waiting.done()
                assert two.holder == one.replica.address
            second = await waiting
            assert second > first
            again = asyncio.create_task(one.acquire())
            await until(lambda: len(one._turns.line) == 2)
            await two.replica.close()
            assert await again > second
            await one.release()
            assert one.holder is None

    run(main())


def test_who_gives_up_waiting_leaves_the_line(pair: Rig) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(Lock(await client(stack, pair, 1), "tired", Available()))
            two = await stack.enter_async_context(Lock(await client(stack, pair, 2), "tired", Available()))
            await one.acquire()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await two.acquire()
            await until(lambda: len(one._turns.line) == 1)
            await one.release()
            assert await two.acquire() > 1

    run(main())


def test_the_oldest_leads(pair: Rig) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            heard: list[tuple[Address | None, int]] = []
            first = Leader(await client(stack, pair, 1), "leader", Available())
            async with first:
                one = await first.elected()
                second = await stack.enter_async_context(
                    Leader(
                        await client(stack, pair, 2),
                        "leader",
                        Available(),
                        on_change=lambda who, fence: heard.append((who, fence)),
                    )
                )
                assert second.leader == first.replica.address
                assert first.is_leader
                assert not second.is_leader
                await until(lambda: len(first._turns.line) == 2)
                mine = first.replica.address
            assert await second.elected() == one + 1
            assert second.is_leader
            assert heard[-2:] == [(mine, one), (second.replica.address, one + 1)]

    run(main())


def test_one_that_fails_by_its_clock_ends_and_leaves(pair: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing arrives then that would wake what follows the group."""
    receive, silent = aio.Group.receive, asyncio.Event()

    async def receive_until_silence(group: aio.Group) -> Any:
        event = await receive(group)
        if silent.is_set():
            await asyncio.Event().wait()
        return event

    monkeypatch.setattr(aio.Group, "receive", receive_until_silence)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            connected = await client(stack, pair, 1)
            one = await Replica(connected, "clock", Counter()).start()
            driver = one._driver
            assert driver is not None
            driver.expire = lambda now: driver.close(TransferFailed("too late"))  # type: ignore[method-assign]
            silent.set()
            one._expire()
            async with asyncio.timeout(DEADLINE):
                with pytest.raises(TransferFailed, match="too late"):
                    await one.closed()
                while await connected.membership("clock"):
                    await asyncio.sleep(0.01)

    run(main())
