"""What the commands say when their output goes nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from executivekit import WAIT_SECONDS, FakeNode
from totemd.executive.runtime import stdout

FULL = Path("/dev/full")
"""Takes nothing: every write to it finds no space left."""

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="there is no such device here")


def run(output: IO[str], module: str, *arguments: str, buffered: bool = True) -> subprocess.CompletedProcess[str]:
    """A command that prints into *output*."""
    return subprocess.run(
        [sys.executable, *([] if buffered else ["-u"]), "-m", module, *arguments],
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=WAIT_SECONDS,
        env={key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"},
        check=False,
    )


def into_nowhere(module: str, *arguments: str, buffered: bool = True) -> subprocess.CompletedProcess[str]:
    with FULL.open("w") as full:
        return run(full, module, *arguments, buffered=buffered)


@pytest.mark.parametrize("command", ["--help", "--version", "status", "metrics", "members", "cmap list"])
def test_totemctl(running_node: FakeNode, command: str) -> None:
    for buffered in (True, False):
        options = ["--run-dir", str(running_node.run_dir), *command.split()]
        done = into_nowhere("totemd.executive.control", *options, buffered=buffered)
        assert done.stderr == "totemctl: standard output cannot be written: No space left on device\n"
        assert done.returncode == 1


@pytest.mark.parametrize("option", ["--help", "-v", "-t"])
def test_totemd(node: FakeNode, option: str) -> None:
    done = into_nowhere("totemd.executive", "-c", str(node.configuration), option)
    assert done.stderr == "totemd: standard output cannot be written: No space left on device\n"
    assert done.returncode == 15


def test_what_can_be_written_is(capfd: pytest.CaptureFixture[str]) -> None:
    with stdout.checked():
        print("well")
        assert not sys.stdout.isatty()
    assert capfd.readouterr().out == "well\n"


def test_a_reader_that_is_gone_needs_no_words() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as pipe:
        done = run(pipe, "totemd.executive", "-v")
    assert (done.returncode, done.stderr) == (1, "")


def test_nothing_is_expected_of_a_closed_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with stdout.checked():
        print("nobody wants this")
