"""The run directory and the pid file."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from totemd.executive.supervisor.pidfile import AlreadyRunning, PidFile, prepare_run_dir
from totemd.ipc.errors import OperationFailed


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("shared", "expected"), [(False, 0o700), (True, 0o711)])
def test_a_run_directory_is_made(tmp_path: Path, shared: bool, expected: int) -> None:
    before = os.umask(0o077)
    try:
        prepare_run_dir(tmp_path / "a" / "run", shared)
    finally:
        os.umask(before)
    assert mode(tmp_path / "a" / "run") == expected


def test_one_that_exists_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    prepare_run_dir(tmp_path, shared=False)
    assert mode(tmp_path) == 0o750


def test_one_that_exists_is_opened_when_rules_name_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    prepare_run_dir(tmp_path, shared=True)
    assert mode(tmp_path) == 0o711


def test_everybody_may_write_in_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(OperationFailed, match=r"everybody may write .* `chmod o-w"):
        prepare_run_dir(tmp_path, shared=False)


def test_it_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OperationFailed, match="this is no directory"):
        prepare_run_dir(tmp_path / "file", shared=False)
    with pytest.raises(OperationFailed, match="Not a directory"):
        prepare_run_dir(tmp_path / "file" / "run", shared=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_it_belongs_to_somebody_else(tmp_path: Path) -> None:
    os.chown(tmp_path, 4711, 4711)
    with pytest.raises(OperationFailed, match="belongs to user 4711"):
        prepare_run_dir(tmp_path, shared=False)
    os.chown(tmp_path, 0, 0)


def test_the_file_holds_the_pid_while_it_is_locked(tmp_path: Path) -> None:
    first, second = PidFile(tmp_path), PidFile(tmp_path)
    first.acquire()
    assert first.held
    assert first.path.read_text() == f"{os.getpid()}\n"
    assert mode(first.path) & 0o037 == 0
    with pytest.raises(AlreadyRunning, match=r"^Another totemd instance is already running\.$"):
        second.acquire()
    assert not second.held
    assert first.path.read_text() == f"{os.getpid()}\n"
    first.release()
    assert not first.path.exists()
    second.acquire()
    second.release()


def test_what_a_crash_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "totemd.pid").write_text("4711471147114711\n")
    file = PidFile(tmp_path)
    file.acquire()
    assert file.path.read_text() == f"{os.getpid()}\n"
    file.release()


def test_the_lock_ends_with_the_process_not_with_its_children(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys; from pathlib import Path; from totemd.executive.supervisor.pidfile import PidFile; "
        "PidFile(Path(sys.argv[1])).acquire(); "
        "quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}; "
        "print(subprocess.Popen(['sleep', '30'], **quiet).pid)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=30
    )
    try:
        file = PidFile(tmp_path)
        file.acquire()
        file.release()
    finally:
        os.kill(int(done.stdout), 9)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    (tmp_path / "totemd.pid").symlink_to(tmp_path / "precious")
    with pytest.raises(OperationFailed, match="pid file"):
        PidFile(tmp_path).acquire()
    assert (tmp_path / "precious").read_text() == "data"


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "totemd.pid").mkdir()
    with pytest.raises(OperationFailed, match=r"pid file .*totemd\.pid: Is a directory"):
        PidFile(tmp_path).acquire()
