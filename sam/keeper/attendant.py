"""The sam process's end: sees to it that a keeper runs while there is something to keep, and tells it what that is.

The keeper is started without a lifeline and in a session of its own.  One that is there already, because an earlier sam
process had started it, is connected to; one that dies is followed by another, which takes its applications over.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ...executive.config.model import AppEntry
from ...executive.runtime.logging import Logger
from ...ipc.connection import Connection
from ...ipc.endpoints import open_pidfd
from ...ipc.errors import ConnectionLost, TotemdError
from ...ipc.lock import holder
from ...ipc.messages.common import Welcome
from ...ipc.messages.keeper import FROM_KEEPER, Declare, Fail, Follow, Kept, KeptApp, Leave, Listed, Turn, Turns
from ...ipc.paths import KEEPER_LOCK, KEEPER_SOCKET

ROLE = "sam"
KEEPER_MODULE = __package__

KEEPER_LOG = "keeper.log"
"""Of the run directory: what the keeper has to say about itself."""

KEEPER_LOG_BYTES_MAX = 1024 * 1024
"""A longer one is begun anew when a keeper is started."""

RESTART_SECONDS = 0.2
RESTART_SECONDS_MAX = 10.0
"""Pause before a keeper that has died soon after its start is started again; twice as long each time, at most this."""

STABLE_SECONDS = 10.0
"""One that has lived for longer is followed at once."""

LEAVE_TICK_SECONDS = 1.0
"""How often it is told that the applications are still being ended."""

LEAVE_SECONDS_MAX = 3600.0
"""A keeper that has not ended all applications by then is not waited for any more; it goes on."""

Tell = Callable[[], None]


class Attendant:
    """Starts the keeper, declares to it, hears from it."""

    def __init__(
        self,
        run_dir: Path,
        log: Logger,
        *,
        listed: Callable[[tuple[KeptApp, ...], int], None],
        turned: Callable[[Turn], None],
    ) -> None:
        """*listed* is given all applications and the keeper's pid, *turned* each turn of a life."""
        self._run_dir = run_dir
        self._log = log
        self._listed = listed
        self._turned = turned
        self._loop = asyncio.get_running_loop()
        self._apps: tuple[AppEntry, ...] = ()
        self._connection: Connection[Any] | None = None
        self._declaring: asyncio.Task[None] | None = None
        self._pid = 0
        self._pidfd: int | None = None
        self._is_child = False
        self._started_at = 0.0
        self._failures = 0
        self._again: asyncio.TimerHandle | None = None
        self._is_over = False

    # -- what the sam process wants

    def declare(self, apps: tuple[AppEntry, ...]) -> None:
        """These are the applications of the node from now on."""
        self._apps = apps
        if self._pid:
            self._tell_soon()
        elif self._again is None and (apps or holder(self._run_dir / KEEPER_LOCK)):
            self._begin()

    def fail(self, name: str, instance: int, why: str) -> None:
        """An instance has failed, as is seen from outside."""
        with contextlib.suppress(ConnectionLost):
            if self._connection is not None:
                self._connection.send(Fail(name, instance, why))

    async def leave(self, still: Tell) -> None:
        """Have all applications ended, in order; *still* is called every second until they have."""
        connection = self._connection
        self._is_over = True
        if connection is None:
            return
        leaving = self._loop.create_task(connection.request(Leave()))
        deadline = self._loop.time() + LEAVE_SECONDS_MAX
        while not leaving.done() and self._loop.time() < deadline:
            await asyncio.wait([leaving], timeout=LEAVE_TICK_SECONDS)
            still()
        leaving.cancel()
        with contextlib.suppress(TotemdError, asyncio.CancelledError):
            await leaving

    def close(self) -> None:
        """Hang up.  The keeper and its applications go on."""
        self._is_over = True
        if self._again is not None:
            self._again.cancel()
        if self._declaring is not None:
            self._declaring.cancel()
        self._hang_up()
        self._forget()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- the keeper's process

    def _begin(self) -> None:
        """Find the keeper, or start one."""
        self._again = None
        pid = holder(self._run_dir / KEEPER_LOCK)
        self._is_child = not pid
        try:
            self._pid = pid or self._spawn()
        except OSError as error:
            self._log.crit("the keeper cannot be started", reason=str(error))
            self._again = self._loop.call_later(RESTART_SECONDS_MAX, self._begin)
            return
        self._started_at = self._loop.time()
        if self._connection is None:
            self._connection = Connection(self._run_dir / KEEPER_SOCKET, ROLE, FROM_KEEPER, self)
        self._pidfd = open_pidfd(self._pid)
        if self._pidfd is None:
            self._loop.call_soon(self._died)
        else:
            self._loop.add_reader(self._pidfd, self._died)
        self._log.info("found the keeper" if pid else "the keeper has been started", pid=self._pid)

    def _spawn(self) -> int:
        path = self._run_dir / KEEPER_LOG
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        log = os.open(path, flags, 0o600)
        try:
            if os.fstat(log).st_size > KEEPER_LOG_BYTES_MAX:
                os.ftruncate(log, 0)
            return os.posix_spawn(
                sys.executable,
                [sys.executable, "-P", "-m", KEEPER_MODULE, "--run-dir", str(self._run_dir)],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            )
        finally:
            os.close(log)

    def _died(self) -> None:
        if self._is_child and self._pid:
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG)
        pid, lived = self._pid, self._loop.time() - self._started_at
        self._forget()
        if self._is_over:
            return
        if not self._apps and not holder(self._run_dir / KEEPER_LOCK):
            self._hang_up()  # it has ended because nothing is to be kept
            return
        self._failures = 0 if lived >= STABLE_SECONDS else self._failures + 1
        pause = 0.0 if self._failures <= 1 else min(RESTART_SECONDS * 2 ** min(self._failures, 16), RESTART_SECONDS_MAX)
        self._log.err(
            f"the keeper died; its applications run on, and the next one takes them over in {pause:g} s", pid=pid
        )
        self._again = self._loop.call_later(pause, self._begin)

    def _forget(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._pid, self._pidfd = 0, None

    # -- ipc.connection.Listener

    def connected(self, welcome: Welcome) -> None:
        """A keeper serves."""
        self._tell_soon()

    def arrived(self, message: Any, payload: Sequence[bytes | memoryview]) -> None:
        """What becomes of the applications."""
        match message:
            case Turns(turns):
                for turn in turns:
                    self._turned(turn)
            case Listed(apps):
                self._listed(apps, self._pid)

    def lost(self, error: TotemdError) -> None:
        """It died, or refuses us: the former is seen by its pidfd as well."""
        if not isinstance(error, ConnectionLost):
            self._log.err("the keeper refuses the sam process", reason=str(error))

    def _tell_soon(self) -> None:
        if self._declaring is not None:
            self._declaring.cancel()
        self._declaring = self._loop.create_task(self._tell())

    async def _tell(self) -> None:
        connection = self._connection
        if connection is None or not connection.is_open or self._is_over:
            return
        try:
            kept: Kept = await connection.request(Follow())
            self._listed(kept.apps, self._pid)
            done = await connection.request(Declare(msgspec.Raw(msgspec.msgpack.encode(self._apps))))
        except TotemdError as error:
            self._log.err("the applications could not be declared to the keeper", reason=str(error))
            return
        changed = {"started": done.started, "restarted": done.restarted, "stopped": done.stopped}
        if any(changed.values()):
            self._log.notice(
                "applications declared", **{how: " ".join(names) for how, names in changed.items() if names}
            )
        if not self._apps:
            with contextlib.suppress(TotemdError):
                await connection.request(Leave())
