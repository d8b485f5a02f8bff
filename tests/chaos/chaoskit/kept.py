"""The declared application of each node: one process, which outlives its keeper, the sam process and the executive."""

from __future__ import annotations

import psutil
from totemd.ipc.errors import NotFound, TotemdError
from totemd.ipc.lock import holder
from totemd.ipc.paths import KEEPER_LOCK
from totemd.testing import Cluster, Node, wait_until

NAME = "kept"

OPTIONS = {"sam.app.name": NAME, "sam.app.command": "sleep infinity"}
"""Of the configuration of every node."""

RUNS_SECONDS = 60.0
"""How long it may take until it is known to run, at the start, or by a sam process that was just started again."""


def keeper(node: Node) -> psutil.Process:
    """The process that keeps it.

    Raises:
        NotFound: there is none at this moment.
        psutil.NoSuchProcess: there is none any more.
    """
    pid = holder(node.run_dir / KEEPER_LOCK)
    if not pid:
        raise NotFound(f"node {node.node_id} has no keeper")
    return psutil.Process(pid)


class Applications:
    """The pid of each node's application, and which of them have become another process without a reason."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._pids: dict[int, int] = {}
        self.complaints: list[str] = []

    def forget(self, node: int) -> None:
        """The node was killed as a whole, with whatever descended from it."""
        self._pids.pop(node, None)

    def look(self) -> None:
        """Wait until each node has one that runs; complain of those that are not what they were the last time.

        Raises:
            NotInTime: some node has none.
        """
        wait_until(
            lambda: len(self._running()) == len(self._cluster), RUNS_SECONDS, lambda: f"all run: {self._running()}"
        )
        now = self._running()
        for node, pid in self._pids.items():
            if now.get(node) != pid:
                self.complaints.append(f"the application of node {node} was process {pid}, and is {now.get(node)}")
        self._pids = now

    def _running(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for node in self._cluster:
            try:
                apps = node.apps()
            except TotemdError:
                continue
            own = [app for app in apps if app.node_id == node.node_id and app.name == NAME]
            found |= {app.node_id: app.pid for app in own if app.pid and psutil.pid_exists(app.pid)}
        return found
