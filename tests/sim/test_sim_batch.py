"""Batches are run by worker processes: what becomes of a batch when one of them, or the parent, is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from simcluster.batch import CHUNK, Kind, WorkerDied, run_range, workers
from simcluster.campaign import read
from totemd.testing import wait_until

RUN = Path(__file__).with_name("run.py")
CALM = Kind("calm", (1, 2))
GONE_SECONDS = 30.0


@contextmanager
def endless(path: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A campaign of two workers that are at work, and has run a piece before."""
    command = [sys.executable, str(RUN), "--profile", "calm", "--nodes", "1", "--jobs", "2", "--progress", str(path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([*command, "--seeds", "0..1"], env=environment, check=True, capture_output=True, timeout=120)
    command += ["--seeds", "0..1000000"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True) as run:
        try:
            wait_until(lambda: len(at_work(run)) == 2, GONE_SECONDS, "both workers work")
            yield run, at_work(run)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)


def at_work(run: subprocess.Popen[str]) -> list[psutil.Process]:
    """Its workers, once they have left their beginnings behind: whatever they do then is simulating."""
    found = []
    for child in psutil.Process(run.pid).children():
        with suppress(psutil.NoSuchProcess):  # it asks `git` at the beginning
            words = child.cmdline()
            if any("spawn_main" in word for word in words) and child.cpu_times().user > 1.0:
                found.append(child)
    return found


@pytest.mark.timeout(180)
def test_a_killed_worker_ends_the_batch_and_the_seeds_under_way_are_named(tmp_path: Path) -> None:
    """As the kernel does it when there is no memory left."""
    path = tmp_path / "progress"
    with endless(path) as (run, (victim, _)):
        victim.kill()
        printed, _ = run.communicate(timeout=GONE_SECONDS)
    assert run.returncode == 2
    named = re.search(
        r"killed, or has crashed; seeds that were under way: (\d+)\.\.(\d+), (\d+)\.\.(\d+)$", printed, re.M
    )
    assert named is not None, printed
    first, last, *_ = map(int, named.groups())
    assert last - first < CHUNK
    pieces = read(path)
    assert (pieces[0].first, pieces[0].last) == (0, 1)
    assert all(piece.last < first for piece in pieces)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(number: signal.Signals, tmp_path: Path) -> None:
    with endless(tmp_path / "progress") as (run, children):
        run.send_signal(number)
        wait_until(lambda: not any(child.is_running() for child in children), GONE_SECONDS, "no worker is left")
        run.wait(GONE_SECONDS)


def test_a_pool_that_has_lost_a_worker_takes_nothing_more() -> None:
    with pytest.raises(WorkerDied), workers(1) as pool:
        assert run_range(pool, 0, 1, CALM).runs == 2
        pool._pool.submit(os.abort).exception()
        run_range(pool, 0, 1, CALM)
