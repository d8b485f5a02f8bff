"""Applications under sam-run, beside a node that watches and can be asked."""

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

APPLICATION = "import os, signal; print(os.environ['TOTEMD_SAM_INSTANCE'], os.getpid(), flush=True); signal.pause()"
WITH_A_CHILD = (
    "import os, signal, subprocess, sys\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
    "print(child.pid, os.getpid(), flush=True); signal.pause()"
)


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Cluster(1) as cluster:
        yield cluster[1]


@pytest.fixture
def sam_run(node: Node) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, program: str = APPLICATION) -> subprocess.Popen[str]:
        command = [*SAM_RUN, "--run-dir", str(node.run_dir), *options, "--", sys.executable, "-c", program]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=30)


def first_line(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout is not None
    return [int(word) for word in process.stdout.readline().split()]


def apps(node: Node) -> dict[str, dict[str, object]]:
    """The applications that sam knows; none while it restarts."""
    done = node.control("--json", "apps")
    return {each["name"]: each for each in json.loads(done.stdout)} if done.returncode == 0 else {}


def test_a_killed_application_is_started_again_with_the_next_number(
    node: Node, sam_run: Callable[..., subprocess.Popen[str]]
) -> None:
    process = sam_run("--name", "killed")
    instance, pid = first_line(process)
    assert instance == 1
    os.kill(pid, signal.SIGKILL)
    instance, pid = first_line(process)
    assert instance == 2
    shown = wait_until(
        lambda: (app := apps(node).get("killed", {})).get("pid") == pid and app, 30, "sam shows instance 2"
    )
    assert {"node_id": 1, "instance": 2, "policy": "restart"}.items() <= shown.items()


def test_the_exit_code_comes_through(sam_run: Callable[..., subprocess.Popen[str]]) -> None:
    assert sam_run("--policy", "quit", program="raise SystemExit(7)").wait(timeout=30) == 7


def test_sigterm_ends_the_whole_tree(sam_run: Callable[..., subprocess.Popen[str]]) -> None:
    process = sam_run("--name", "tree", program=WITH_A_CHILD)
    family = first_line(process)
    process.terminate()
    process.wait(timeout=30)
    wait_until(lambda: not any(alive(pid) for pid in family), 30, "the whole family is gone")


def test_a_stopped_application_has_failed(sam_run: Callable[..., subprocess.Popen[str]]) -> None:
    process = sam_run("--interval", "500")
    _, pid = first_line(process)
    os.kill(pid, signal.SIGSTOP)
    assert first_line(process)[0] == 2


def test_giving_up(sam_run: Callable[..., subprocess.Popen[str]]) -> None:
    process = sam_run("--max-restarts", "2", "--backoff", "10", program="raise SystemExit(3)")
    assert process.wait(timeout=30) == 124


def test_the_application_outlives_the_sam_process_and_the_node(
    node: Node, sam_run: Callable[..., subprocess.Popen[str]]
) -> None:
    process = sam_run("--name", "survivor")
    _, pid = first_line(process)
    wait_until(lambda: "survivor" in apps(node), 30, "sam knows it")
    before = node.kill_process("sam")
    wait_until(lambda: node.status().processes["sam"].pid not in (0, before), 30, "sam is back")
    wait_until(lambda: apps(node).get("survivor", {}).get("pid") == pid, 30, "it has registered again")
    assert alive(pid)


def test_a_name_is_unique_on_a_node(node: Node, sam_run: Callable[..., subprocess.Popen[str]]) -> None:
    first_line(sam_run("--name", "single"))
    wait_until(lambda: "single" in apps(node), 30, "sam knows it")
    assert sam_run("--name", "single").wait(timeout=30) == 125


def test_the_example(node: Node) -> None:
    example = Path(__file__).resolve().parents[2] / "examples" / "sam_app.py"
    command = [*SAM_RUN, "--run-dir", str(node.run_dir), "--quiet", "--name", "example", "--", sys.executable]
    process = subprocess.Popen(
        [*command, str(example), "--fail-after", "0.1", "--good-instance", "3"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(5)]
    process.terminate()
    process.communicate(timeout=30)
    assert lines[0].startswith("example: instance 1 at work")
    assert lines[4].startswith("example: instance 3 at work")
    assert process.returncode == 0
