"""The blocking `Lock` and `Leader` on real cpg processes, with asyncio ones as their partners."""

from __future__ import annotations

import asyncio
import contextlib
import select
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from cpgkit import DEADLINE, Rig
from machines import Counter
from totemd import Address, InvalidArgument, NotMember, TryAgain, aio, replica
from totemd.replica import Available, Leader, Lock, Majority, OutcomeUnknown, Replica, ReplicatedDict, Status
from totemd.services.replica import client as replica_client
from totemd.services.replica.turns import FENCE_MAX

T = TypeVar("T")

Partner = Callable[[Any], Any]
"""Runs a coroutine in the partner's loop and returns its result."""


class Loop:
    """A program with a loop of its own, in a thread: the blocking ones have to be served while they wait."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = contextlib.AsyncExitStack()

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(DEADLINE)

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> Callable[[], Any]:
        """Begin; returns what waits for the result."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return lambda: future.result(DEADLINE)

    def enter(self, rig: Rig, node: int, make: Callable[[aio.Client], Any]) -> Any:
        async def enter() -> Any:
            client = await self._stack.enter_async_context(aio.Client(rig.run_dirs[node]))
            return await self._stack.enter_async_context(make(client))

        return self.do(enter())

    def close(self) -> None:
        self.do(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        self._loop.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def follow(line: Lock | Leader, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, repr(line.replica)
        line.process(0.02)


def test_a_lock_passes_between_the_two_kinds(pair: Rig, loop: Loop) -> None:
    with pair.client(1) as client, Lock(client, "l-pass", Available(), timeout=DEADLINE) as one:
        assert not one.is_held and one.holder is None
        with one.held(DEADLINE) as first:
            assert one.is_held and one.holder == one.replica.address and one.fence == first
            waiting = loop.start(_entered(loop, pair, "l-pass"))
            follow(one, lambda: len(one._turns.line) == 2)
        assert not one.is_held
        theirs, second = waiting()
        assert second > first
        with pytest.raises(TimeoutError, match=r"turn|answered"):
            one.acquire(0.1)
        follow(one, lambda: len(one._turns.line) == 1)
        assert one.holder == theirs.replica.address
        loop.do(theirs.release())
        assert one.acquire(DEADLINE) > second
        with pytest.raises(RuntimeError, match="release it first"):
            one.acquire()
        one.release(DEADLINE)
        with pytest.raises(RuntimeError, match="not held"):
            one.release()


async def _entered(loop: Loop, rig: Rig, name: str) -> tuple[Any, int]:
    client = await loop._stack.enter_async_context(aio.Client(rig.run_dirs[2]))
    lock = await loop._stack.enter_async_context(replica.aio.Lock(client, name, Available()))
    return lock, await lock.acquire()


def test_nobody_is_waited_for_who_tries(pair: Rig, loop: Loop) -> None:
    theirs = loop.enter(pair, 2, lambda client: replica.aio.Lock(client, "l-try", Available()))
    with pair.client(1) as client, Lock(client, "l-try", Available(), timeout=DEADLINE) as mine:
        first = mine.try_acquire(DEADLINE)
        assert first is not None and mine.is_held
        with pytest.raises(RuntimeError, match="release it first"):
            mine.try_acquire(DEADLINE)
        for _ in range(3):
            assert loop.do(theirs.try_acquire()) is None and not theirs.is_held
        mine.release(DEADLINE)
        second = loop.do(theirs.try_acquire())
        assert second > first and theirs.is_held
        for _ in range(3):
            assert mine.try_acquire(DEADLINE) is None and not mine.is_held
        loop.do(theirs.release())
        assert mine.acquire(DEADLINE) > second


def test_a_turn_counts_only_once_it_is_certain(pair: Rig, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    theirs = loop.enter(pair, 2, lambda client: replica.aio.Lock(client, "l-sure", Available()))
    with pair.client(1) as client, Lock(client, "l-sure", Available(), timeout=DEADLINE) as mine:
        certain, certain_there = mine.replica.barrier, theirs.replica.barrier

        def barrier(timeout: float | None = None) -> None:
            asked.append("here")
            if len(asked) == 1:
                raise OutcomeUnknown("not this time")
            certain(timeout)

        async def barrier_there() -> None:
            asked.append("there")
            if asked.count("there") == 1:
                raise OutcomeUnknown("not this time")
            await certain_there()

        monkeypatch.setattr(mine.replica, "barrier", barrier)
        monkeypatch.setattr(theirs.replica, "barrier", barrier_there)
        mine.acquire(DEADLINE)
        assert asked == ["here"] * 2
        mine.release(DEADLINE)
        loop.do(theirs.acquire())
        assert asked == ["here"] * 2 + ["there"] * 2


def test_a_holder_that_goes_passes_it_on(pair: Rig) -> None:
    other = Loop()
    theirs = other.enter(pair, 2, lambda client: replica.aio.Lock(client, "l-gone", Available()))
    try:
        first = other.do(theirs.acquire())
        with pair.client(1) as client, Lock(client, "l-gone", Available(), timeout=DEADLINE) as mine:
            with pytest.raises(TimeoutError):
                mine.acquire(0.05)
            closing = other.start(other._stack.aclose())
            assert mine.acquire(DEADLINE) > first
            closing()
    finally:
        other.close()


def test_who_was_away_has_lost_it_and_may_ask_again(rig: Rig, loop: Loop) -> None:
    theirs = loop.enter(rig, 2, lambda client: replica.aio.Lock(client, "l-away", Available()))
    with rig.client(1) as client, Lock(client, "l-away", Available(), timeout=DEADLINE) as mine:
        first = mine.acquire(DEADLINE)
        waiting = loop.start(theirs.acquire())
        follow(mine, lambda: len(mine._turns.line) == 2)
        rig.kill(1)
        second = waiting()
        assert second > first
        follow(mine, lambda: not mine.is_held)
        assert mine.replica.is_away, "known before there is an event that tells it"
        rig.start(1)
        follow(mine, lambda: mine.holder == theirs.replica.address)
        assert not mine.is_held and not mine.replica.is_away
        mine.release(DEADLINE)
        loop.do(theirs.release())
        assert mine.acquire(DEADLINE) > second


def test_fences_go_on_above_what_the_protected_thing_has_seen(pair: Rig) -> None:
    with pair.client(1) as client:
        with Lock(client, "l-fence", Available(), fence_above=41, timeout=DEADLINE) as lock:
            assert lock.acquire(DEADLINE) == 42
        for wrong in (-1, FENCE_MAX + 1, 1.5):
            with pytest.raises(InvalidArgument, match="fence"):
                Lock(client, "l-fence", Available(), fence_above=wrong)  # type: ignore[arg-type]


def test_without_a_majority_nobody_gets_it(pair: Rig) -> None:
    with pair.client(1) as client:
        with pytest.raises(TimeoutError, match=r"active|joined"):
            Lock(client, "l-alone", Majority(2), timeout=0.3)
        assert client.join("l-alone", timeout=DEADLINE).members, "the attempt has left the group"


def test_the_oldest_leads_and_the_next_follows(pair: Rig, loop: Loop) -> None:
    heard: list[tuple[Address | None, int]] = []
    with pair.client(1) as client:

        def told(who: Address | None, fence: int) -> None:
            assert leaders == [] or leaders[0].leader == who, "it may be looked at from here"
            heard.append((who, fence))

        leaders: list[Leader] = []
        mine = Leader(client, "l-lead", Available(), on_change=told, timeout=DEADLINE)
        leaders.append(mine)
        with mine:
            term = mine.elected(DEADLINE)
            assert mine.is_leader and mine.leader == mine.replica.address
            entering = loop.start(_leads(loop, pair, "l-lead"))
            follow(mine, lambda: len(mine._turns.line) == 2)
            address = mine.replica.address
            assert heard[-1] == (address, term)
        theirs, next_term = entering()
        assert next_term == term + 1 and theirs.is_leader
        leaders.clear()
        again = Leader(client, "l-lead", Available(), on_change=told, timeout=DEADLINE)
        assert again.leader == theirs.replica.address
        with pytest.raises(TimeoutError, match=r"turn|answered"):
            again.elected(0.1)
        follow(again, lambda: len(again._turns.line) == 2)
        while again.process():
            pass
        loop.do(theirs.replica.barrier())
        assert select.select([again], [], [], DEADLINE)[0] == [again]
        again.close()


async def _leads(loop: Loop, rig: Rig, name: str) -> tuple[Any, int]:
    client = await loop._stack.enter_async_context(aio.Client(rig.run_dirs[2]))
    leader = await loop._stack.enter_async_context(replica.aio.Leader(client, name, Available()))
    return leader, await leader.elected()


def test_a_leader_that_was_away_stands_again(rig: Rig, loop: Loop) -> None:
    with rig.client(1) as client, Leader(client, "l-back", Available(), timeout=DEADLINE) as mine:
        mine.elected(DEADLINE)
        waiting = loop.start(_leads(loop, rig, "l-back"))
        follow(mine, lambda: len(mine._turns.line) == 2)
        rig.kill(1)
        theirs, _ = waiting()
        rig.start(1)
        follow(mine, lambda: mine.leader == theirs.replica.address)
        follow(mine, lambda: len(mine._turns.line) == 2)
        assert not mine.is_leader


def test_what_is_posted_is_applied_and_not_waited_for(pair: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter()
    with pair.client(1) as client, Replica(client, "l-post", counter) as one:
        one.active(DEADLINE)
        one.post(b"3")
        one.post(b"4")
        one.wait(lambda: counter.total == 7, DEADLINE)
        monkeypatch.setattr(replica_client, "PROPOSALS_MAX", 2)
        with pytest.raises(TryAgain, match="2 commands"):
            for _ in range(3):
                one.post(b"1")
        with pytest.raises(TimeoutError, match="never"):
            one.wait(lambda: False, 0.05, "never")
        one.close()
        with pytest.raises(NotMember):
            one.post(b"1")


def test_what_a_replica_calls_cannot_use_it(pair: Rig) -> None:
    shared: list[ReplicatedDict] = []

    def write(key: Any, value: Any) -> None:
        shared[0]["other"] = value

    with pair.client(1) as client:
        shared.append(ReplicatedDict(client, "l-inner", on_change=write, timeout=DEADLINE))
        with pytest.raises(RuntimeError, match="cannot be used by what it calls"):
            shared[0]["one"] = 1
        assert shared[0].replica.status is Status.CLOSED
    with pair.client(2) as client:
        other = ReplicatedDict(client, "l-inner-2", on_change=lambda *_: refused(), timeout=DEADLINE)

        def refused() -> None:
            with pytest.raises(RuntimeError, match="cannot be used by what it calls"):
                other["other"] = 1
            with pytest.raises(RuntimeError, match="cannot be used by what it calls"):
                other.replica.post(b"")
            with pytest.raises(RuntimeError, match="cannot be used by what it calls"):
                other.replica.begin()
            with pytest.raises(RuntimeError, match="cannot be used by what it calls"):
                other.close()

        other["one"] = 1
        other["two"] = 2
        assert dict(other) == {"one": 1, "two": 2}, "what was refused had no effect"
