"""What the blocking and the asyncio client have in common besides the tracker."""

from __future__ import annotations

import os
from pathlib import Path

from ...ipc.errors import ConnectionLost, NotFound
from ...ipc.messages.quorum import Count
from ...ipc.paths import EXECUTIVE_SOCKET, QUORUM_SOCKET, run_dir
from .tracking import Tracker

ROLE = "client"
"""What a client calls itself in its hello."""

SERVICE_NAME = "totemd's quorum service"
"""What error texts call the other end."""

CONNECT_SECONDS = 5.0
"""How long `Client` waits by default until the service tells how it stands."""

ANSWER_SECONDS = 10.0
"""How long a change of votes may take by default: it goes through the ring."""


def socket_path(explicit_run_dir: str | os.PathLike[str] | None) -> Path:
    """Where this node's quorum service listens.

    Raises:
        NotFound: a node runs there, but without a quorum provider.
    """
    directory = run_dir(explicit_run_dir)
    path = directory / QUORUM_SOCKET
    if not path.exists() and (directory / EXECUTIVE_SOCKET).exists():
        raise NotFound(
            f"{path}: there is no quorum service; the configuration of this node names no quorum.provider, or the "
            f"node is still starting"
        )
    return path


class ClientView:
    """What a client shows."""

    def __init__(self) -> None:
        self._tracker = Tracker()

    def _known(self) -> Count:
        if self._tracker.status is None:
            raise ConnectionLost("the client is not connected")
        return self._tracker.status

    def __repr__(self) -> str:
        state = "quorate" if self._tracker.quorate else "not quorate"
        return f"<{type(self).__module__}.{type(self).__qualname__}, {state}>"
