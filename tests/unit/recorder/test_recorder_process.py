"""The flight recorder of a process: what it dumps and when, what it finds, what it does when it cannot."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from recorderkit import PARAMETERS, jitter
from structlog.testing import CapturingLogger
from totemd.executive.config.model import Configuration, LoggingOptions, NodeEntry, SystemOptions
from totemd.executive.runtime.child import ChildContext
from totemd.executive.totem.core.ring import Ring
from totemd.executive.totem.recorder.recorder import FlightRecorder
from totemd.executive.totem.recorder.replay import Recording, Replay, read_recording
from totemd.executive.totem.recorder.ring import CALLS, QUERIES, RecordedRing
from totemd.ipc.errors import NotFound, OperationFailed


class Rig:
    """A recorder with a core, in directories of its own."""

    def __init__(self, directory: Path, **logging: Any) -> None:
        self.run_dir, self.state_dir = directory / "run", directory / "state"
        self.run_dir.mkdir(exist_ok=True)
        self.log = CapturingLogger()
        self.configuration = Configuration(
            nodes=(NodeEntry(1, "", ("127.0.0.1",)),),
            logging=LoggingOptions(blackbox_size=2048, **logging),
            system=SystemOptions(state_dir=str(self.state_dir), sched_rr=False),
        )
        self.context = ChildContext("totem", self.run_dir, self.configuration, log=self.log)  # type: ignore[arg-type]
        self.recorder = FlightRecorder(self.context, lambda: 10.0)
        self.ring = self.recorder.ring(PARAMETERS, 1, jitter())
        self.ring.start(10.0)

    @property
    def live(self) -> Path:
        return self.run_dir / "totem.blackbox"

    def dumps(self) -> list[Path]:
        directory = self.state_dir / "blackbox"
        return sorted(directory.iterdir()) if directory.exists() else []

    def newest(self) -> Recording:
        return read_recording(self.dumps()[-1].read_bytes())

    def said(self, words: str) -> bool:
        return any(words in str(call) for call in self.log.calls)


@contextmanager
def rigs(directory: Path) -> Iterator[Any]:
    """Makes rigs inside a loop, which the recorder needs for its signal."""
    loop = asyncio.new_event_loop()

    def make(**logging: Any) -> Rig:
        async def build() -> Rig:
            return Rig(directory, **logging)

        return loop.run_until_complete(build())

    try:
        yield make
    finally:
        loop.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    with rigs(tmp_path) as maker:
        yield maker


def test_everything_that_is_called_on_the_core_is_recorded() -> None:
    """Whoever adds an input to `Ring` gets it recorded; this fails if one slips through."""
    inputs = {name for name, each in vars(Ring).items() if callable(each) and not name.startswith("_")} - QUERIES
    assert inputs == {*CALLS, "receive", "submit", "expire"}
    for name in inputs:
        assert getattr(RecordedRing, name) is not getattr(Ring, name), name


def test_a_clean_end_leaves_nothing(make: Any) -> None:
    rig = make()
    assert stat.S_IMODE(rig.live.stat().st_mode) == 0o600
    rig.recorder.close()
    assert not rig.live.exists() and rig.dumps() == []
    rig.ring.leave(11.0)
    with pytest.raises(NotFound):
        rig.recorder.dump("too late")


def test_the_file_is_allocated_before_it_is_used(make: Any) -> None:
    """A hole in a mapped file would end the process with SIGBUS on a full disk."""
    rig = make()
    status = rig.live.stat()
    assert status.st_blocks * 512 >= status.st_size > 2048 * 1024


def test_a_killed_process_is_found_by_its_successor(make: Any) -> None:
    dead = make()
    successor = make()
    found = successor.newest()
    assert f"(pid {os.getpid()}) ended without a word" in found.header.reason
    replay = Replay(found)
    assert [step.given for step in replay.steps()] == [("start", 10.0)]
    assert successor.live.exists() and len(successor.dumps()) == 1
    assert dead.dumps() == successor.dumps()


def test_rubbish_in_its_place_is_said_and_taken_away(make: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "totem.blackbox").write_bytes(b"rubbish")
    rig = make()
    assert rig.said("cannot be used") and rig.dumps() == []
    rig.recorder.dump("works all the same")


def test_a_crash_is_dumped_with_its_traceback(make: Any) -> None:
    rig = make()
    (notify,) = rig.context.at_bug
    try:
        raise AssertionError("cannot be")
    except AssertionError as error:
        notify(error)
    assert rig.newest().header.reason.endswith("AssertionError: cannot be\n")
    assert 'test_recorder_process.py"' in rig.newest().header.reason


def test_an_invariant_that_breaks_is_dumped_once(make: Any) -> None:
    rig = make()
    for now in (11.0, 12.0, 13.0):
        rig.ring._context.count("bug.install_below_delivered")
        rig.ring.gather(now)
    assert len(rig.dumps()) == 1
    assert "bug.install_below_delivered" in rig.newest().header.reason


def test_old_dumps_go(make: Any) -> None:
    rig = make(blackbox_dumps=3)
    paths = [rig.recorder.dump(f"number {number}").path for number in range(5)]
    assert rig.dumps() == paths[2:]
    for path in rig.dumps():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(rig.dumps()[0].parent.stat().st_mode) == 0o700


def test_a_dump_that_cannot_be_removed_harms_nobody(make: Any) -> None:
    rig = make(blackbox_dumps=1)
    (rig.state_dir / "blackbox" / "blackbox-1-19700101T000000.000000").mkdir(parents=True)
    first, second = (rig.recorder.dump(f"number {number}").path for number in range(2))
    assert second.exists() and not first.exists()


def test_something_else_in_its_place_that_cannot_be_removed_harms_nobody(make: Any, tmp_path: Path) -> None:
    (tmp_path / "run" / "totem.blackbox").mkdir(parents=True)
    rig = make()
    assert rig.said("could not be kept") and rig.said("in memory only")
    assert rig.recorder.dump("still possible").path.exists()
    rig.recorder.close()


def test_off_and_on_again_without_a_restart(make: Any) -> None:
    rig = make(blackbox=False)
    assert not rig.live.exists()
    with pytest.raises(NotFound, match="off"):
        rig.recorder.dump("nothing")
    rig.ring.gather(11.0)
    on = msgspec.structs.replace(rig.configuration.logging, blackbox=True)
    rig.recorder.reconfigure(msgspec.structs.replace(rig.configuration, logging=on))
    rig.ring.pause_detected(12.0)
    rig.recorder.dump("something")
    replay = Replay(rig.newest())
    assert [(step.given, step.problem) for step in replay.steps()] == [(("pause_detected", 12.0), "")]
    effects = rig.ring.take_effects()
    assert effects, "what was decided while nothing was recorded is not lost"
    rig.recorder.reconfigure(rig.configuration)
    assert not rig.live.exists()


def test_an_input_without_a_time_comes_after_the_beginning(make: Any) -> None:
    rig = make(blackbox=False)
    on = msgspec.structs.replace(rig.configuration.logging, blackbox=True)
    rig.recorder.reconfigure(msgspec.structs.replace(rig.configuration, logging=on))
    rig.ring.reconfigure(PARAMETERS)
    rig.ring.pause_detected(12.0)
    assert rig.recorder.dump("a while").seconds == 2.0
    assert [step.time for step in Replay(rig.newest()).steps()] == [10.0, 12.0]


def test_without_room_it_records_in_memory(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    rig = make()
    assert rig.said("in memory only") and not rig.live.exists()
    assert rig.recorder.dump("still possible").path.exists()


def test_a_dump_that_cannot_be_written_harms_nobody(make: Any) -> None:
    rig = make()
    rig.state_dir.write_text("a file where the directory should be")
    with pytest.raises(OperationFailed, match="cannot be made"):
        rig.recorder.dump("asked for")
    rig.context.at_bug[0](AssertionError("x"))
    assert rig.said("could not be dumped")
