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

FENCE = "TOTEMD_SAM_FENCE"
"""The fencing token of an application that runs on one node at a time; higher than that of all earlier runs."""

STATE, MAIN, DETAIL, EXIT_CODE = (f"TOTEMD_SAM_{word}" for word in ("STATE", "MAIN_PID", "DETAIL", "EXIT_CODE"))
"""What a hook finds besides: the state that was entered, the main process (0: none), what happened, how it ended."""

SOCKET = "TOTEMD_SAM_SOCKET"
"""Where the application reaches its sam-run (`ipc/messages/sam_app.py`)."""


def of_every_instance(
    base: Mapping[str, str], *, policy: str, interval_ms: int, run_dir: Path, socket: Path
) -> dict[bytes, bytes]:
    """*base* and those of the variables above that never change, encoded once: restarts should be quick."""
    variables = {
        **base,
        POLICY: policy,
        INTERVAL: str(interval_ms),
        RUN_DIR: os.fspath(run_dir),
        PID: str(os.getpid()),
        SOCKET: os.fspath(socket),
    }
    return {os.fsencode(key): os.fsencode(value) for key, value in variables.items()}


def of_instance(constant: Mapping[bytes, bytes], name: str, instance: int, fence: int = 0) -> dict[bytes, bytes]:
    """The environment of one instance."""
    found = {**constant, NAME.encode(): name.encode(), INSTANCE.encode(): b"%d" % instance}
    if fence:
        found[FENCE.encode()] = b"%d" % fence
    return found


def of_main(variables: Mapping[bytes, bytes], pid: int) -> dict[bytes, bytes]:
    """What a command that is run about an instance finds: that instance's environment, and its main process."""
    return {**variables, MAIN.encode(): b"%d" % pid}


def of_turn(variables: Mapping[bytes, bytes], pid: int, detail: str, exit_code: int | None) -> dict[bytes, bytes]:
    """What a hook finds."""
    found = {**of_main(variables, pid), DETAIL.encode(): detail.encode(errors="replace")}
    if exit_code is not None:
        found[EXIT_CODE.encode()] = b"%d" % exit_code
    return found
