"""`FakeNode`: a real executive with fake children, as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from totemd.ipc.blocking import BlockingConnection
from totemd.ipc.errors import TotemdError
from totemd.ipc.messages.control import TO_TOTEMCTL, StatusReply, StatusRequest
from totemd.ipc.paths import EXECUTIVE_SOCKET

WAIT_SECONDS = 30.0
"""Bound of every wait; a machine that tests on two cores may be busy."""

CONFIGURATION = """\
totem {{
    version: 2
    nodeid: 1
    cluster_name: fake
    transport: udpu
    token: {token}
    crypto_cipher: aes256
    crypto_hash: sha256
    keyfile: {key}
}}
nodelist {{
    node {{
        ring0_addr: 127.0.0.1
        nodeid: 1
        name: alpha
    }}
    node {{
        ring0_addr: 127.0.0.2
        nodeid: 2
        name: beta
    }}
    node {{
        ring0_addr: 127.0.0.3
        nodeid: 3
    }}
}}
logging {{
    to_syslog: no
    debug: on
}}
"""


class FakeNode:
    """The executive of node 1 of three, and what a test does to it."""

    def __init__(self, directory: Path) -> None:
        self.run_dir = directory / "run"
        self.run_dir.mkdir(mode=0o700)
        self.configuration = directory / "corosync.conf"
        self.key = directory / "authkey"
        self.key.write_bytes(b"k" * 128)
        self.key.chmod(0o400)
        self.log_path = directory / "log"
        self.log_path.touch()
        self.configure()
        self.process: subprocess.Popen[bytes] | None = None
        self.tree: dict[str, Any] = {}
        self.environment: dict[str, str] = {}

    def configure(self, token: int = 1000, extra: str = "") -> None:
        """Write the configuration file; by the nodelist, the effective token is 650 ms longer."""
        self.configuration.write_text(CONFIGURATION.format(token=token, key=self.key) + extra)

    def mode(self, child: str, mode: str) -> None:
        """How a child behaves when it starts next."""
        (self.run_dir / f"{child}.mode").write_text(mode)

    def command(self, *options: str) -> list[str]:
        """What would be typed."""
        script = Path(__file__).with_name("fake_node.py")
        where = ["-c", str(self.configuration), "--run-dir", str(self.run_dir)]
        return [sys.executable, str(script), *where, *options]

    def variables(self) -> dict[str, str]:
        """The environment it runs in."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("COROSYNC_", "NOTIFY_"))}
        return {**inherited, "FAKE_TREE": json.dumps(self.tree), **self.environment}

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """A command that is expected to end."""
        return subprocess.run(
            self.command(*options),
            env=self.variables(),
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )

    def totemctl_as(self, uid: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What another user of this machine gets.  (The interpreter may lie where that user could not start it.)"""
        program = (
            "import os, sys; from totemd.executive.control.main import main; uid = int(sys.argv[1]); "
            "os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid); sys.exit(main(sys.argv[2:]))"
        )
        options = ["--json", "--run-dir", str(self.run_dir)]
        return subprocess.run(
            [sys.executable, "-c", program, str(uid), *options, *arguments],
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )

    def launch(self) -> None:
        """Start it."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), env=self.variables(), stdout=log, stderr=log, start_new_session=True
            )

    def start(self) -> None:
        """Start it; return when all children serve."""
        self.launch()
        self.wait(lambda: set(self.states().values()) == {"running"}, "all children run")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def exit_code(self) -> int:
        """Wait for its end."""
        assert self.process is not None
        try:
            return self.process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end:\n{self.log}") from None

    def ask(self, request: Any) -> Any:
        """What totemctl would ask."""
        connection: BlockingConnection[Any] = BlockingConnection(
            self.run_dir / EXECUTIVE_SOCKET, "totemctl", TO_TOTEMCTL, service="totemd"
        )
        with contextlib.closing(connection):
            connection.open(WAIT_SECONDS)
            return connection.request(request, timeout=WAIT_SECONDS)

    def status(self) -> StatusReply:
        """How it is."""
        reply = self.ask(StatusRequest())
        assert isinstance(reply, StatusReply)
        return reply

    def states(self) -> dict[str, str]:
        """Child -> state; empty while nobody answers."""
        try:
            return {name: each.state for name, each in self.status().processes.items()}
        except TotemdError:
            return {}

    def pids(self) -> dict[str, int]:
        """Child -> pid."""
        return {name: each.pid for name, each in self.status().processes.items()}

    @property
    def log(self) -> str:
        """What it and its children wrote to stderr."""
        return self.log_path.read_text()

    @property
    def events(self) -> list[str]:
        """What the children did."""
        file = self.run_dir / "events"
        return file.read_text().splitlines() if file.exists() else []

    def wait(self, condition: Callable[[], object], what: str, seconds: float = WAIT_SECONDS) -> None:
        """Look again until it is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process is None or self.process.poll() is None, f"it has ended:\n{self.log}"
            assert time.monotonic() < deadline, f"not in time: {what}; the log:\n{self.log}"
            time.sleep(0.02)

    def close(self) -> None:
        """End whatever is left."""
        children: list[psutil.Process] = []
        if self.process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                children = psutil.Process(self.process.pid).children()
            self.process.kill()
            self.process.wait()
        psutil.wait_procs(children, timeout=WAIT_SECONDS)
