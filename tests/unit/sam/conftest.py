"""Fixtures with real processes; makes `samkit` importable for the tests beside this file."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

HERE = str(Path(__file__).resolve().parent)

if HERE not in sys.path:
    sys.path.insert(0, HERE)

from samkit import Workshop  # noqa: E402


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    made = Workshop(Path(tempfile.mkdtemp(prefix="sam-", dir="/tmp")))
    yield made
    made.clean()


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes to look at; whatever is in the list at the end is killed with all that it has started."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            for each in psutil.Process(process.pid).children(recursive=True):
                each.kill()
        process.kill()
        process.wait()
