"""What sam-run does about applications that hang or misbehave, and what outlives what: beside a real node."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from kit.command import SAM_RUN, alive, environment
from totemd.testing import Cluster, Node, wait_until

PATIENCE = 30

INTERVAL = 1.0
GRACE = 1.0
"""A hang is found within the interval and this."""

SLOW_MACHINE = 3.0
"""What a test grants besides, because others use the machine, too."""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def node() -> Iterator[Node]:
    with Cluster(1) as cluster:
        yield cluster[1]


@pytest.fixture
def sam_run(node: Node, tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, program: str) -> subprocess.Popen[str]:
        command = [*SAM_RUN, "--run-dir", str(node.run_dir), *options, "--", sys.executable, "-c", program]
        with (tmp_path / "errors").open("a") as errors:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment(), cwd=tmp_path
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=PATIENCE)
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if each.environ().get("TOTEMD_SAM_RUN_DIR") == str(node.run_dir):
                each.kill()


def words(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def app(node: Node, name: str) -> dict[str, object]:
    """What the node's list says of an application; nothing while nobody keeps a list."""
    done = node.control("--json", "apps")
    listed = json.loads(done.stdout) if done.returncode == 0 else []
    return next((each for each in listed if each["name"] == name), {})


def until(node: Node, name: str, **expected: object) -> dict[str, object]:
    def find() -> dict[str, object] | None:
        found = app(node, name)
        return found if found and expected.items() <= found.items() else None

    shown = wait_until(find, PATIENCE, lambda: f"{name} {expected}: {app(node, name)}")
    assert shown is not None
    return shown


SAY = "import os, signal, sys, time; print(os.environ['TOTEMD_SAM_INSTANCE'], os.getpid(), flush=True)\n"
FIRST = "os.environ['TOTEMD_SAM_INSTANCE'] == '1'"
DEADLOCK = f"{SAY}import threading; lock = threading.Lock(); lock.acquire()\nif {FIRST}: lock.acquire()\nsignal.pause()"
BUSY = f"{SAY}while {FIRST}: pass\nsignal.pause()"


# -- hangs


def test_one_that_a_signal_has_stopped_is_found_in_time(sam_run: Start) -> None:
    process = sam_run("--interval", f"{INTERVAL * 1000:g}", program=SAY + "signal.pause()")
    pid = int(words(process)[1])
    stopped_at = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    assert words(process)[0] == "2"
    assert INTERVAL <= time.monotonic() - stopped_at < INTERVAL + GRACE + SLOW_MACHINE


@pytest.mark.parametrize("program", [DEADLOCK, BUSY])
def test_one_that_is_stuck_is_found_by_heartbeats_that_do_not_come(sam_run: Start, program: str) -> None:
    options = ("--health", "heartbeat", "--health-interval", f"{INTERVAL * 1000:g}", "--health-failures", "1")
    process = sam_run(*options, "--health-start-period", "0", "--interval", "300", program=program)
    words(process)
    began = time.monotonic()
    assert words(process)[0] == "2"
    assert time.monotonic() - began < INTERVAL + GRACE + SLOW_MACHINE


def test_a_deadlock_is_found_by_a_command(sam_run: Start, tmp_path: Path) -> None:
    """A probe that is answered by a thread would not see it; one that asks for work does."""
    program = f"""{SAY}
while True:
    open('work', 'w').close()
    time.sleep(0.05)
    if {FIRST} and os.path.exists('hang'):
        signal.pause()
"""
    check = "exec:test -n \"$(find work -newermt '-1 second')\""
    options = ("--health", check, "--health-interval", "500", "--health-failures", "1", "--interval", "300")
    process = sam_run(*options, "--ready", "probe", program=program)
    words(process)
    (tmp_path / "hang").touch()
    assert words(process)[0] == "2"


def test_one_that_does_not_heed_sigterm_is_killed_with_its_grandchildren(sam_run: Start) -> None:
    program = f"""{SAY}
import subprocess
signal.signal(signal.SIGTERM, signal.SIG_IGN)
script = "trap '' TERM; (trap '' TERM; setsid sh -c 'echo $$; exec sleep 1001' & ); echo $$; exec sleep 1000"
child = subprocess.Popen(["sh", "-c", script])
signal.pause()
"""
    process = sam_run("--interval", "500", program=program)
    family = [int(words(process)[1]), int(words(process)[0]), int(words(process)[0])]
    os.kill(family[0], signal.SIGSTOP)
    assert words(process)[0] == "2"
    assert not any(alive(pid) for pid in family)


# -- survival


def test_kill_of_sam_run_leaves_the_application_to_be_taken_over(node: Node, sam_run: Start) -> None:
    process = sam_run("--name", "web", "--require-sam", program=SAY + "signal.pause()")
    pid = int(words(process)[1])
    until(node, "web", state="running", pid=pid)
    process.kill()
    until(node, "web", state="orphaned", pid=pid)
    assert sam_run("--name", "web", program=SAY).wait(PATIENCE) == 125
    heir = sam_run("--name", "web", "--if-orphaned", "adopt", program=SAY + "signal.pause()")
    until(node, "web", state="running", pid=pid, instance=1)
    os.kill(pid, signal.SIGKILL)
    assert words(heir)[0] == "2"
    until(node, "web", state="running", instance=2)


def test_kill_of_executive_and_sam_run_loses_nothing_and_starts_nothing_twice(node: Node, sam_run: Start) -> None:
    kept = sam_run("--name", "kept", program=SAY + "signal.pause()")
    lost = sam_run("--name", "lost", program=SAY + "signal.pause()")
    kept_pid, lost_pid = int(words(kept)[1]), int(words(lost)[1])
    until(node, "kept", pid=kept_pid)
    until(node, "lost", pid=lost_pid)
    node.kill()
    lost.kill()
    lost.wait(PATIENCE)
    assert alive(kept_pid) and alive(lost_pid)
    assert sam_run("--name", "lost", program=SAY).wait(PATIENCE) == 125
    node.start()
    until(node, "kept", state="running", pid=kept_pid, instance=1)
    until(node, "lost", state="orphaned", pid=lost_pid)
    sam_run("--name", "lost", "--if-orphaned", "adopt", program=SAY + "signal.pause()")
    until(node, "lost", state="running", pid=lost_pid)
    assert alive(kept_pid) and alive(lost_pid)


def test_an_orphan_that_shall_end_is_ended_by_the_sam_process(node: Node, sam_run: Start) -> None:
    child = "import subprocess; print(subprocess.Popen(['setsid', 'sleep', '1000']).pid, flush=True)"
    program = f"{SAY}{child}\nsignal.pause()"
    process = sam_run("--name", "web", "--orphan", "end", "--require-sam", program=program)
    family = [int(words(process)[1]), int(words(process)[0])]
    until(node, "web", state="running")
    process.kill()
    wait_until(lambda: not any(alive(pid) for pid in family), PATIENCE, "the whole family has ended")
    until(node, "web", state="lost")
