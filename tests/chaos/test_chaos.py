"""Chaos on three real nodes for half a minute, and that nothing of it is left; the long one is `make chaos`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from chaoskit.session import Options, Session
from totemd.testing import namespaces, wait_until
from totemd.testing.namespaces import obstacle

pytestmark = pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "never")

RUN = Path(__file__).with_name("run.py")

SHORT = Options(nodes=3, seconds=16.0, seed=20, loss=0.05, warm_up_seconds=3.0, growth_max=0.5, slack_seconds=3.0)
"""With start, end and what it takes to become one ring again: about half a minute."""


@pytest.mark.timeout(400)
def test_half_a_minute_of_chaos_breaks_no_promise(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session(SHORT, print)
    report = session.run()
    print(report.text())
    assert report.complaints == [], f"{report.text()}\nkept: {session.directory}"
    assert report.faults > 3
    assert report.configurations >= SHORT.nodes * 3, "the logs are still read as they are written"
    assert report.delivered > report.submitted > 100
    assert not session.directory.exists()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_nothing(number: signal.Signals) -> None:
    command = [sys.executable, str(RUN), "--nodes", "2", "--seed", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as run:
        assert run.stdout is not None
        try:
            while "load from all nodes" not in run.stdout.readline():
                assert run.poll() is None
            family = psutil.Process(run.pid).children(recursive=True)
            assert len(family) > 2 * 4, "two nodes, their members, and the keepers"
        finally:
            os.kill(run.pid, number)
        rest = run.stdout.read()
    assert number == signal.SIGKILL or "interrupted" in rest
    wait_until(lambda: not any(each.is_running() for each in family), 20, lambda: f"nobody of {family} is left")
    prefix = f"{namespaces.PREFIX}{run.pid}-"
    wait_until(lambda: not list(namespaces.NAMED.glob(f"{prefix}*")), 20, "the namespaces are gone")


def test_a_schedule_can_be_looked_at() -> None:
    command = [sys.executable, str(RUN), "--schedule", "--seed", "4"]
    first, again = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first == again
    assert len(first.splitlines()) > 5
