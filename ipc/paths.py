"""Where a node's sockets lie: one run directory per node, and the file names in it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .errors import AccessDenied

RUN_DIR_VARIABLE = "COROSYNC_RUN_DIR"
"""Environment variable that names the run directory when no option does."""

RUN_DIR_OF_ROOT = Path("/run/totemd")
"""Run directory of root."""

EXECUTIVE_SOCKET = "executive.sock"
"""The executive: its children and totemctl."""

TOTEM_SOCKET = "totem.sock"
"""The ordered stream; children only."""

CPG_SOCKET = "cpg.sock"
"""Groups; applications connect here."""

SAM_SOCKET = "sam.sock"
"""The availability manager; sam-run and applications connect here."""

KEEPER_SOCKET = "keeper.sock"
"""The keeper of declared applications; the sam process and totemctl connect here."""

KEEPER_LOCK = "keeper.lock"
"""Held by the keeper as long as it runs; names its pid."""

KEPT_SOCKET = "kept.sock"
"""Declared applications speak to their keeper here."""

QUORUM_SOCKET = "quorum.sock"
"""Votes."""

PID_FILE = "totemd.pid"
"""The executive's pid, locked while it runs."""


def run_dir(explicit: str | os.PathLike[str] | None = None, environment: Mapping[str, str] | None = None) -> Path:
    """The run directory to use, absolute; it need not exist.

    The first of: *explicit*, `COROSYNC_RUN_DIR`, `/run/totemd` for root, `$XDG_RUNTIME_DIR/totemd`, and
    `totemd-UID` in the directory for temporary files.

    Raises:
        AccessDenied: the last of these belongs to somebody else, who could pose as this user's node there.
    """
    variables = os.environ if environment is None else environment
    named = os.fspath(explicit) if explicit is not None else variables.get(RUN_DIR_VARIABLE, "")
    if named:
        return Path(named).absolute()
    if os.geteuid() == 0:
        return RUN_DIR_OF_ROOT
    if runtime_dir := variables.get("XDG_RUNTIME_DIR", ""):
        return Path(runtime_dir).absolute() / "totemd"
    return _own(Path(tempfile.gettempdir()).absolute() / f"totemd-{os.geteuid()}")


def _own(directory: Path) -> Path:
    """*directory*, which lies where everybody may make one of that name first."""
    with contextlib.suppress(FileNotFoundError):
        owner = directory.lstat().st_uid
        if owner != os.geteuid():
            raise AccessDenied(f"{directory} belongs to user {owner}; name another run directory with --run-dir")
    return directory
