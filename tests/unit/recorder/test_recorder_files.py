"""Where a recording lives, and what is never taken for one, or replaced by one."""

from __future__ import annotations

import errno
import os
import stat
import tracemalloc
from pathlib import Path

import msgspec
import psutil
import pytest
from recorderkit import HEADER, dump, live, recorded
from totemd.executive.config.options_services import LOGGING_OPTIONS
from totemd.executive.totem.recorder.files import map_recording, read_file, recording_in_memory, write_file
from totemd.executive.totem.recorder.format import (
    BEGINNING_BYTES_MAX,
    FILE_BYTES_MAX,
    HEADER_ROOM,
    REASON_BYTES_MAX,
    encode_header,
)
from totemd.executive.totem.recorder.tape import buffer_bytes
from totemd.ipc.errors import MalformedMessage, OperationFailed

SIZE = 16 * 1024 * 1024


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_recording_takes_its_memory_at_once(tmp_path: Path, in_memory: bool) -> None:
    """Else a process that records would seem to leak for as long as its recording fills."""
    process = psutil.Process()
    before = process.memory_info().rss
    recording = recording_in_memory(SIZE) if in_memory else map_recording(tmp_path / "live", SIZE)
    assert process.memory_info().rss - before > SIZE * 0.9
    assert recording[:4] == recording[-4:] == bytes(4)
    recording.close()


# -- reading


def test_the_largest_recording_can_be_read(tmp_path: Path) -> None:
    """With the header that it has while it runs, and with the one of a dump, which holds a traceback."""
    (option,) = (each for each in LOGGING_OPTIONS if each.path == "logging.blackbox_size")
    largest = buffer_bytes(option.kind.high * 1024)
    header = encode_header(msgspec.structs.replace(HEADER, reason="x" * REASON_BYTES_MAX))
    assert max(largest, largest - HEADER_ROOM + len(header)) <= FILE_BYTES_MAX
    file = tmp_path / "largest"
    file.touch()
    os.truncate(file, largest)  # a hole; that it is looked into shows that its size was no reason to refuse it
    with pytest.raises(MalformedMessage, match="no recording"):
        read_file(file)
    os.truncate(file, FILE_BYTES_MAX + 1)
    with pytest.raises(OperationFailed, match=f"a recording has at most {FILE_BYTES_MAX}"):
        read_file(file)


def test_of_a_file_of_something_else_little_is_read(tmp_path: Path) -> None:
    file = tmp_path / "film"
    file.touch()
    os.truncate(file, FILE_BYTES_MAX)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedMessage):
            read_file(file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * BEGINNING_BYTES_MAX


def test_a_recording_is_read_whole(tmp_path: Path) -> None:
    live(ring := recorded(), rounds=200)
    file = tmp_path / "dump"
    file.write_bytes(data := dump(ring))
    assert len(data) > BEGINNING_BYTES_MAX
    assert read_file(file) == data


@pytest.mark.timeout(20)
def test_nobody_waits_for_the_writer_of_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OperationFailed, match=r"fifo: a FIFO, and a recording is a regular file"):
        read_file(tmp_path / "fifo")


# -- writing


def test_a_file_is_replaced_whole_for_its_owner_only(tmp_path: Path) -> None:
    """And no other: also not one whose name looks temporary."""
    (tmp_path / "kept").write_text("old")
    (tmp_path / "kept.new").write_text("somebody else's")
    write_file(tmp_path / "kept", b"recording")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {
        "kept": b"recording",
        "kept.new": b"somebody else's",
    }
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o600


def test_a_name_may_be_as_long_as_the_file_system_lets_it(tmp_path: Path) -> None:
    for name in ("n" * 255, "\N{SNOWMAN}" * 85):
        write_file(tmp_path / name, b"recording")
        assert (tmp_path / name).read_bytes() == b"recording"


@pytest.mark.parametrize("exists", [False, True])
def test_a_link_is_followed(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "disk").mkdir()
    real, link = tmp_path / "disk" / "real", tmp_path / "link"
    link.symlink_to(Path("disk") / "real")
    if exists:
        real.write_text("old")
    write_file(link, b"recording")
    assert link.is_symlink() and real.read_bytes() == b"recording"
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["disk", "link", "real"]


def _refused(path: Path, because: str) -> None:
    before = path.lstat()
    with pytest.raises(OperationFailed, match=because):
        write_file(path, b"recording")
    after = path.lstat()
    assert (before.st_ino, before.st_mode, before.st_rdev) == (after.st_ino, after.st_mode, after.st_rdev)


def test_what_is_no_regular_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    _refused(tmp_path / "fifo", "fifo: a FIFO, and a recording is written to a regular file")
    _refused(tmp_path / "link", "link: a FIFO")
    _refused(tmp_path / "directory", "directory: a directory")
    _refused(tmp_path / "loop", os.strerror(errno.ELOOP))
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_left_alone(tmp_path: Path) -> None:
    os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    _refused(tmp_path / "null", "null: a device, and a recording is written to a regular file")


def test_a_file_that_has_no_name_any_more_is_not_written(tmp_path: Path) -> None:
    """A link of /proc is followed by the kernel; the path that it shows leads elsewhere, or nowhere."""
    with (tmp_path / "gone").open("wb") as file:
        (tmp_path / "gone").unlink()
        (tmp_path / "link").symlink_to(f"/proc/self/fd/{file.fileno()}")
        _refused(tmp_path / "link", "what it leads to has no path")
        assert os.fstat(file.fileno()).st_size == 0
    assert [each.name for each in tmp_path.iterdir()] == ["link"]


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "kept").write_text("old")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OperationFailed, match=r"kept: cannot be written: No space left"):
        write_file(tmp_path / "kept", b"recording")
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]
