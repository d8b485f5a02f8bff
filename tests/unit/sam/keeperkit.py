"""A keeper without a node, as its tests start, kill and ask it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import psutil
from totemd.executive.config.model import AppEntry
from totemd.ipc.blocking import BlockingConnection
from totemd.ipc.messages.keeper import (
    FROM_KEEPER,
    Declare,
    Declared,
    Describe,
    KeptApp,
    Leave,
    Order,
    Outcome,
    Verb,
)
from totemd.ipc.paths import KEEPER_SOCKET
from totemd.testing import wait_until

SECONDS = 20.0
"""How long anything here may take on a busy machine."""


class Bench:
    """One run directory, and the keeper that serves it."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: BlockingConnection[Any] | None = None

    def start(self) -> None:
        """Start a keeper, and connect."""
        command = [sys.executable, "-m", "totemd.sam.keeper", "--run-dir", str(self.run_dir)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        connection: BlockingConnection[Any] = BlockingConnection(
            self.run_dir / KEEPER_SOCKET, "sam", FROM_KEEPER, service="the keeper"
        )
        wait_until((self.run_dir / KEEPER_SOCKET).exists, SECONDS, "the keeper's socket")
        connection.open(SECONDS)
        self._connection = connection

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None and self._connection is not None
        self._connection.close()
        self._process.send_signal(number)
        return self._process.wait(SECONDS)

    def ask(self, request: msgspec.Struct) -> Any:
        """The reply."""
        assert self._connection is not None
        return self._connection.request(request, timeout=SECONDS)

    def declare(self, *apps: AppEntry) -> Declared:
        """These are the applications."""
        declared: Declared = self.ask(Declare(msgspec.Raw(msgspec.msgpack.encode(apps))))
        return declared

    def order(self, verb: Verb, *names: str) -> tuple[Outcome, ...]:
        """What has become of an order."""
        outcomes: tuple[Outcome, ...] = self.ask(Order(verb, names)).outcomes
        return outcomes

    def apps(self) -> dict[str, KeptApp]:
        """All, by name."""
        return {app.name: app for app in self.ask(Describe()).apps}

    def until(self, name: str, state: str, instance: int = 1) -> KeptApp:
        """Wait until an application is in a state, with this instance or a later one."""

        def there() -> KeptApp | None:
            app = self.apps()[name]
            return app if app.progress.state == state and app.progress.instance >= instance else None

        return wait_until(there, SECONDS, f"{name} is {state}")

    def leave(self) -> None:
        """End all, as the sam process has it when the node stops."""
        self.ask(Leave())

    def clean(self) -> None:
        """Nothing is left."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("TOTEMD_SAM_RUN_DIR") == str(self.run_dir):
                    process.kill()
