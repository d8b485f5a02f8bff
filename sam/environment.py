"""What an application finds in its environment when it runs under sam-run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

NAME = "TOTEMD_SAM_NAME"
"""The application's name."""

INSTANCE = "TOTEMD_SAM_INSTANCE"
"""Number of this instance: 1 for the first, one more after each restart."""

POLICY = "TOTEMD_SAM_POLICY"
"""`restart` or `quit`."""

INTERVAL = "TOTEMD_SAM_INTERVAL"
"""The interval in milliseconds."""

RUN_DIR = "TOTEMD_SAM_RUN_DIR"
"""The run directory of the node whose sam process watches."""

PID = "TOTEMD_SAM_PID"
"""The process number of sam-run."""


def for_instance(
    base: Mapping[str, str], *, name: str, instance: int, policy: str, interval_ms: int, run_dir: Path
) -> dict[str, str]:
    """The environment of one instance: *base* and the variables above."""
    return {
        **base,
        NAME: name,
        INSTANCE: str(instance),
        POLICY: policy,
        INTERVAL: str(interval_ms),
        RUN_DIR: os.fspath(run_dir),
        PID: str(os.getpid()),
    }
