"""The keeper's process: lock, signals, socket, and the keeper itself.  Started by the sam process; see the package.

SIGTERM and SIGINT end all applications in order, and then the keeper.  Nothing else that happens to anybody does.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...ipc.errors import TotemdError
from ...ipc.lock import LockFile
from ...ipc.paths import KEEPER_LOCK, KEPT_SOCKET
from ..children import Children
from ..linux import SignalReader, become_subreaper
from ..probe import PsutilProbe
from ..quorum import QuorumWatch
from ..reception import Reception
from ..supervision import Shared
from .keeper import Keeper
from .logs import ROTATE_SECONDS, Logs
from .making import Maker, environment_for_apps
from .record import Record
from .service import Service

LOCK_SECONDS = 5.0
"""How long an earlier keeper that was just killed, or a process that it was just starting, may still hold the lock."""

LOCK_POLL_SECONDS = 0.01

EXIT_DONE = 0
EXIT_FAILED = 1

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
DEAF_TO = (signal.SIGHUP, signal.SIGPIPE)


class Process:
    """The owner of all: what is only once in a process."""

    def __init__(self, run_dir: Path, record: Record, reader: SignalReader) -> None:
        """
        Raises:
            OperationFailed: socket or logs have no place.
        """
        self._loop = asyncio.get_running_loop()
        self._reader = reader
        self._logs = Logs(run_dir)
        probe = PsutilProbe()
        self._children = Children(probe)
        # Under a fixed name, so that applications find the next keeper there.
        self._reception = Reception(run_dir / KEPT_SOCKET, probe)
        self._quorum = QuorumWatch(run_dir)
        self._service = Service(run_dir, lambda uid: uid in (0, os.geteuid()), self.leave)
        maker = Maker(
            shared=Shared(run_dir, self._children, probe, self._reception, self._quorum, random.random),
            record=record,
            logs=self._logs,
            variables=environment_for_apps(os.environ),
            signal_mask=reader.mask_before,
        )
        self._keeper = Keeper(maker, record, turned=self._service.turned, listed=self._service.listed)
        self._service.keeper = self._keeper
        self._finished: asyncio.Future[int] = self._loop.create_future()
        self._loop.set_exception_handler(self._mishap)
        self._loop.add_reader(reader.fileno(), self._take_signals)
        self._keeper.inherit(record.load())
        self._rotate()

    async def live(self) -> int:
        """Keep, until told to leave; the exit code."""
        try:
            return await self._finished
        finally:
            self._quorum.close()
            self._reception.close()
            self._service.close()

    def _take_signals(self) -> None:
        for info in self._reader.read():
            if info.number == signal.SIGCHLD:
                self._children.reap()
            elif info.number in STOP_SIGNALS:
                self._keeper.leave(self.leave)

    def leave(self) -> None:
        """Nothing is left to be kept."""
        if not self._finished.done():
            self._finished.set_result(EXIT_DONE)

    def _rotate(self) -> None:
        self._logs.rotate()
        self._loop.call_later(ROTATE_SECONDS, self._rotate)

    def _mishap(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A bug, or an error of the system.  The applications are the last to pay for it: say it, and end.

        They run on, and the next keeper takes them over.
        """
        error = context.get("exception")
        say(f"cannot go on: {context.get('message', '')}")
        if error is not None:
            say("".join(traceback.format_exception(error)))
        if not self._finished.done():
            self._finished.set_result(EXIT_FAILED)


def say(text: str) -> None:
    """A line in the keeper's own log, which is its standard error."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} keeper {os.getpid()}: {text}", file=sys.stderr, flush=True)


async def _live(run_dir: Path, record: Record, reader: SignalReader) -> int:
    return await Process(run_dir, record, reader).live()


def take_lock(run_dir: Path) -> bool:
    """Whether this process is the one keeper of the run directory."""
    lock, deadline = LockFile(run_dir / KEEPER_LOCK), time.monotonic() + LOCK_SECONDS
    while not lock.take():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOCK_POLL_SECONDS)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m totemd.sam.keeper --run-dir DIR`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="totemd keeper", description="A process of totemd; started by the sam process."
    )
    parser.add_argument("--run-dir", type=Path, required=True, metavar="DIR")
    run_dir = parser.parse_args(arguments).run_dir.absolute()
    faulthandler.enable()
    os.chdir("/")
    for number in DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    reader = SignalReader({*STOP_SIGNALS, signal.SIGCHLD})
    try:
        if not take_lock(run_dir):
            say(f"another keeper serves {run_dir}")
            return EXIT_FAILED
        if not become_subreaper():
            say("this kernel has no subreapers: processes that leave an application's tree cannot be ended")
        return asyncio.run(_live(run_dir, Record(run_dir), reader))
    except (TotemdError, OSError) as error:
        say(str(error))
        return EXIT_FAILED
