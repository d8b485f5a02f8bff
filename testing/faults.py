"""What the network between the nodes does: partitions, cut links and losses.

Nodes of a test cluster are started with a faulty link in the place of the real one (see
`totemd.executive.totem.links.faults`).  It takes commands at a socket, and carries out a file of them when it opens,
so that a node that starts inside a partition is inside it from its first datagram on.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..executive.totem.links.faults import FAULTS_VARIABLE, FIRST_COMMAND_SUFFIX
from ..ipc.errors import InvalidArgument, OperationFailed
from .node import Node

ANSWER_SECONDS = 5.0
"""How long a node may take to carry a command out."""

ANSWER_BYTES_MAX = 65_536


class Faults:
    """The faults of one cluster's network."""

    def __init__(self, nodes: Mapping[int, Node], directory: Path) -> None:
        self._nodes = nodes
        self._directory = directory
        self._answers = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._answers.bind("")  # a free address of the abstract namespace
        self._answers.settimeout(ANSWER_SECONDS)
        self._blocked: dict[int, list[int]] = {}
        self._unheard: dict[int, list[int]] = {}
        self._loss = 0.0

    def environment(self, node_id: int) -> dict[str, str]:
        """What a node needs in its environment to take commands."""
        return {FAULTS_VARIABLE: str(self._command_path(node_id))}

    def partition(self, sides: Sequence[Iterable[int]]) -> None:
        """Nodes hear only those on their own side; a node on no side hears nobody."""
        side_of: dict[int, int] = {}
        for index, side in enumerate(sides):
            for node_id in side:
                if node_id not in self._nodes or node_id in side_of:
                    raise InvalidArgument(f"node {node_id} is {'on two sides' if node_id in side_of else 'not there'}")
                side_of[node_id] = index
        for node_id in self._nodes:
            mine = side_of.get(node_id)
            self._blocked[node_id] = [
                other for other in self._nodes if other != node_id and (mine is None or side_of.get(other) != mine)
            ]
        self._tell()

    def cut(self, links: Iterable[tuple[int, int]]) -> None:
        """What the first of each pair sends does not reach the second any more."""
        for sender, receiver in links:
            for node_id in (sender, receiver):
                if node_id not in self._nodes:
                    raise InvalidArgument(f"node {node_id} is not there")
            self._unheard.setdefault(receiver, []).append(sender)
        self._tell()

    def loss(self, share: float) -> None:
        """Each datagram is lost with this probability on its way."""
        self._loss = share
        self._tell()

    def heal(self) -> None:
        """No partition, no cut link, no loss."""
        self._blocked.clear()
        self._unheard.clear()
        self._loss = 0.0
        self._tell()

    def close(self) -> None:
        """Give the socket back."""
        self._answers.close()

    def _command_path(self, node_id: int) -> Path:
        return self._directory / f"faults-{node_id}.sock"

    def _tell(self) -> None:
        for node_id, node in self._nodes.items():
            blocked = self._blocked.get(node_id, [])
            unheard = sorted({*blocked, *self._unheard.get(node_id, [])})
            command = json.dumps({"block": blocked, "block_receive": unheard, "loss": self._loss}).encode()
            path = self._command_path(node_id)
            first = Path(f"{path}{FIRST_COMMAND_SUFFIX}.new")
            first.write_bytes(command)
            os.replace(first, f"{path}{FIRST_COMMAND_SUFFIX}")
            if node.is_running and not node.is_paused:
                self._send(path, command)

    def _send(self, path: Path, command: bytes) -> None:
        try:
            self._answers.sendto(command, str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return  # its network process is starting, and will find the file
        try:
            answer = json.loads(self._answers.recv(ANSWER_BYTES_MAX))
        except TimeoutError:
            raise OperationFailed(f"{path}: no answer to {command!r} within {ANSWER_SECONDS:g} s") from None
        if "error" in answer:
            raise OperationFailed(f"{path}: {command!r}: {answer['error']}")
