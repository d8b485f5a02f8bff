"""A real keeper: whom it keeps, what its successor finds, how it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from keeperkit import SECONDS, Bench
from samkit import runs
from totemd.executive.config.model import AppEntry
from totemd.ipc.messages.keeper import Verb
from totemd.sam.keeper.record import Mark, Record
from totemd.testing import wait_until


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(Path(tempfile.mkdtemp(prefix="keeper-", dir="/tmp")))
    yield made
    made.clean()
    shutil.rmtree(made.run_dir)


def sleeper(name: str, *, script: str = "exec sleep 1000", **options: str) -> AppEntry:
    return AppEntry(name, ("sh", "-c", script), {key: (text,) for key, text in options.items()})


def until_gone(*pids: int) -> None:
    wait_until(lambda: not any(map(runs, pids)), SECONDS, f"{pids} have ended")


def test_a_successor_goes_on_with_what_it_finds(bench: Bench) -> None:
    bench.start()
    bench.declare(sleeper("a"), sleeper("b", backoff="0"), AppEntry("once", ("true",), {"policy": ("quit",)}))
    before = {name: bench.until(name, "running").progress for name in ("a", "b")}
    bench.until("once", "stopped")
    bench.kill()
    os.kill(before["b"].pid, signal.SIGKILL)  # while nobody looks
    until_gone(before["b"].pid)
    bench.start()
    after = bench.until("b", "running", 2)
    found = bench.apps()
    assert (found["a"].progress.pid, found["a"].is_adopted) == (before["a"].pid, True)
    assert after.progress.instance == 2 and not after.is_adopted
    assert found["once"].progress.instance == 1, "what it was there for is done"
    os.kill(before["a"].pid, signal.SIGKILL)
    assert "nobody knows how" in bench.until("a", "running", 2).progress.detail
    bench.leave()


def test_an_instance_on_its_way_is_found_by_its_environment(bench: Bench) -> None:
    """The keeper was killed after it had started the process, and before it could write down which one that is."""
    record = Record(bench.run_dir)
    record.declare([(sleeper("a"), True)])
    record.write("a", Mark.STARTING, 5)
    variables = {
        "TOTEMD_SAM_NAME": "a",
        "TOTEMD_SAM_INSTANCE": "5",
        "TOTEMD_SAM_RUN_DIR": str(bench.run_dir),
    }
    process = subprocess.Popen(["sleep", "1000"], env={**os.environ, **variables}, process_group=0)
    try:
        bench.start()
        app = bench.until("a", "running")
        assert (app.progress.pid, app.progress.instance) == (process.pid, 5)
        assert bench.order(Verb.STOP, "a")[0].is_done
        assert process.wait(SECONDS) == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()


def test_what_an_unseen_end_left_behind_is_ended_first(bench: Bench) -> None:
    bench.start()
    bench.declare(sleeper("a", script="sleep 1000 & setsid sleep 1000 & exec sleep 1000"))
    main = bench.until("a", "running").progress.pid

    def children() -> list[int]:
        found = [each.pid for each in psutil.Process(main).children()]
        return found if len(found) == 2 else []

    left = wait_until(children, SECONDS, "its children")
    bench.kill()
    os.kill(main, signal.SIGKILL)
    bench.start()
    bench.until("a", "running", 2)
    assert not any(map(runs, left))


def test_strays_are_given_to_their_own(bench: Bench) -> None:
    """Both abandon a process that is in a session of its own; the end of one application ends its own alone."""
    script = "setsid sleep 1000 & echo $! > {}; exec sleep 1000"
    files = {name: bench.run_dir / f"{name}.stray" for name in "ab"}
    bench.start()
    bench.declare(*(sleeper(name, script=script.format(path)) for name, path in files.items()))
    strays = {
        name: int(wait_until(lambda path=path: path.exists() and path.read_text().strip(), SECONDS, "its stray"))
        for name, path in files.items()
    }
    assert bench.order(Verb.STOP, "a")[0].is_done
    assert not runs(strays["a"]) and runs(strays["b"])
    bench.leave()
    until_gone(strays["b"])


def test_sigterm_ends_all_though_they_flap(bench: Bench) -> None:
    bench.start()
    flapping = [
        AppEntry(f"f{number}", ("true",), {"backoff": ("0",), "max_restarts": ("unlimited",)}) for number in range(10)
    ]
    bench.declare(sleeper("a"), *flapping)
    pid = bench.until("a", "running").progress.pid
    bench.until("f9", "running", 5)
    assert bench.terminate() == 0
    assert not runs(pid)


def test_an_order_tells_of_all_that_it_touches(bench: Bench) -> None:
    bench.start()
    web = AppEntry("web", ("sleep", "1000"), {}, requires=("db",))
    spare = AppEntry("spare", ("sleep", "1000"), {}, autostart=False)
    assert bench.declare(sleeper("db"), web, spare).started == ("db", "web"), "not what waits to be started"
    bench.until("web", "running")
    stopped = {each.name: each for each in bench.order(Verb.STOP, "db")}
    assert stopped.keys() == {"db", "web"} and all(each.is_done for each in stopped.values())
    assert (stopped["web"].detail, stopped["db"].detail) == ("it requires db", "")
    assert {each.name for each in bench.order(Verb.START, "web")} == {"db", "web"}
    assert {each.name for each in bench.order(Verb.STOP, "web")} == {"web"}, "db goes on"
    assert {each.name for each in bench.order(Verb.START, "web")} == {"web"}, "db has never stopped"
    assert bench.declare(sleeper("db"), web).stopped == (), "spare has not run"
    bench.leave()


def test_what_was_said_of_an_end_is_no_reason_for_a_start_that_was_ordered(bench: Bench) -> None:
    bench.start()
    bench.declare(sleeper("a", backoff="0"))
    os.kill(bench.until("a", "running").progress.pid, signal.SIGKILL)
    assert "SIGKILL" in bench.until("a", "running", 2).progress.detail
    (outcome,) = bench.order(Verb.RESTART, "a")
    assert (outcome.progress.instance, outcome.progress.detail) == (3, "")
    bench.leave()


def test_a_log_that_cannot_be_opened_is_the_affair_of_one_application(bench: Bench) -> None:
    bench.start()
    bench.declare(sleeper("a"), sleeper("b", log="/no/such/folder/log"))
    a = bench.until("a", "running").progress
    assert bench.until("b", "fatal", 0).progress.detail == "log /no/such/folder/log: No such file or directory"
    (outcome,) = bench.order(Verb.START, "b")
    assert not outcome.is_done and "No such file" in outcome.detail
    assert bench.apps()["a"].progress == a
    bench.leave()


def test_there_is_one_keeper(bench: Bench) -> None:
    bench.start()
    bench.declare(sleeper("a"))
    first = bench.until("a", "running").progress
    second = subprocess.run(
        [*psutil.Process(first.pid).parent().cmdline()], stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert second.returncode == 1 and "another keeper serves" in second.stderr
    assert bench.apps()["a"].progress == first
