"""One application on one of three real nodes: kills, a cut network, quorum lost; witnessed by a file from outside."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from kit.command import SAM_RUN, environment, run
from kit.witness import Run, complaints, last_run, runs
from totemd.ipc.errors import TotemdError
from totemd.testing import Cluster, wait_until

WITNESSED = Path(__file__).resolve().parent / "kit" / "witnessed.py"
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "singleton.py"
NUMBERS = itertools.count(1)
SECONDS = 60.0
"""Far above the bound: how long a fail-over takes is what the simulation and the chaos runs measure."""


class Stage:
    """The cluster, and a sam-run on each node."""

    def __init__(self, cluster: Cluster, folder: Path, name: str, ending: ExitStack) -> None:
        self.cluster = cluster
        self.name = name
        self.file = folder / "witness"
        self.ending = ending
        self.sam_runs: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, node_id: int, *options: str, stubborn: float = 0.0) -> subprocess.Popen[bytes]:
        run_dir = str(self.cluster[node_id].run_dir)
        words = [*SAM_RUN, "-q", "--run-dir", run_dir, "--singleton", self.name]
        words += ["--yield-timeout", "300", "--stop-timeout", "500", *options, "--"]
        command = [*words, sys.executable, str(WITNESSED), str(self.file), str(node_id), str(stubborn)]
        process = self.sam_runs[node_id] = subprocess.Popen(command, env=environment())
        self.ending.callback(end, process)
        return process

    def start_in_turn(self, *nodes: int, stubborn: float = 0.0) -> None:
        """Each is in line before the next one starts."""
        for node_id in nodes:
            self.start(node_id, stubborn=stubborn)
            self.wait_for_states({node: {"standby", "running"} for node in self.sam_runs})

    def wait_for_run(self, *nodes: int, above: int = 0) -> Run:
        """Until one of these nodes is the last that wrote, with a fence above this."""

        def written() -> bool:
            last = last_run(self.file)
            return last is not None and last.node_id in nodes and last.fence > above

        wait_until(written, SECONDS, lambda: f"it runs on {nodes}: {runs(self.file)}")
        last = last_run(self.file)
        assert last is not None
        return last

    def states(self, node_id: int) -> dict[int, str]:
        """What one node knows of all; nothing while its sam process is away."""
        with suppress(TotemdError):
            return {app.node_id: app.state for app in self.cluster[node_id].apps() if app.name == self.name}
        return {}

    def wait_for_states(self, wanted: dict[int, set[str]]) -> None:
        def shown() -> bool:
            views = [self.states(node.node_id) for node in self.cluster if node.is_running]
            return all(
                view.keys() == wanted.keys() and all(view[node] in words for node, words in wanted.items())
                for view in views
            )

        wait_until(shown, SECONDS, lambda: f"all see {wanted}: {[self.states(n.node_id) for n in self.cluster]}")


def end(process: subprocess.Popen[Any]) -> None:
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    options = {"quorum.provider": "corosync_votequorum"}
    with Cluster(3, options=options, token=600, token_coefficient=0) as cluster:
        yield cluster


@pytest.fixture
def stage(cluster: Cluster, tmp_path: Path) -> Iterator[Stage]:
    cluster.heal()
    cluster.start()
    with ExitStack() as ending:
        stage = Stage(cluster, tmp_path, f"db-{next(NUMBERS)}", ending)
        yield stage
        ending.close()
        assert complaints(runs(stage.file)) == []


def test_the_oldest_runs_it_and_the_next_follows_when_its_node_dies(stage: Stage) -> None:
    stage.start_in_turn(2, 1, 3)
    first = stage.wait_for_run(2)
    stage.wait_for_states({1: {"standby"}, 2: {"running"}, 3: {"standby"}})
    stage.cluster[2].kill()
    second = stage.wait_for_run(1, above=first.fence)
    stage.wait_for_states({1: {"running"}, 3: {"standby"}})
    stage.cluster[2].start()
    stage.wait_for_states({1: {"running"}, 2: {"standby"}, 3: {"standby"}})
    last = stage.wait_for_run(1)
    assert last.pid == second.pid


def test_a_node_that_is_cut_off_stops_before_another_starts(stage: Stage) -> None:
    """Also an application that does not end when it is asked to."""
    stage.start_in_turn(1, 2, 3, stubborn=60.0)
    first = stage.wait_for_run(1)
    stage.cluster.partition([1], [2, 3])
    second = stage.wait_for_run(2, above=first.fence)
    stage.cluster.heal()
    stage.wait_for_states({1: {"standby"}, 2: {"running"}, 3: {"standby"}})
    assert stage.sam_runs[1].poll() is None
    assert stage.wait_for_run(2).pid == second.pid


def test_nobody_runs_it_without_quorum(stage: Stage) -> None:
    stage.start_in_turn(1, 2, 3)
    first = stage.wait_for_run(1)
    stage.cluster.partition([1], [2], [3])
    wait_until(lambda: set(stage.states(1).values()) == {"standby"}, SECONDS, lambda: f"{stage.states(1)}")
    stage.cluster.heal()
    stage.wait_for_run(1, 2, 3, above=first.fence)


def test_an_application_that_is_given_up_goes_on_elsewhere(stage: Stage) -> None:
    """Its sam-run ends as it would alone."""
    stage.start(1, "--max-restarts", "0")
    first = stage.wait_for_run(1)
    stage.start_in_turn(2)
    psutil.Process(first.pid).kill()
    stage.wait_for_run(2, above=first.fence)
    assert stage.sam_runs[1].wait(20) == 124


def test_an_application_that_fails_is_started_again_in_its_term(stage: Stage) -> None:
    stage.start_in_turn(1, 2)
    first = stage.wait_for_run(1)
    psutil.Process(first.pid).kill()
    wait_until(lambda: len(runs(stage.file)) == 2, SECONDS, lambda: f"{runs(stage.file)}")
    assert [run.fence for run in runs(stage.file)] == [first.fence] * 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_sam_run_that_can_do_nothing_is_guarded(stage: Stage, number: signal.Signals) -> None:
    """The guardian kills its application, and another node goes on."""
    stage.start_in_turn(1, 2)
    first = stage.wait_for_run(1)
    stage.sam_runs[1].send_signal(number)
    second = stage.wait_for_run(2, above=first.fence)
    if number == signal.SIGSTOP:
        stage.sam_runs[1].send_signal(signal.SIGCONT)  # it learns of the end of its application, and of its time
        stage.wait_for_states({1: {"standby"}, 2: {"running"}})
    assert stage.wait_for_run(2).pid == second.pid


def test_without_its_guardian_sam_run_ends(stage: Stage) -> None:
    sam_run = stage.start(1, "--stop-timeout", "1000")
    stage.wait_for_run(1)
    (guardian,) = [
        each
        for each in psutil.process_iter(["cmdline"])
        if "totemd.sam.guardian" in (each.info["cmdline"] or ()) and str(sam_run.pid) in each.info["cmdline"]
    ]
    guardian.kill()
    assert sam_run.wait(20) == 125


def test_kills_of_the_sam_process_stop_nothing(stage: Stage) -> None:
    stage.start_in_turn(1, 2, 3)
    first = stage.wait_for_run(1)
    for node in stage.cluster:  # one after the other: three starts at once may take a small machine longer than a lease
        node.kill_process("sam")
        node.wait_for_processes()
        stage.wait_for_states({1: {"running"}, 2: {"standby"}, 3: {"standby"}})
    assert stage.wait_for_run(1).pid == first.pid


def test_what_was_stored_is_handed_over(stage: Stage) -> None:
    """The example goes on counting where it was, on another node."""

    def count_on(node_id: int) -> subprocess.Popen[str]:
        words = [*SAM_RUN, "-q", "--run-dir", str(stage.cluster[node_id].run_dir), "--singleton", stage.name, "--"]
        process = subprocess.Popen(
            [*words, sys.executable, str(EXAMPLE)], env=environment(), stdout=subprocess.PIPE, text=True
        )
        stage.ending.callback(end, process)
        return process

    first = count_on(1)
    assert first.stdout is not None
    assert "goes on from 0" in first.stdout.readline()
    second = count_on(2)
    stage.wait_for_states({1: {"running"}, 2: {"standby"}})
    counted = [int(first.stdout.readline().split()[-1]) for _ in range(2)][-1]
    first.terminate()
    assert second.stdout is not None
    words = second.stdout.readline().split()
    assert words[:1] == ["term"] and int(words[-1]) >= counted


def test_it_is_refused_where_nobody_counts_votes(tmp_path: Path) -> None:
    with Cluster(1) as cluster:
        words = [*SAM_RUN, "--run-dir", str(cluster[1].run_dir), "--singleton", "db", "--", "true"]
        done = run(words, timeout=60)
    assert done.returncode == 125 and "corosync_votequorum" in done.stderr
