"""Scheduling: what is asked for, and that a refusal is said once and survived."""

from __future__ import annotations

import errno
import gc
import os
from collections.abc import Callable, Iterator

import pytest
from totemd.executive.config.model import SystemOptions
from totemd.executive.runtime import realtime
from totemd.executive.runtime.logging import Logger, get_logger


@pytest.mark.parametrize(("priority", "nice"), [("max", -20), ("min", 19), ("5", 5), ("-3", -3)])
def test_nice_values(priority: str, nice: int) -> None:
    assert realtime.nice_value(priority) == nice


def refuse(*_: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(Logger, "info", lambda self, event, **_: lines.append(event))
    return lines


def test_everything_is_refused(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    for module, name in ((os, "sched_setscheduler"), (os, "setpriority"), (realtime, "_lock_memory")):
        monkeypatch.setattr(module, name, refuse)
    realtime.request(SystemOptions(), get_logger("TOTEM"))
    assert told == [
        "running without SCHED_RR (Operation not permitted), nice -20 (Operation not permitted), "
        "locked memory (Operation not permitted)"
    ]


def record(into: list[tuple[object, ...]]) -> Callable[..., None]:
    return lambda *arguments: into.append(arguments)


def test_the_lowest_round_robin_priority_for_every_thread(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    asked: list[tuple[object, ...]] = []
    nice: list[tuple[object, ...]] = []
    monkeypatch.setattr(os, "sched_setscheduler", record(asked))
    monkeypatch.setattr(os, "setpriority", record(nice))
    monkeypatch.setattr(realtime, "_lock_memory", lambda: None)
    realtime.request(SystemOptions(sched_rr=True), get_logger("TOTEM"))
    assert os.getpid() in [thread for thread, _, _ in asked]
    assert {policy for _, policy, _ in asked} == {os.SCHED_RR | os.SCHED_RESET_ON_FORK}
    assert nice == []
    assert told == []


@pytest.mark.parametrize(("explicit", "processors", "asked"), [(False, 2, 0), (True, 2, 1), (False, 4, 1)])
def test_few_processors_keep_ordinary_scheduling_unless_the_file_asks(
    monkeypatch: pytest.MonkeyPatch, told: list[str], explicit: bool, processors: int, asked: int
) -> None:
    asks: list[object] = []
    monkeypatch.setattr(realtime, "_schedule_round_robin", lambda: asks.append(1))
    monkeypatch.setattr(realtime, "_lock_memory", lambda: None)
    monkeypatch.setattr(os, "setpriority", lambda *_: None)
    realtime.request(SystemOptions(), get_logger("TOTEM"), explicit=explicit, processors=processors)
    assert len(asks) == asked
    assert bool(told) is not bool(asked)


def test_without_round_robin_the_nice_value_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    nice: list[tuple[object, ...]] = []
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "setpriority", record(nice))
    monkeypatch.setattr(realtime, "_lock_memory", lambda: None)
    realtime.request(SystemOptions(sched_rr=False, priority="-7"), get_logger("TOTEM"))
    assert nice == [(os.PRIO_PROCESS, 0, -7)]


@pytest.fixture
def collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_the_collector_is_frozen_but_not_stopped(collector: None) -> None:
    realtime.freeze_collector()
    assert gc.get_freeze_count() > 0
    assert gc.isenabled()
