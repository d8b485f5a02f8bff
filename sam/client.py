"""What an application, or anybody else, can learn from the availability manager."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..ipc.blocking import BlockingConnection
from ..ipc.messages.control import AppInfo
from ..ipc.messages.sam import FROM_SAM, AppList, ListApps
from ..ipc.paths import SAM_SOCKET
from ..ipc.paths import run_dir as run_directory
from . import environment

ANSWER_SECONDS = 5.0
"""How long `apps` waits for the sam process."""


def is_supervised(variables: Mapping[str, str] | None = None) -> bool:
    """Whether this process, or one that started it, runs under sam-run."""
    return instance(variables) > 0


def instance(variables: Mapping[str, str] | None = None) -> int:
    """Number of this instance: 1 for the first, one more after each restart; 0 if this process is not supervised."""
    text = _variable(environment.INSTANCE, variables)
    return int(text) if text.isdecimal() else 0


def fence(variables: Mapping[str, str] | None = None) -> int:
    """The fencing token of an application that runs on one node at a time (docs/singleton.md); 0 for any other.

    Whatever must not be written by two hands has to refuse lower ones than it has seen.
    """
    text = _variable(environment.FENCE, variables)
    return int(text) if text.isdecimal() else 0


def name(variables: Mapping[str, str] | None = None) -> str | None:
    """The application's name; None if this process is not supervised."""
    return _variable(environment.NAME, variables) or None


def apps(run_dir: str | os.PathLike[str] | None = None, timeout: float = ANSWER_SECONDS) -> tuple[AppInfo, ...]:
    """The applications that the sam process of a node knows, sorted by name.

    Raises:
        ConnectionLost: no sam process serves that run directory.
        AccessDenied: the `uidgid` rules do not let this user in.
        TimeoutError: it does not answer in time.
    """
    connection: BlockingConnection[object] = BlockingConnection(
        run_directory(run_dir) / SAM_SOCKET, "client", FROM_SAM, service="the sam process"
    )
    try:
        connection.open(timeout)
        reply = connection.request(ListApps(0), timeout=timeout)
        assert isinstance(reply, AppList)
        return reply.apps
    finally:
        connection.close()


def _variable(key: str, variables: Mapping[str, str] | None) -> str:
    return (os.environ if variables is None else variables).get(key, "")
