"""Commands as users type them, with an environment that says nothing about clusters."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import psutil

TOTEMD = [sys.executable, "-m", "totemd.executive"]
TOTEMCTL = [sys.executable, "-m", "totemd.executive.control"]
SAM_RUN = [sys.executable, "-m", "totemd.sam.run"]

SECONDS = 30.0
"""How long a command that is expected to end may take."""


def environment(**extra: str) -> dict[str, str]:
    """The caller's environment without what would choose a configuration or a run directory."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COROSYNC_", "TOTEMD_"))}
    return kept | extra


def run(
    command: list[str], *, env: Mapping[str, str] | None = None, timeout: float = SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run to the end; output is text."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=dict(env or environment()), check=False
    )


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent to notice does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
