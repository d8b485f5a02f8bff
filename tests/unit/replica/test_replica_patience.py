"""Blocking replicas in a group that never rests: time passes there too."""

from __future__ import annotations

from typing import Any

import pytest
from busygroup import SILENT, BusyClient
from cpgkit import DEADLINE
from machines import Counter
from totemd.replica import Available, Lock, Majority, Replica, ReplicatedDict, Status
from totemd.services.replica import client as replica_client
from totemd.services.replica import core


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(replica_client, "MOMENT_SECONDS", 0.05)
    return BusyClient()


def test_it_is_followed_for_as_long_as_was_said(busy: Any) -> None:
    with Replica(busy, "busy", Counter()) as one:
        one.active(DEADLINE)
        assert one.process(0.05) > 0


def test_what_is_there_is_taken_in_but_not_for_ever(busy: Any) -> None:
    with Replica(busy, "busy", Counter()) as one:
        one.active(DEADLINE)
        one.post(b"3")
        assert one.process() > 1
        assert one.machine.total == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("timeout", [0.0, 0.05])
def test_every_wait_ends(busy: Any, timeout: float) -> None:
    with Replica(busy, "busy", Counter()) as one:
        one.active(DEADLINE)
        with pytest.raises(TimeoutError, match="never"):
            one.wait(lambda: False, timeout, "never")
        busy.group.loses = True
        with pytest.raises(TimeoutError, match="not answered"):
            one.submit(b"1", timeout)
        with pytest.raises(TimeoutError, match="not answered"):
            one.barrier(timeout)


@pytest.mark.parametrize("timeout", [0.0, 0.05])
def test_work_is_not_waited_for_for_longer(busy: Any, timeout: float) -> None:
    with Replica(busy, "busy", Counter(), Majority(2)) as one, pytest.raises(TimeoutError, match="active"):
        one.active(timeout)


def test_what_is_there_answers_a_wait_without_time(busy: Any) -> None:
    with Replica(busy, "busy", Counter()) as one:
        one.active(DEADLINE)
        assert one.submit(b"3", 0.0) == 3


WRITES: list[Any] = [
    lambda shared, **limit: shared.pop("k", **limit),
    lambda shared, **limit: shared.setdefault("k", 1, **limit),
    lambda shared, **limit: shared.compare_and_set("k", 1, 2, **limit),
    lambda shared, **limit: shared.add("k", **limit),
    lambda shared, **limit: shared.clear(**limit),
    lambda shared, **limit: shared.sync(**limit),
]

OPERATORS: list[Any] = [
    lambda shared: shared.__setitem__("k", 1),
    lambda shared: shared.__delitem__("k"),
    lambda shared: shared.update(timeout=5),
    lambda shared: shared.popitem(),
]


def test_a_dictionary_does_not_wait_for_ever(busy: Any) -> None:
    with ReplicatedDict(busy, "busy", timeout=DEADLINE) as shared:
        shared["k"] = 1
        busy.group.loses = True
        for write in WRITES:
            with pytest.raises(TimeoutError, match=r"not answered within 0\.01 s"):
                write(shared, timeout=0.01)
        shared.default_timeout = 0.02
        for write in (*OPERATORS, *WRITES):
            with pytest.raises(TimeoutError, match=r"not answered within 0\.02 s"):
                write(shared)
    with ReplicatedDict(BusyClient(), "busy", default_timeout=0.03) as shared:  # type: ignore[arg-type]
        assert shared.default_timeout == 0.03
        shared.update(timeout=5)
        assert shared == {"timeout": 5}


def test_the_end_of_a_block_waits_for_no_longer_than_its_beginning(busy: Any) -> None:
    with Lock(busy, "busy", Available(), timeout=DEADLINE) as lock, lock.held(0.5):
        busy.group.loses = True
    assert busy.group.is_left


@pytest.mark.parametrize("timeout", [0.0, 0.05])
def test_a_turn_is_not_waited_for_for_longer_because_the_line_moves(busy: Any, timeout: float) -> None:
    with Lock(busy, "busy", Available(), timeout=DEADLINE) as lock:
        lock._turns.line = [(*SILENT, 1)]
        busy.group.on_event = lock._moved
        assert not lock.is_held
        with pytest.raises(TimeoutError, match=r"turn|answered"):
            lock.acquire(timeout)


def test_a_busy_group_does_not_stop_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or nobody would go on without a member that says nothing, for as long as others have much to say."""
    monkeypatch.setattr(core, "CENSUS_SECONDS", 0.01)
    with Replica(BusyClient(SILENT), "busy", Counter()) as one:  # type: ignore[arg-type]
        one.active(DEADLINE)
        assert one.status is Status.ACTIVE
