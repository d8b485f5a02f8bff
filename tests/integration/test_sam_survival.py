"""What outlives what: kill -9 of sam-run and of the executive, beside a real node."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.command import alive
from kit.supervised import PATIENCE, SAY, Start, sam_runs, words
from totemd.testing import Cluster, Node, wait_until


@pytest.fixture
def node() -> Iterator[Node]:
    with Cluster(1) as cluster:
        yield cluster[1]


@pytest.fixture
def sam_run(node: Node, tmp_path: Path) -> Iterator[Start]:
    with sam_runs(node.run_dir, tmp_path) as start:
        yield start


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
