"""Real cpg processes on a ring without a network, and clients of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from fakering import FakeRing
from totemd import Client, ConfigChange, Event, Group, Message

DEADLINE = 45.0
"""Seconds after which a test gives up waiting."""


class Rig:
    """Nodes with a cpg process each; the test owns every process."""

    def __init__(self, *node_ids: int, credit: int = 8 * 1024 * 1024) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="cpg-", dir="/tmp"))
        self.run_dirs = {node: self._root / str(node) for node in node_ids}
        for path in self.run_dirs.values():
            path.mkdir()
        self.ring = FakeRing(self.run_dirs, credit)
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        for node in node_ids:
            self.start(node)

    def start(self, node_id: int, *uids: int) -> None:
        """Start a node's cpg process, and wait until it serves."""
        command = [
            sys.executable,
            str(Path(__file__).with_name("cpg_main.py")),
            str(self.run_dirs[node_id]),
            str(node_id),
        ]
        process = subprocess.Popen([*command, *map(str, uids)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        self.processes[node_id] = process

    def kill(self, node_id: int) -> None:
        """End a node's cpg process as a crash would."""
        self.processes[node_id].kill()
        self.processes[node_id].wait(DEADLINE)

    def terminate(self, node_id: int) -> None:
        """Stop a node's cpg process cleanly."""
        self.processes[node_id].terminate()
        self.processes[node_id].wait(DEADLINE)

    def client(self, node_id: int) -> Client:
        return Client(self.run_dirs[node_id])

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait(DEADLINE)
            assert process.stdout is not None
            process.stdout.close()
        self.ring.close()
        shutil.rmtree(self._root)


def receive_until(group: Group, condition: Callable[[list[Event]], bool], timeout: float = DEADLINE) -> list[Event]:
    """Events of the group until they satisfy the condition."""
    events: list[Event] = []
    end = time.monotonic() + timeout
    while not condition(events):
        left = end - time.monotonic()
        assert left > 0, f"not in time; so far: {events[-10:]}"
        events.append(group.receive(timeout=left))
    return events


def receive(group: Group, count: int) -> list[Event]:
    return receive_until(group, lambda events: len(events) == count)


def payloads(events: Iterable[Event]) -> list[bytes]:
    return [event.payload for event in events if isinstance(event, Message)]


def receive_payloads(group: Group, count: int) -> list[bytes]:
    return payloads(receive_until(group, lambda events: len(payloads(events)) == count))


def changes(events: Iterable[Event]) -> list[ConfigChange]:
    return [event for event in events if isinstance(event, ConfigChange)]
