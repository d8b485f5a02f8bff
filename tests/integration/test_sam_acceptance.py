"""SAM's acceptance scenarios that need a node: quorum, cmap, the look at resources, and the death of the sam process.

The numbers are those of the table in docs/sam.md; the others are in tests/unit/sam (test_sam_scenarios, _client).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kit.command import SAM_RUN, alive, environment
from totemd.testing import Cluster, Node, wait_until

PATIENCE = 40
"""Seconds for what must happen on a busy machine."""

PRELUDE = """
import os, signal, sys, time
from totemd import sam
instance = sam.instance()
def note(*words): print(*words, flush=True)
def beat(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05); sam.health_check()
def on_warning():
    signal.signal(signal.SIGTERM, lambda *_: note("warned", instance))
note("begins", instance, os.getpid())
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Cluster(1) as cluster:
        yield cluster[1]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program under sam-run."""
    started: list[subprocess.Popen[str]] = []

    def begin(node: Node, body: str, *options: str) -> subprocess.Popen[str]:
        command = [*SAM_RUN, "--run-dir", str(node.run_dir), "--backoff", "0", *options]
        process = subprocess.Popen(
            [*command, "--", sys.executable, "-u", "-c", PRELUDE + body],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.terminate()
        process.communicate(timeout=30)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip()


def shown(node: Node, process: subprocess.Popen[str]) -> dict[str, object]:
    """What cmap says about the application of a sam-run."""
    done = node.control("--json", "cmap", "list", f"resources.process.{process.pid}.")
    return {key.rpartition(".")[2]: value for key, value in json.loads(done.stdout or "{}").items()}


def until_shown(node: Node, process: subprocess.Popen[str], state: str | None) -> dict[str, object]:
    def reached() -> dict[str, object] | None:
        keys = shown(node, process)
        return (keys or {"state": None}) if keys.get("state") == state else None

    found = wait_until(reached, PATIENCE, lambda: f"state {state}: {shown(node, process)}")
    assert found is not None
    return found


# -- quorum


@pytest.fixture(scope="module")
def pair() -> Iterator[Cluster]:
    """Two nodes that need each other."""
    with Cluster(2, options={"quorum.provider": "corosync_votequorum"}) as cluster:
        yield cluster


def until_quorate(cluster: Cluster, quorate: bool) -> None:
    wait_until(lambda: cluster[1].status().quorate is quorate, PATIENCE, lambda: f"quorate: {quorate}")


def test_s15_s16_who_registers_with_quorum_waits_for_it_and_is_ended_without(pair: Cluster, start: Start) -> None:
    until_quorate(pair, True)
    pair[2].kill()
    until_quorate(pair, False)
    body = (
        "sam.register(policy='restart+quorum+cmap'); on_warning(); sam.start(); note('started', instance); beat(1000)"
    )
    process = start(pair[1], body, "--interval", "1000")
    assert line(process).startswith("begins 1 ")
    until_shown(pair[1], process, "waiting for quorum")
    pair[2].start()
    assert line(process) == "started 1"
    until_shown(pair[1], process, "running")
    pair[2].kill()
    assert line(process) == "warned 1"
    assert line(process).startswith("begins 2 "), "killed, though it went on beating"
    until_shown(pair[1], process, "waiting for quorum")
    pair[2].start()
    assert line(process) == "started 2"


def test_any_program_runs_only_while_its_node_is_quorate(pair: Cluster, start: Start) -> None:
    until_quorate(pair, True)
    process = start(pair[1], "signal.pause()", "--name", "guarded", "--policy", "restart+quorum+cmap")
    first = int(line(process).split()[2])
    pair[2].kill()
    wait_until(lambda: not alive(first), PATIENCE, "it is ended when quorum is lost")
    until_shown(pair[1], process, "waiting for quorum")
    apps = json.loads(pair[1].control("--json", "apps").stdout)
    assert [(app["state"], app["policy"]) for app in apps if app["name"] == "guarded"] == [
        ("waiting", "restart+quorum+cmap")
    ]
    pair[2].start()
    assert line(process).startswith("begins 2 ")


def test_s15_without_a_quorum_provider_the_start_is_refused(node: Node, start: Start) -> None:
    body = """
sam.register(policy="quit+quorum")
try: sam.start()
except ValueError as error: note(error)
"""
    process = start(node, body)
    assert line(process).startswith("begins 1 ")
    assert "quorum.provider" in line(process)


def test_s15_without_a_quorum_provider_no_program_waits_for_quorum(node: Node) -> None:
    words = [*SAM_RUN, "--run-dir", str(node.run_dir), "--name", "guarded", "--policy", "quit+quorum", "--", "true"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, env=environment(), check=False)
    assert done.returncode == 125 and "names no quorum.provider" in done.stderr


# -- cmap


def test_s17_s18_cmap_shows_what_an_application_does(node: Node, start: Start) -> None:
    body = """
import select
sam.register(policy="quit+cmap"); sys.stdin.readline()
sam.start()
while not select.select([sys.stdin], [], [], 0.05)[0]: sam.health_check()
sys.stdin.readline(); sam.stop(); sys.stdin.readline()
"""
    process = start(node, body, "--interval", "20000")
    assert process.stdin is not None

    def go_on() -> None:
        process.stdin.write("\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]

    def last_updated() -> int:
        value = shown(node, process)["last_updated"]
        assert isinstance(value, int)
        return value

    assert line(process).startswith("begins 1 ")
    keys = until_shown(node, process, "stopped")
    assert (keys["recovery"], keys["poll_period"]) == ("quit", 20_000)
    go_on()
    until_shown(node, process, "running")
    first = last_updated()
    wait_until(lambda: last_updated() > first, PATIENCE, "it moves with the signs of life")
    go_on()
    until_shown(node, process, "stopped")
    go_on()
    assert process.wait(timeout=PATIENCE) == 0
    until_shown(node, process, None)


def test_s19_s28_s30_failed_remains_is_said_and_can_be_deleted(node: Node, start: Start) -> None:
    process = start(node, "sam.register(policy='quit+cmap'); sam.start(); time.sleep(1000)", "--interval", "500")
    assert process.wait(timeout=PATIENCE) == 143
    until_shown(node, process, "failed")
    said = f'resource "process.{process.pid}" failed!'
    wait_until(lambda: said in node.log, PATIENCE, "the log says so")
    done = node.control("cmap", "delete", f"resources.process.{process.pid}.state")
    assert (done.returncode, shown(node, process)) == (0, {})
    assert node.control("cmap", "delete", f"resources.process.{process.pid}").returncode == 1
    assert node.control("cmap", "delete", "totem.token").returncode == 1


def test_s20_each_instance_is_shown_as_running(node: Node, start: Start) -> None:
    process = start(node, "sam.register(policy='restart+cmap'); sam.start(); note('on'); beat(0.3); time.sleep(1000)",
                    "--interval", "1500")  # fmt: skip
    for instance in (1, 2, 3):
        assert line(process).startswith(f"begins {instance} ")
        assert line(process) == "on"
        assert until_shown(node, process, "running")["recovery"] == "restart"


def test_s21_who_marks_itself_as_failed_stays_failed(node: Node, start: Start) -> None:
    body = "sam.register(policy='restart+cmap'); sam.start()\nif instance == 2: sam.mark_failed()\nos.abort()"
    process = start(node, body, "--name", "marked")
    assert process.wait(timeout=PATIENCE) == 124
    until_shown(node, process, "failed")
    states = {app["name"]: app["state"] for app in json.loads(node.control("--json", "apps").stdout)}
    assert states["marked"] == "fatal"
    assert node.control("cmap", "delete", f"resources.process.{process.pid}").returncode == 0


def test_s28_the_look_from_outside_notices_a_supervisor_that_was_killed(node: Node, start: Start) -> None:
    process = start(node, "sam.register(policy='restart+cmap'); sam.start(); beat(1000)", "--interval", "1000")
    pid = int(line(process).split()[2])
    until_shown(node, process, "running")
    process.kill()
    said = f'resource "process.{process.pid}" failed!'
    wait_until(lambda: said in node.log, PATIENCE, "the log says so")
    os.kill(pid, signal.SIGKILL)


def test_s31_resources_of_the_machine_can_be_given_limits_at_run_time(node: Node) -> None:
    def value(key: str) -> object:
        return json.loads(node.control("--json", "cmap", "list", "resources.system.").stdout).get(key)

    memory = "resources.system.memory_used"
    assert isinstance(wait_until(lambda: value(f"{memory}.current"), PATIENCE, "it is measured"), int)
    assert node.control("cmap", "set", f"{memory}.poll_period", "100").returncode == 1
    assert node.control("cmap", "set", f"{memory}.poll_period", "500").returncode == 0
    assert node.control("cmap", "set", f"{memory}.max", "0").returncode == 0
    wait_until(lambda: value(f"{memory}.state") == "failed", PATIENCE, "above its limit")
    wait_until(lambda: 'resource "system.memory_used" failed!' in node.log, PATIENCE, "the log says so")
    assert node.control("cmap", "set", f"{memory}.max", "100").returncode == 0
    wait_until(lambda: 'resource "system.memory_used" is well again' in node.log, PATIENCE, "the log says so")


def test_s32_a_watchdog_that_is_missing_is_said_once_and_a_clean_end_disarms(tmp_path: Path) -> None:
    device = tmp_path / "dog"
    with Cluster(1, options={"resources.watchdog_device": str(device)}) as cluster:
        node = cluster[1]
        wait_until(lambda: "there is no watchdog" in node.log, PATIENCE, "the log says so")
        assert node.log.count("there is no watchdog") == 1
        node.stop()
        device.touch()
        node.start()
        wait_until(device.read_bytes, PATIENCE, "it is fed")
        assert b"V" not in device.read_bytes()
        node.stop()
        assert device.read_bytes().endswith(b"V")


# -- kill -9 of the sam process


def test_health_checking_needs_no_sam_process(node: Node, start: Start) -> None:
    """No application is lost or run twice, what it has stored stays, and silence is noticed in the meantime, too."""
    body = """
signal.signal(signal.SIGUSR1, lambda *_: time.sleep(1000))
sam.register(policy="restart+cmap"); note(sam.restore()); sam.store(b"from %d" % instance); sam.start(); beat(1000)
"""
    process = start(node, body, "--name", "survivor", "--interval", "700")
    first = int(line(process).split()[2])
    assert line(process) == "b''"
    until_shown(node, process, "running")

    before = node.kill_process("sam")
    os.kill(first, signal.SIGUSR1)  # silent, while nobody but sam-run can notice
    word, instance, pid = line(process).split()
    second = int(pid)
    assert (word, instance, line(process)) == ("begins", "2", "b'from 1'")
    assert not alive(first)

    wait_until(lambda: node.status().processes["sam"].pid not in (0, before), PATIENCE, "sam is back")
    until_shown(node, process, "running")
    assert alive(second)
    apps = {app["name"]: app for app in json.loads(node.control("--json", "apps").stdout)}
    assert (apps["survivor"]["instance"], apps["survivor"]["pid"]) == (2, second)

    os.kill(second, signal.SIGUSR1)
    assert line(process).startswith("begins 3 ")
    assert line(process) == "b'from 2'"
