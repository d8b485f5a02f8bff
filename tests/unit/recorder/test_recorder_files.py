"""Where a recording lives."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from totemd.executive.totem.recorder.files import map_recording, recording_in_memory

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
