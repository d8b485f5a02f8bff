"""What a keeper leaves to its successor, and how processes are known again."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from totemd.executive.config.model import AppEntry
from totemd.ipc.errors import OperationFailed
from totemd.ipc.lock import LockFile, holder
from totemd.sam.keeper import record
from totemd.sam.keeper.adopt import Traces, created_at, is_still, now
from totemd.sam.keeper.record import APPS_FILE, LIVES_FILE, LastSeen, Mark, Record

A, B, C = (AppEntry(name, ("x",)) for name in "abc")


def test_a_successor_reads_what_was_written(tmp_path: Path) -> None:
    first = Record(tmp_path)
    first.declare([(A, True), (B, False)])
    first.write("a", Mark.STARTING, 7)
    first.write("b", Mark.RUNNING, 3, 4242, (1.5, 1.75))
    first.write("nobody", Mark.RUNNING, 1, 1)
    found = {kept.entry.name: (kept.is_wanted, seen) for kept, seen in Record(tmp_path).load()}
    assert found == {
        "a": (True, LastSeen(Mark.STARTING, 7)),
        "b": (False, LastSeen(Mark.RUNNING, 3, 4242, 1.5, 1.75)),
    }


def test_slots_stay_with_their_applications(tmp_path: Path) -> None:
    first = Record(tmp_path)
    first.declare([(A, True), (B, True)])
    first.write("b", Mark.RUNNING, 3, 4242, (1.0, 2.0))
    first.write("a", Mark.RUNNING, 9, 77, (1.0, 2.0))
    first.declare([(C, True), (B, True)])
    found = {kept.entry.name: seen for kept, seen in Record(tmp_path).load()}
    assert found["b"].pid == 4242
    assert found["c"] == LastSeen(), "nothing of whoever had its slot before"


def test_what_was_before_the_machines_last_start_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Record(tmp_path).declare([(A, True)])
    monkeypatch.setattr(record, "boot_id", lambda: "another")
    assert Record(tmp_path).load() == []


@pytest.mark.parametrize("damage", [b"", b"\xff\xff", b"\x80"])
def test_damaged_files_are_nothing(tmp_path: Path, damage: bytes) -> None:
    first = Record(tmp_path)
    first.declare([(A, True)])
    first.write("a", Mark.RUNNING, 3, 4242)
    (tmp_path / LIVES_FILE).write_bytes(damage)
    assert [seen for _, seen in Record(tmp_path).load()] == [LastSeen()]
    (tmp_path / LIVES_FILE).write_bytes(b"\xff" * 64)
    assert [seen for _, seen in Record(tmp_path).load()] == [LastSeen()]
    (tmp_path / APPS_FILE).write_bytes(damage)
    assert Record(tmp_path).load() == []


def test_the_files_are_for_the_owner_alone(tmp_path: Path) -> None:
    Record(tmp_path).declare([(A, True)])
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in (APPS_FILE, LIVES_FILE)} == {0o600}


def test_one_holds_the_lock_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert holder(path) == 0
    assert LockFile(path).take()
    assert holder(path) == os.getpid()
    assert not LockFile(path).take()


def test_a_process_is_known_by_the_time_of_its_creation() -> None:
    began = now()
    process = subprocess.Popen(["sleep", "1000"])
    try:
        ended = now()
        assert is_still(process.pid, began, ended)
        assert not is_still(process.pid, began - 10, began - 5)
        assert not is_still(0, began, ended)
    finally:
        process.kill()
        while created_at(process.pid) is not None:
            pass
        assert not is_still(process.pid, began, ended), "one that has ended is none, reaped or not"
        process.wait()


def test_traces_find_an_instance_and_what_it_left_behind(tmp_path: Path) -> None:
    variables = {"TOTEMD_SAM_NAME": "web", "TOTEMD_SAM_INSTANCE": "3", "TOTEMD_SAM_RUN_DIR": str(tmp_path)}
    script = (
        "import os, subprocess, sys; child = subprocess.Popen(['sleep', '1000'], env={});"
        "print(os.getpid(), child.pid, flush=True); sys.stdin.read()"
    )
    main = subprocess.Popen(
        [sys.executable, "-c", script],
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,
        text=True,
    )
    assert main.stdout is not None
    pid, child = map(int, main.stdout.readline().split())
    try:
        traces = Traces("web", 3, tmp_path)
        assert traces.main() == pid
        assert Traces("web", 2, tmp_path).main() == 0
        assert Traces("web", 3, tmp_path / "other").main() == 0
        assert main.stdin is not None
        main.stdin.close()
        main.wait()
        assert traces.main() == 0
        assert traces.left_behind(pid) == [child]
    finally:
        main.stdout.close()
        os.kill(child, signal.SIGKILL)


def test_no_room_for_what_is_declared_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    first = Record(tmp_path)
    first.declare([(A, True)])
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(OperationFailed, match="No space left on device"):
            first.declare([(A, True), (B, True)])
    assert [kept.entry.name for kept, _ in Record(tmp_path).load()] == ["a"]
    first.declare([(A, True), (B, True)])
    assert [kept.entry.name for kept, _ in Record(tmp_path).load()] == ["a", "b"]
