"""The resources that cmap shows, and what their failures lead to: scenarios S28 to S32, with a clock the test turns."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from totemd.executive.config.model import ResourceOptions, WatchedOptions
from totemd.ipc.messages.sam import Resource, ResourceState
from totemd.sam.monitor import FIRST_CHECK_SECONDS, Act, Finding, Monitor, Rule, check_period, figure_text, has_failed
from totemd.sam.warden import Warden, end_the_executive
from totemd.sam.watchdog import Watchdog

AGENT = "resources.process.4711"
MEMORY = "resources.system.memory_used"
RUNNING = Resource(ResourceState.RUNNING, "restart", 1000, 0)


class Machine:
    """A monitor with a clock, figures and applications."""

    def __init__(self, **figures: float) -> None:
        self.now = 1000.0
        self.figures = {"memory_used": 10.0, "load_15min": 0.5, **figures}
        self.processes: dict[str, Resource] = {}
        self.monitor = Monitor(lambda: self.processes)

    def agent(self, **changes: Any) -> None:
        """An application gives a sign of life, or turns."""
        now = msgspec.structs.replace(self.processes.get("4711", RUNNING), last_updated=int(self.now * 1e9))
        self.processes["4711"] = msgspec.structs.replace(now, **changes)

    def wait(self, seconds: float, *, beats: bool = False) -> list[Finding]:
        """What is found meanwhile."""
        end, found = self.now + seconds, list[Finding]()
        while (due := self.monitor.next_deadline(self.now)) <= end:
            self.now = due
            if beats:
                self.agent()
            found += self.monitor.expire(self.now, self.figures.__getitem__)
            self.now += 0.001
        self.now = end
        return found


def watched(**rule: Any) -> Rule:
    return replace(Rule(50.0, 3000, ""), **rule)


# -- the scenarios


@pytest.mark.parametrize("poll_period", [1000, 5000])
def test_s28_an_agent_that_was_killed_hard_has_failed(poll_period: int) -> None:
    machine = Machine()
    machine.agent(poll_period=poll_period)
    assert machine.wait(30, beats=True) == []
    bound = max(1.5 * poll_period / 1000, poll_period / 1000 + 1) + poll_period / 1000
    assert machine.wait(bound + 0.1) == [Finding(AGENT, failed=True)]
    assert machine.wait(100) == [], "it is said once"


def test_s29_an_agent_that_stops_has_not_failed() -> None:
    machine = Machine()
    machine.agent()
    machine.wait(20, beats=True)
    machine.agent(state=ResourceState.STOPPED)
    assert machine.wait(100) == []
    machine.agent(state=ResourceState.WAITING)
    assert machine.wait(100) == []


def test_s30_a_key_that_is_deleted_is_forgotten() -> None:
    machine = Machine()
    machine.agent()
    machine.wait(20, beats=True)
    machine.processes.clear()
    assert machine.wait(100) == []
    assert not any(key.startswith(AGENT) for key in machine.monitor.shown())


def test_s30_a_key_that_comes_back_is_a_new_one() -> None:
    machine = Machine()
    for _ in range(2):
        machine.agent(state=ResourceState.FAILED)
        assert machine.monitor.expire(machine.now, machine.figures.__getitem__) == []
        assert machine.wait(FIRST_CHECK_SECONDS - 1) == [], "nobody is judged at once"
        assert machine.wait(2) == [Finding(AGENT, failed=True)]
        machine.processes.clear()
        machine.wait(10)
        assert machine.monitor.next_deadline(machine.now) > machine.now, "nothing is left to be checked"


def test_s31_a_poll_period_that_changes_holds_from_the_next_check_on() -> None:
    machine = Machine(memory_used=90.0)
    machine.monitor.configure({"memory_used": watched(poll_period=100_000)}, machine.now)
    assert machine.wait(10) == []
    machine.monitor.configure({"memory_used": watched(poll_period=500)}, machine.now)
    assert machine.wait(FIRST_CHECK_SECONDS + 1) == [Finding(MEMORY, failed=True)]


@pytest.mark.parametrize("poll_period", [499, 120_001])
def test_s31_a_poll_period_that_cannot_be_used_is_said_once(poll_period: int) -> None:
    machine = Machine()
    machine.agent(poll_period=poll_period, last_updated=2**62)
    assert machine.wait(100) == [Finding(AGENT, failed=False, strange_period=poll_period)]
    assert check_period(poll_period) == 6.0


def test_s32_without_a_device_nothing_is_ever_reset(tmp_path: Path) -> None:
    acts: list[Act] = []

    async def live() -> Said:
        said = Said()
        warden = Warden(said, dict, {act: lambda act=act: acts.append(act) for act in Act})  # type: ignore[arg-type]
        warden.configure(ResourceOptions(watchdog_device=str(tmp_path / "none")))
        warden.configure(ResourceOptions(watchdog_device=str(tmp_path / "none")))
        warden.close(cleanly=True)
        warden = Warden(said, dict)  # type: ignore[arg-type]
        warden.configure(ResourceOptions())
        warden.close(cleanly=False)
        return said

    said = asyncio.run(live())
    assert said.lines == ["there is no watchdog: nothing resets the machine"]
    assert acts == []


# -- figures of the machine


def test_figures_are_shown_without_a_limit_and_judged_with_one() -> None:
    machine = Machine(memory_used=60.0, load_15min=7.25)
    rules = {"memory_used": watched(maximum=None), "load_15min": watched(maximum=4.5, recovery="shutdown")}
    machine.monitor.configure(rules, machine.now)
    assert machine.wait(20) == [Finding("resources.system.load_15min", failed=True, act=Act.SHUTDOWN)]
    keys = machine.monitor.shown()
    assert (keys[f"{MEMORY}.current"], keys[f"{MEMORY}.state"]) == (60, "stopped")
    assert keys["resources.system.load_15min.current"] == "7.25"
    assert keys["resources.system.load_15min.state"] == "failed"
    machine.figures["load_15min"] = 1.0
    assert machine.wait(20) == [Finding("resources.system.load_15min", failed=False)]


@pytest.mark.parametrize(
    ("recovery", "act"),
    [
        ("watchdog", Act.STARVE),
        ("quit", Act.STARVE),
        ("reboot", Act.REBOOT),
        ("shutdown", Act.SHUTDOWN),
        ("restart", Act.LOG),
        ("", Act.LOG),
    ],
)
def test_what_a_failure_leads_to(recovery: str, act: Act) -> None:
    machine = Machine()
    machine.agent(state=ResourceState.FAILED, recovery=recovery)
    assert machine.wait(20) == [Finding(AGENT, failed=True, act=act)]


@pytest.mark.parametrize(
    ("changes", "age", "failed"),
    [
        ({}, 1.9, False),
        ({}, 2.1, True),
        ({"poll_period": 10_000}, 14.9, False),
        ({"poll_period": 10_000}, 15.1, True),
        ({"poll_period": 0}, 1e6, False),
        ({"state": ResourceState.STOPPED}, 1e6, False),
        ({"state": ResourceState.FAILED}, 0, True),
    ],
)
def test_when_an_application_has_failed(changes: Mapping[str, Any], age: float, failed: bool) -> None:
    assert has_failed(msgspec.structs.replace(RUNNING, last_updated=0, **changes), age) is failed


def test_figures_as_cmap_has_them() -> None:
    assert (figure_text(17.0), figure_text(0.126)) == (17, "0.13")


# -- the device


class Said:
    """A log that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda text, **_: self.lines.append(text)


def test_a_device_is_fed_and_disarmed(tmp_path: Path) -> None:
    device = tmp_path / "dog"
    device.touch()
    dog = Watchdog(str(device), 6)
    assert not dog.takes_timeout, "a file is no watchdog"
    dog.feed()
    dog.feed()
    dog.disarm()
    assert device.read_bytes() == b"\0\0V"


def test_a_device_that_is_starved_is_neither_fed_nor_disarmed(tmp_path: Path) -> None:
    device = tmp_path / "dog"
    device.touch()
    dog = Watchdog(str(device), 6)
    dog.starve()
    dog.feed()
    dog.disarm()
    assert device.read_bytes() == b""


@pytest.mark.parametrize(("cleanly", "left"), [(True, b"\0V"), (False, b"\0")])
def test_only_a_clean_end_disarms(tmp_path: Path, cleanly: bool, left: bytes) -> None:
    device = tmp_path / "dog"
    device.touch()

    async def live() -> None:
        warden = Warden(Said(), dict)  # type: ignore[arg-type]
        warden.configure(ResourceOptions(watchdog_device=str(device)))
        warden.close(cleanly=cleanly)

    asyncio.run(live())
    assert device.read_bytes() == left


def test_a_failure_is_said_and_done(tmp_path: Path) -> None:
    """The real clock, and periods as short as they may be; the first check takes its time."""
    device = tmp_path / "dog"
    device.touch()
    done: list[Act] = []
    failed = {
        "1": msgspec.structs.replace(RUNNING, state=ResourceState.FAILED, recovery="quit"),
        "2": msgspec.structs.replace(RUNNING, state=ResourceState.FAILED, recovery="reboot"),
    }

    async def live() -> Said:
        said, over = Said(), asyncio.Event()

        def reboot() -> None:
            done.append(Act.REBOOT)
            over.set()

        warden = Warden(said, lambda: failed, {Act.REBOOT: reboot})  # type: ignore[arg-type]
        warden.configure(ResourceOptions(str(device), 2, WatchedOptions(max=1000)))
        await asyncio.wait_for(over.wait(), 60)
        warden.close(cleanly=True)
        return said

    said = asyncio.run(live())
    assert done == [Act.REBOOT]
    assert 'resource "process.1" failed!' in said.lines and 'resource "process.2" failed!' in said.lines
    assert not device.read_bytes().endswith(b"V"), "a starved device must not be disarmed"


def test_shutdown_is_what_sigterm_to_the_executive_is(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))

    end_the_executive()
    assert sent == [(os.getppid(), signal.SIGTERM)]
