"""Applications whose sam-run was killed: found, kept, ended, taken over; with and without a sam process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from samkit import HERE, PATIENCE_SECONDS, STAMP, Workshop, let_pass, runs
from totemd import sam
from totemd.ipc.errors import ConnectionLost
from totemd.sam import orphans
from totemd.testing import wait_until

STAY = f"{STAMP}; exec sleep 1000"
ESCAPE = f"""{STAMP}
( setsid sh -c 'echo 0 $$ >> family; exec sleep 1002' & )
trap '' TERM
while :; do sleep 0.05; done
"""
"""Does not heed SIGTERM, and has a grandchild in a session of its own."""


class SamAlone:
    """A sam process without a node, that can be killed and started again."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, str(HERE / "sam_process.py"), str(self._workshop.directory)])
        wait_until(self._serves, PATIENCE_SECONDS, "the sam process serves")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_SECONDS)
            self._process = None

    def until(self, name: str, state: str, pid: int | None = None) -> sam.AppInfo:
        def find() -> sam.AppInfo | None:
            app = {each.name: each for each in sam.apps(self._workshop.directory)}.get(name)
            return app if app and app.state == state and pid in (None, app.pid) else None

        found = wait_until(
            find,
            PATIENCE_SECONDS,
            lambda: f"{name} {state}: {sam.apps(self._workshop.directory)} {self._workshop.errors}",
        )
        assert found is not None
        return found

    def _serves(self) -> bool:
        try:
            sam.apps(self._workshop.directory, timeout=1)
        except (ConnectionLost, TimeoutError):
            return False
        return True


@pytest.fixture
def node(workshop: Workshop) -> Iterator[SamAlone]:
    made = SamAlone(workshop)
    made.start()
    yield made
    made.kill()


def orphaned(workshop: Workshop, script: str = STAY, *options: str) -> int:
    """Start an application named `web`, and kill its sam-run; return the main process."""
    process = workshop.shell(script, "--name", "web", *options)
    pid = workshop.started(1).pid
    process.kill()
    process.wait(PATIENCE_SECONDS)
    return pid


def found(workshop: Workshop) -> list[tuple[str, int, int]]:
    return [(each.name, each.pid, each.instance) for each in orphans.find(workshop.directory)]


def test_an_orphan_is_known_by_its_environment(workshop: Workshop) -> None:
    process = workshop.shell(STAY, "--name", "web")
    pid = workshop.started(1).pid
    assert found(workshop) == []
    process.kill()
    process.wait(PATIENCE_SECONDS)
    assert found(workshop) == [("web", pid, 1)]
    assert orphans.find(workshop.directory, "other") == [] and orphans.find(workshop.directory / "x") == []


def test_nothing_is_started_beside_an_orphan_even_without_a_sam_process(workshop: Workshop) -> None:
    pid = orphaned(workshop)
    assert workshop.finish(workshop.shell(STAY, "--name", "web")) == 125
    assert f"still runs here (pid {pid}), though its sam-run was killed: end it first" in workshop.errors
    assert runs(pid) and len(workshop.stamps()) == 1


def test_an_orphan_is_ended_first_with_all_that_belongs_to_it(workshop: Workshop) -> None:
    process = workshop.shell(ESCAPE, "--name", "web")
    pid = workshop.started(1).pid
    workshop.until_stamps("family")
    family = [pid, *(stamp.pid for stamp in workshop.stamps("family"))]
    process.kill()
    process.wait(PATIENCE_SECONDS)
    (workshop.directory / "stamps").rename(workshop.directory / "first")
    workshop.shell(STAY, "--name", "web", "--if-orphaned", "end", "--stop-timeout", "200")
    workshop.started(1)
    assert not any(map(runs, family))
    assert "ends instance 1" in workshop.errors


def test_a_served_name_is_free_as_soon_as_its_orphan_has_been_ended(node: SamAlone, workshop: Workshop) -> None:
    """The sam process looks at orphans now and then only, and sam-run does not wait for that."""
    options = ("--name", "web", "--if-orphaned", "end", "--require-sam")
    for generation in ("first", "second", "third"):
        process = workshop.shell(STAY, *options)
        pid = workshop.started(1).pid
        node.until("web", "running", pid)
        process.kill()
        node.until("web", "orphaned", pid)
        (workshop.directory / "stamps").rename(workshop.directory / generation)
    workshop.shell(STAY, *options)
    heir = workshop.started(1).pid
    node.until("web", "running", heir)
    assert workshop.errors.count("ends instance 1") == 3


@pytest.mark.parametrize("served", [False, True])
def test_an_orphan_is_taken_over_and_restarted_when_it_ends(workshop: Workshop, served: bool) -> None:
    alone = SamAlone(workshop)
    if served:
        alone.start()
    try:
        pid = orphaned(workshop)
        heir = workshop.shell(STAY, "--name", "web", "--if-orphaned", "adopt", *["--require-sam"] * served)
        wait_until(lambda: "takes over instance 1" in workshop.errors, PATIENCE_SECONDS, lambda: workshop.errors)
        if served:
            alone.until("web", "running", pid)
        let_pass(0.3)
        assert len(workshop.stamps()) == 1 and runs(pid)
        os.kill(pid, signal.SIGKILL)
        second = workshop.started(2).pid
        if served:
            assert alone.until("web", "running", second).instance == 2
        heir.terminate()
        assert workshop.finish(heir) == 143
        assert not runs(second) and found(workshop) == []
    finally:
        alone.kill()


def test_who_was_taken_over_is_stopped_with_its_family(workshop: Workshop) -> None:
    process = workshop.shell(ESCAPE, "--name", "web")
    pid = workshop.started(1).pid
    workshop.until_stamps("family")
    family = [pid, *(stamp.pid for stamp in workshop.stamps("family"))]
    process.kill()
    process.wait(PATIENCE_SECONDS)
    heir = workshop.shell(STAY, "--name", "web", "--if-orphaned", "adopt", "--stop-timeout", "200")
    wait_until(lambda: "takes over" in workshop.errors, PATIENCE_SECONDS, lambda: workshop.errors)
    heir.terminate()
    workshop.finish(heir)
    workshop.until_gone(family)
    assert len(workshop.stamps()) == 1


def test_an_heir_goes_on_with_log_and_notifications(workshop: Workshop) -> None:
    program = f"{STAMP}; while :; do echo tick; sleep 0.05; done"
    process = workshop.shell(program, "--name", "web", "--log", "log")
    pid = workshop.started(1).pid
    process.kill()
    process.wait(PATIENCE_SECONDS)
    log = workshop.directory / "log"
    before = log.stat().st_size
    workshop.shell(program, "--name", "web", "--log", "log", "--if-orphaned", "adopt")
    wait_until(lambda: log.stat().st_size > before + 50, PATIENCE_SECONDS, lambda: workshop.errors)
    assert runs(pid) and len(workshop.stamps()) == 1


def test_nothing_is_there_to_take_over(workshop: Workshop) -> None:
    workshop.shell(STAY, "--name", "web", "--if-orphaned", "adopt")
    assert workshop.started(1).instance == 1


def test_the_sam_process_ends_an_orphan_that_shall_end(node: SamAlone, workshop: Workshop) -> None:
    process = workshop.shell(ESCAPE, "--name", "web", "--orphan", "end", "--stop-timeout", "200", "--require-sam")
    pid = workshop.started(1).pid
    workshop.until_stamps("family")
    node.until("web", "running", pid)
    family = [pid, *(stamp.pid for stamp in workshop.stamps("family"))]
    process.kill()
    workshop.until_gone(family)
    node.until("web", "lost")


def test_orphans_outlive_the_sam_process_and_are_found_by_the_next_one(node: SamAlone, workshop: Workshop) -> None:
    node.kill()
    pid = orphaned(workshop)
    node.start()
    node.until("web", "orphaned", pid)
    heir = workshop.shell(STAY, "--name", "web", "--if-orphaned", "adopt", "--require-sam")
    node.until("web", "running", pid)
    node.kill()
    node.start()
    node.until("web", "running", pid)
    assert len(workshop.stamps()) == 1 and heir.poll() is None


def test_nobody_takes_over_what_is_not_an_orphan(node: SamAlone, workshop: Workshop) -> None:
    workshop.shell(STAY, "--name", "web", "--require-sam")
    pid = workshop.started(1).pid
    node.until("web", "running", pid)
    assert workshop.finish(workshop.shell(STAY, "--name", "web", "--if-orphaned", "adopt")) == 125
    assert workshop.finish(workshop.shell(STAY, "--name", "web", "--if-orphaned", "end")) == 125
    assert runs(pid) and len(workshop.stamps()) == 1
