"""What is typed wrong is refused with what is accepted, before anything is made: no run without faults passes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from chaoskit.faults import SECONDS_MIN, schedule
from chaoskit.session import Options, Session

HERE = Path(__file__).parent


def refused(program: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, str(HERE / program), *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--nodes 1", "'1' is not a whole number from 2 to 32"),
        ("--nodes 0 --schedule", "'0' is not a whole number from 2 to 32"),
        ("--nodes 300", "'300' is not a whole number from 2 to 32"),
        ("--minutes nan", "'nan' is not a number, 0.1 or more"),
        ("--minutes 0.01", "'0.01' is not a number, 0.1 or more"),
        ("--loss 500", "'500' is not a number from 0 to 90.0"),
        ("--rate 0", "'0' is not a number from 0.1 to 100000.0"),
        ("--token 0", "'0' is not a whole number from 100 to 600000"),
    ],
)
def test_a_run_of_something_impossible_is_a_usage_error(words: str, complaint: str) -> None:
    assert complaint in refused("run.py", *words.split())


def test_what_cannot_begin_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ValueError, match="1 to 32 nodes, not 300"):
        Session(Options(nodes=300), print).run()
    assert list(tmp_path.iterdir()) == []


def test_so_is_one_of_an_application_that_has_no_quorum() -> None:
    assert "'2' is not a whole number from 3 to 32" in refused("singleton.py", "--nodes", "2")
    assert "'inf' is not a number, 0.1 or more" in refused("singleton.py", "--minutes", "inf")


@pytest.mark.parametrize("seconds", [SECONDS_MIN / 2, 0.0, float("-inf")])
def test_a_schedule_has_room_for_its_last_fault(seconds: float) -> None:
    with pytest.raises(ValueError, match="6 s or more"):
        schedule(1, seconds, (1, 2))
    assert all(fault.lasts >= 0 for fault in schedule(1, SECONDS_MIN, (1, 2)))


PROGRAMS = [
    path
    for folder in ("bench", "tests/*")
    for path in sorted(HERE.parents[1].glob(f"{folder}/*.py"))
    if '\nif __name__ == "__main__":\n' in path.read_text()
]


@pytest.mark.parametrize("program", PROGRAMS, ids=[f"{path.parent.name}/{path.name}" for path in PROGRAMS])
def test_a_program_can_be_called_by_its_name(program: Path) -> None:
    """As many pages print it."""
    assert os.access(program, os.X_OK), "its mode"
    assert program.read_text().startswith("#!/usr/bin/env python3\n")


def test_there_are_programs() -> None:
    assert {"run.py", "singleton.py", "canonical.py", "loss.py"} <= {path.name for path in PROGRAMS}
