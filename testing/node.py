"""One node of a cluster for tests: its files, its processes, and what can be done to them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from .. import Client
from ..ipc.blocking import BlockingConnection
from ..ipc.errors import ConnectionLost, OperationFailed, TotemdError
from ..ipc.messages.control import (
    TO_TOTEMCTL,
    AppInfo,
    AppsReply,
    AppsRequest,
    MetricsReply,
    MetricsRequest,
    StatusReply,
    StatusRequest,
)
from ..ipc.paths import EXECUTIVE_SOCKET
from . import family
from .guard import Guard
from .waiting import NotInTime, wait_until

START_SECONDS = 60.0
"""How long a node may take until its group service lets clients in, on a busy machine."""

STOP_SECONDS = 15.0
"""How long a clean end may take."""

ANSWER_SECONDS = 10.0
"""How long the executive may take to answer a question before it counts as not answering; busy machines stall."""

FILE_MODE = 0o600
"""Of a configuration file; a key file must not be readable by others."""


class Standing(NamedTuple):
    """A node's view of the ring at one moment."""

    state: str
    ring: str
    members: tuple[int, ...]


class Node:
    """A node: `node.start()`, `node.kill()`, `node.client()` … ; made by `Cluster`."""

    def __init__(
        self,
        node_id: int,
        address: str,
        directory: Path,
        environment: Mapping[str, str],
        guard: Guard,
        *,
        launcher: Sequence[str] = (),
    ) -> None:
        self.node_id = node_id
        self.address = address
        self.run_dir = directory / "run"
        self.configuration_path = directory / "corosync.conf"
        self.key_path = directory / "authkey"
        self.log_path = directory / "log"
        self.state_dir = self.run_dir / "state"
        """Where the node keeps its ring sequence."""
        self._environment = dict(environment)
        self._guard = guard
        self._launcher = list(launcher)
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[Client] = []
        self.is_paused = False
        """Whether `pause` was called last, and not `resume`."""
        self.run_dir.mkdir(parents=True, mode=0o700)

    def __repr__(self) -> str:
        return f"<node {self.node_id} at {self.address}, {'running' if self.is_running else 'not running'}>"

    @property
    def is_running(self) -> bool:
        """Whether the executive runs (or is paused)."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How the executive ended last (negative: by that signal); None while it runs, or if it never did."""
        return None if self._process is None else self._process.poll()

    @property
    def command(self) -> list[str]:
        """What a user would type to start this node."""
        options = ["-c", str(self.configuration_path), "--run-dir", str(self.run_dir)]
        return [*self._launcher, sys.executable, "-m", "totemd.executive", *options]

    def stands(self) -> Standing | None:
        """Where the node's ring stands; None while nobody answers."""
        try:
            status = self.status()
        except TotemdError:
            return None
        return Standing(status.state, str(status.ring), tuple(status.members))

    def launch(self) -> None:
        """Start the executive and return at once."""
        if self.is_running:
            raise OperationFailed(f"node {self.node_id} runs already")
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.run_dir,
                env=self._environment,
                start_new_session=True,
            )
        self._guard.watch(self._process.pid)

    def start(self, timeout: float = START_SECONDS) -> None:
        """Start the node; return when all its processes serve.  Whether a ring has formed is another question."""
        self.launch()
        self.wait_for_processes(timeout)

    def wait_for_processes(self, timeout: float = START_SECONDS) -> None:
        """Return when all processes of the node are up.

        Raises:
            OperationFailed: the executive has ended instead; the text holds its last words.
            NotInTime: they are not up after *timeout* seconds.
        """
        wait_until(self._is_up, timeout, lambda: f"{self!r} is up; its log ends with\n{self.last_words()}")

    def stop(self, timeout: float = STOP_SECONDS) -> int:
        """End the node cleanly, as an init system does (SIGTERM); return the exit code."""
        self._running().terminate()
        return self.wait(timeout)

    def wait(self, timeout: float = STOP_SECONDS) -> int:
        """Wait until the node has ended, for whatever reason; return the exit code.

        Raises:
            NotInTime: it still runs after *timeout* seconds.
        """
        if self._process is None:
            raise OperationFailed(f"node {self.node_id} was never started")
        return self._wait(self._process, timeout)

    def kill(self) -> None:
        """SIGKILL every process of the node at once, as when its power fails."""
        process = self._running()
        family.kill(process.pid)
        self._wait(process, family.DEATH_SECONDS)

    def kill_process(self, name: str) -> int:
        """SIGKILL one process: `totem`, `cpg`, `sam`, or `executive` for the executive alone.  Returns its pid."""
        victim = family.child(self._running().pid, name)
        victim.kill()
        return victim.pid

    def pause(self) -> None:
        """SIGSTOP every process of the node, the executive first."""
        family.send(family.family(self._running().pid), signal.SIGSTOP)
        self.is_paused = True

    def resume(self) -> None:
        """SIGCONT every process of the node, the executive last."""
        family.send(reversed(family.family(self._running().pid)), signal.SIGCONT)
        self.is_paused = False

    def reload(self) -> None:
        """Have the configuration file read again (SIGHUP)."""
        self._running().send_signal(signal.SIGHUP)

    def pid(self, name: str = family.EXECUTIVE) -> int:
        """The pid of one of the node's processes: `executive`, `totem`, `cpg` or `sam`.

        Raises:
            NotFound: it does not run at this moment.
        """
        return family.child(self._running().pid, name).pid

    def status(self) -> StatusReply:
        """What `totemctl status` shows.

        Raises:
            ConnectionLost: the executive does not run, or does not answer in time.
        """
        reply = self._ask(StatusRequest())
        assert isinstance(reply, StatusReply)
        return reply

    def apps(self) -> tuple[AppInfo, ...]:
        """What `totemctl apps` shows: the applications of all nodes, as this one knows them.

        Raises:
            ConnectionLost: the executive does not run, or does not answer in time.
            TotemdError: its sam process is being restarted.
        """
        reply = self._ask(AppsRequest())
        assert isinstance(reply, AppsReply)
        return reply.apps

    def metric(self, name: str, **labels: str) -> float:
        """One number of `totemctl metrics`, summed over the labels that are not named; 0 if there is none."""
        reply = self._ask(MetricsRequest())
        assert isinstance(reply, MetricsReply)
        wanted = set(labels.items())
        return sum(each.value for each in reply.metrics if each.name == name and wanted <= set(each.labels))

    def processes(self) -> list[psutil.Process]:
        """All processes of the node, the executive first; empty when it does not run."""
        return family.family(self._process.pid) if self._process is not None and self.is_running else []

    def client(self, timeout: float = START_SECONDS) -> Client:
        """A blocking client of this node (`totemd.Client`); closed with the cluster if not before."""

        def connected() -> Client | None:
            with contextlib.suppress(ConnectionLost):
                return Client(run_dir=self.run_dir)
            return None

        client = wait_until(connected, timeout, lambda: f"{self!r} lets a client in")
        self._clients.append(client)
        return client

    def control(self, *arguments: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run `totemctl` against this node."""
        command = [sys.executable, "-m", "totemd.executive.control", "--run-dir", str(self.run_dir), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=self._environment, check=False
        )

    def write_key(self, key: bytes) -> None:
        """Give the node this cluster key; it is read when the node starts."""
        _write(self.key_path, key)

    def write_configuration(self, text: str) -> None:
        """Give the node this configuration file; it is read when the node starts, and by `reload`."""
        _write(self.configuration_path, text.encode())

    @property
    def log(self) -> str:
        """Everything that the node's processes have written so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def last_words(self, lines: int = 15) -> str:
        """The end of the log."""
        return "\n".join(self.log.splitlines()[-lines:])

    def close(self, cleanly: bool) -> None:
        """End whatever still runs: with SIGTERM first if *cleanly*, else with SIGKILL."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        if self._process is None:
            return
        if self.is_running:
            self.resume()
            self.request_stop() if cleanly else self.kill()
        try:
            self.wait()
        except NotInTime:
            self.kill()
        family.kill_orphans(str(self.run_dir))

    def request_stop(self) -> None:
        """Send SIGTERM and return at once; `stop` waits."""
        if self._process is not None and self.is_running:
            self._process.terminate()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise OperationFailed(f"node {self.node_id} does not run")
        return self._process

    def _wait(self, process: subprocess.Popen[bytes], timeout: float) -> int:
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise NotInTime(f"{self!r} did not end within {timeout:g} s; last words:\n{self.last_words()}") from None
        self._guard.forget(process.pid)
        self.is_paused = False
        return code

    def _ask(self, question: msgspec.Struct) -> msgspec.Struct:
        """One question to the executive, as totemctl asks it."""
        if self.is_paused:
            raise ConnectionLost(f"node {self.node_id} is paused")
        connection: BlockingConnection[msgspec.Struct] = BlockingConnection(
            self.run_dir / EXECUTIVE_SOCKET, "totemctl", TO_TOTEMCTL, service="totemd"
        )
        try:
            connection.open(ANSWER_SECONDS)
            reply = connection.request(question, timeout=ANSWER_SECONDS)
        except TimeoutError as error:
            raise ConnectionLost(str(error)) from None
        finally:
            connection.close()
        assert isinstance(reply, msgspec.Struct)
        return reply

    def _is_up(self) -> bool:
        if not self.is_running:
            raise OperationFailed(f"node {self.node_id} has ended with code {self.exit_code}:\n{self.last_words()}")
        try:
            processes = self.status().processes
        except TotemdError:
            return False
        return bool(processes) and all(each.state == "running" for each in processes.values())


def _write(path: Path, content: bytes) -> None:
    """Replace a file; the key file may be read-only, so it is removed first."""
    path.unlink(missing_ok=True)
    path.touch(mode=FILE_MODE)
    path.write_bytes(content)
