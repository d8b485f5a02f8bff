"""sam-runs with Python programs as their applications; nothing of them outlives a test."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from .command import SAM_RUN, environment

PATIENCE = 30
"""How long a test waits for what must happen."""

SAY = "import os, signal, sys, time; print(os.environ['TOTEMD_SAM_INSTANCE'], os.getpid(), flush=True)\n"
"""How an instance begins: `words` of the sam-run tell its number and its pid."""

FIRST = "os.environ['TOTEMD_SAM_INSTANCE'] == '1'"

Start = Callable[..., subprocess.Popen[str]]


@contextlib.contextmanager
def sam_runs(run_dir: Path, directory: Path) -> Iterator[Start]:
    """Start them by `start(*options, program=TEXT)`, in this directory; what they say of themselves is in `errors`."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, program: str) -> subprocess.Popen[str]:
        command = [*SAM_RUN, "--run-dir", str(run_dir), *options, "--", sys.executable, "-c", program]
        with (directory / "errors").open("a") as errors:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment(), cwd=directory
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=PATIENCE)
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if each.environ().get("TOTEMD_SAM_RUN_DIR") == str(run_dir):
                each.kill()


def words(process: subprocess.Popen[str]) -> list[str]:
    """The next line of the application."""
    assert process.stdout is not None
    return process.stdout.readline().split()
