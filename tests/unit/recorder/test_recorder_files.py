"""Where a recording lives, and what is never taken for one."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import msgspec
import psutil
import pytest
from recorderkit import HEADER, dump, live, recorded
from totemd.executive.config.options_services import LOGGING_OPTIONS
from totemd.executive.totem.recorder.files import map_recording, read_file, recording_in_memory
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
