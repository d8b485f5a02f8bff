"""A node with declared applications, each of which writes down its instances."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from totemd.ipc.lock import holder
from totemd.ipc.paths import KEEPER_LOCK
from totemd.testing import Node, wait_until

from .command import alive

SECONDS = 20.0
"""How long anything here may take on a busy machine."""


class Stamp(NamedTuple):
    """An instance's first words."""

    instance: int
    pid: int


class Declared:
    """What a test does with the applications of one node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._text = node.configuration_path.read_text()
        self._stamps = node.run_dir.parent / f"stamps-{node.node_id}"
        self._stamps.mkdir()

    def app(self, name: str, *lines: str, then: str = "exec sleep 1000") -> str:
        """A section; *then* is what the application does after it has left its stamp."""
        script = f'echo "$TOTEMD_SAM_INSTANCE $$" >> {self._stamps / name}; {then}'
        return "\n".join(["app {", f"name: {name}", f"command: sh -c '{script}'", *lines, "}\n"])

    def declare(self, *apps: str, reload: bool = True) -> None:
        """Write the file; *reload* has the node read it."""
        self.node.write_configuration(self._text + "sam {\n" + "".join(apps) + "}\n")
        if reload:
            done = self.node.control("reload")
            assert done.returncode == 0, done.stderr

    def stamps(self, name: str) -> list[Stamp]:
        """All instances so far."""
        path = self._stamps / name
        lines = path.read_text().splitlines() if path.exists() else []
        return [Stamp(*map(int, line.split())) for line in lines]

    def started(self, name: str, count: int = 1) -> Stamp:
        """Wait until an application was started so often; the last of them."""
        wait_until(lambda: len(self.stamps(name)) >= count, SECONDS, f"{name} was started {count} times")
        return self.stamps(name)[count - 1]

    def listed(self) -> dict[str, dict[str, Any]]:
        """`totemctl --json apps`, by name; nothing while the sam process is away."""
        done = self.node.control("--json", "apps")
        return {app["name"]: app for app in json.loads(done.stdout)} if done.returncode == 0 else {}

    def until_state(self, name: str, state: str) -> None:
        """Wait until an application is listed so."""
        wait_until(lambda: self.listed().get(name, {}).get("state") == state, SECONDS, f"{name} is {state}")

    def apps(self, *words: str) -> Any:
        """`totemctl --json apps WORDS…`, which has to succeed."""
        done = self.node.control("--json", "apps", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else None

    @property
    def keeper(self) -> int:
        """The keeper's pid; 0 while there is none."""
        return holder(Path(self.node.run_dir) / KEEPER_LOCK)

    def until_keeper(self, unlike: int = 0) -> int:
        """Wait for a keeper that is not *unlike*."""
        wait_until(lambda: self.keeper not in (0, unlike), SECONDS, "a keeper")
        return self.keeper


def until_gone(*pids: int) -> None:
    """Wait until these processes have ended."""
    wait_until(lambda: not any(map(alive, pids)), SECONDS, f"{pids} have ended")
