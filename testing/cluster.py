"""A cluster for tests: nodes, their network, and the promise that nothing is left of them."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from ..ipc.errors import OperationFailed
from . import family
from .addresses import Network, free_port
from .configuration import Value, cluster_configuration
from .faults import Faults
from .guard import Guard
from .node import START_SECONDS, Node
from .waiting import wait_until

RING_SECONDS = 30.0
"""How long a ring may take to form: three times what corosync's default timeouts allow for three nodes."""

KEY_BYTES = 128
"""What `totemctl keygen` writes."""

_FOREIGN_PREFIXES = ("COROSYNC_", "TOTEMD_", "NOTIFY_SOCKET", "WATCHDOG_", "STATE_DIRECTORY")
"""Variables of the caller's environment that would change what a node does."""


class Cluster:
    """Real nodes on loopback addresses of their own; `cluster[1]` is the first one.

    *nodes* is their number.  *options* changes their configuration (`{"logging.debug": "on"}`; dotted paths of
    corosync.conf), and so do keyword arguments for the section totem (`token=500`).  Otherwise they run with
    corosync's defaults, except that encryption is on and no process asks for real-time scheduling.  *addresses* are
    used instead of addresses chosen here.  With `start=False` nothing is started, so that a test can change files.
    With `faults=False` there is no `partition` and no `loss`, but the very link that users have.  *port* is used
    instead of a free one.  *launchers* are words before the command of a node, of a program that becomes that command
    (`["nsenter", "--net=/run/netns/red"]`); nodes whose addresses are not this machine's need *port* too.
    """

    def __init__(
        self,
        nodes: int = 3,
        *,
        options: Mapping[str, Value] | None = None,
        addresses: Sequence[str] | None = None,
        start: bool = True,
        faults: bool = True,
        port: int | None = None,
        launchers: Mapping[int, Sequence[str]] | None = None,
        environment: Mapping[str, str] | None = None,
        **totem: Value,
    ) -> None:
        self.options: dict[str, Value] = {f"totem.{name}": value for name, value in totem.items()} | dict(options or {})
        self.key = secrets.token_bytes(KEY_BYTES)
        self._start = start
        with contextlib.ExitStack() as building:
            self.directory = Path(tempfile.mkdtemp(prefix="totemd-"))
            """Everything that the cluster has on disk."""
            building.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self._guard = Guard(self.directory)
            building.callback(self._guard.close)
            self.addresses = dict(enumerate(_addresses(nodes, addresses, building), start=1))
            self.port = port if port is not None else free_port(list(self.addresses.values()))
            self.nodes: dict[int, Node] = {}
            self._faults = Faults(self.nodes, self.directory) if faults else None
            if self._faults is not None:
                building.callback(self._faults.close)
            self._make_nodes(_environment() | dict(environment or {}), launchers or {})
            self.configure()
            self._resources = building.pop_all()

    def __getitem__(self, node_id: int) -> Node:
        return self.nodes[node_id]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def __len__(self) -> int:
        return len(self.nodes)

    def __enter__(self) -> Cluster:
        if self._start:
            with contextlib.ExitStack() as building:
                building.callback(self.close, cleanly=False)
                self.start()
                building.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(cleanly=kind is None)

    def configure(self, **options: Value) -> None:
        """Write the keys and the configuration files of all nodes, with *options* for the section totem added.

        A running node sees the change after `node.reload()`.
        """
        self.options |= {f"totem.{name}": value for name, value in options.items()}
        for node in self:
            node.write_key(self.key)
            node.write_configuration(
                cluster_configuration(node.node_id, self.addresses, self.port, str(node.key_path), self.options)
            )

    def start(self, timeout: float = START_SECONDS) -> None:
        """Start every node that does not run; return when they all are one ring."""
        idle = [node for node in self if not node.is_running]
        for node in idle:
            node.launch()
        for node in idle:
            node.wait_for_processes(timeout)
        self.wait_for_ring(self.nodes)

    def stop(self) -> None:
        """End all nodes cleanly, all at once.  They can be started again.

        Raises:
            NotInTime: one of them does not end.
        """
        self._request_stop()
        for node in self:
            if node.exit_code is None and node.is_running:
                node.wait()

    def wait_for_ring(self, members: Iterable[int] | None = None, timeout: float = RING_SECONDS) -> None:
        """Return when *members* (without it: all nodes that run) are one operational ring of exactly these nodes.

        Raises:
            NotInTime: they are not after *timeout* seconds; the text shows where each of them stands.
        """
        wanted = sorted(members if members is not None else (node.node_id for node in self if node.is_running))

        def formed() -> bool:
            seen = {self[node_id].stands() for node_id in wanted}
            first = next(iter(seen))
            return len(seen) == 1 and first is not None and first[::2] == ("operational", tuple(wanted))

        wait_until(formed, timeout, lambda: f"{wanted} are one ring; {self._where(wanted)}")

    def partition(self, *sides: Iterable[int]) -> None:
        """Cut the network into *sides*, `partition([1], [2, 3])`; a node on no side is alone."""
        self._network.partition([set(side) for side in sides])

    def cut(self, *links: tuple[int, int]) -> None:
        """Cut links in one direction: `cut((1, 2))`, and node 2 does not hear node 1, though 1 hears 2."""
        self._network.cut(links)

    def loss(self, probability: float) -> None:
        """Lose each datagram between any two nodes with this probability."""
        self._network.loss(probability)

    def heal(self) -> None:
        """End partitions, cuts and losses."""
        self._network.heal()

    def leftovers(self) -> list[str]:
        """Processes of this machine that still work in the cluster's directory, and sockets in it."""
        processes = [f"process {each.pid}" for each in family.mentioning(str(self.directory))]
        return processes + [f"socket {path}" for path in self.directory.rglob("*") if path.is_socket()]

    def close(self, cleanly: bool = True) -> None:
        """End all nodes (with SIGTERM if *cleanly*) and remove everything of them.  May be called again."""
        try:
            if cleanly:
                self._request_stop()
            for node in self:
                node.close(cleanly)
        finally:
            self._resources.close()

    @property
    def _network(self) -> Faults:
        if self._faults is None:
            raise OperationFailed("this cluster was made with faults=False: its network cannot be told to fail")
        return self._faults

    def _make_nodes(self, environment: Mapping[str, str], launchers: Mapping[int, Sequence[str]]) -> None:
        for node_id, address in self.addresses.items():
            variables = {**environment, **(self._faults.environment(node_id) if self._faults is not None else {})}
            directory, launcher = self.directory / str(node_id), launchers.get(node_id, ())
            self.nodes[node_id] = Node(node_id, address, directory, variables, self._guard, launcher=launcher)

    def _request_stop(self) -> None:
        for node in self:
            node.request_stop()

    def _where(self, nodes: Iterable[int]) -> str:
        return "\n".join(
            f"{self[node_id]!r}: {self[node_id].stands()}\n{self[node_id].last_words(5)}" for node_id in nodes
        )


def _addresses(nodes: int, given: Sequence[str] | None, building: contextlib.ExitStack) -> list[str]:
    """The addresses of nodes 1 to *nodes*; those that are not *given* are claimed until the end of *building*."""
    if given is None:
        network = building.enter_context(Network())
        return [network.address(node_id) for node_id in range(1, nodes + 1)]
    if len(given) != nodes:
        raise OperationFailed(f"{nodes} nodes need as many addresses, not {len(given)}")
    return list(given)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN_PREFIXES)}
