"""The executive's loop: the control socket, signals, reloads.  Its children are in `family`, its answers in `desk`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ...ipc.channel import Session
from ...ipc.endpoints import PRIVATE_SOCKET_MODE, Credentials
from ...ipc.errors import AccessDenied, OperationFailed, TotemdError, TryAgain
from ...ipc.lock import holder
from ...ipc.messages.common import Done, Hello, refusal
from ...ipc.messages.control import (
    FROM_CHILD,
    FROM_TOTEMCTL,
    AppsRequest,
    BlackboxRequest,
    CmapDeleteRequest,
    CmapRequest,
    CmapSetRequest,
    Configure,
    GroupsRequest,
    MembersRequest,
    Metric,
    MetricsRequest,
    ProcessInfo,
    Reconfigure,
    ReloadReply,
    ReloadRequest,
    ShutdownRequest,
    StatusRequest,
    StillStopping,
)
from ...ipc.paths import CPG_SOCKET, EXECUTIVE_SOCKET, KEEPER_LOCK, QUORUM_SOCKET, SAM_SOCKET, TOTEM_SOCKET
from ...ipc.server import Closed, Server
from ..config.diff import Reload
from ..config.model import Configuration
from ..runtime import logging
from ..runtime.access import Gate, is_owner, socket_mode
from ..runtime.sdnotify import ServiceManager
from ..runtime.version import VERSION
from .cmap import CANCEL_WAIT_FOR_ALL
from .desk import Desk
from .detach import Announcement
from .exits import ExitCode
from .facts import effective_values, own_metrics
from .family import Family
from .pidfile import prepare_run_dir
from .questions import Questions
from .reload import Reloader
from .specs import Tree

REQUESTS_AT_ONCE_MAX = 64
"""Requests of totemctl that may be in work at the same time."""

CHILD_SOCKETS = (TOTEM_SOCKET, CPG_SOCKET, QUORUM_SOCKET, SAM_SOCKET)
"""Sockets that the children serve."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""They all mean: leave the ring and end."""


@dataclass(frozen=True)
class Startup:
    """What the command line and the configuration say, checked."""

    tree: Tree
    run_dir: Path
    configuration: Configuration
    key: bytes
    """The cluster key; empty when packets are not sealed."""
    reloader: Reloader
    announcement: Announcement


class Executive:
    """The node's first process, while its loop runs."""

    def __init__(self, startup: Startup) -> None:
        """
        Raises:
            OperationFailed: the control socket cannot be served.
        """
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._startup = startup
        self.configuration = startup.configuration
        self.run_dir = str(startup.run_dir)
        self.pid = os.getpid()
        self._log = logging.get_logger(logging.MAIN)
        self._cfg = logging.get_logger("CFG")
        self._service_manager = ServiceManager()
        self._serving = False
        """Whether all children have been ready; the service manager must not hear it earlier."""
        self._watchdog: asyncio.TimerHandle | None = None
        self._gate = Gate(self.configuration.access, self._log)
        self._requests: set[asyncio.Task[None]] = set()
        self._desk = Desk(self)
        self.finished: asyncio.Future[tuple[ExitCode, str]] = self._loop.create_future()
        self._server: Server[Any] = Server(
            startup.run_dir / EXECUTIVE_SOCKET,
            FROM_CHILD | FROM_TOTEMCTL,
            self,
            node_id=self.configuration.local_node_id,
            mode=socket_mode(self.configuration.access),
        )
        self._family = Family(
            startup.tree,
            startup.run_dir,
            self._server.send,
            self._log,
            initialised=self._initialised,
            quit=self._quit,
        )
        self._metrics = own_metrics(self._family, self._server, lambda: self.uptime_seconds)

    def begin(self) -> None:
        """Start the children; `finished` holds the outcome once the last one is gone."""
        self._loop.set_exception_handler(self._mishap)
        for number in STOP_SIGNALS:
            self._loop.add_signal_handler(number, self._stop_by_signal, number)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload_by_signal)
        self._loop.add_signal_handler(signal.SIGUSR2, self._dump)
        if self._service_manager.watchdog_seconds is not None:
            self._feed_watchdog(self._service_manager.watchdog_seconds)
        self._log.notice(f"totemd Cluster Engine {VERSION} starting up", **effective_values(self.configuration))
        self._say_notices(self.configuration)
        self._family.begin()

    def close(self) -> None:
        """Give sockets back."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        for task in self._requests:
            task.cancel()
        self._server.close()
        for name in CHILD_SOCKETS:
            # A child that was killed last could not take its socket away.
            (self._startup.run_dir / name).unlink(missing_ok=True)
        self._service_manager.close()

    # -- what the desk asks

    @property
    def uptime_seconds(self) -> float:
        """Since the executive began."""
        return self._loop.time() - self._started

    @property
    def questions(self) -> Questions:
        """To the children."""
        return self._family.questions

    @property
    def connected(self) -> tuple[str, ...]:
        """The children that can be asked."""
        return self._family.connected

    def processes(self) -> dict[str, ProcessInfo]:
        """The children."""
        return self._family.snapshot()

    def own_metrics(self) -> tuple[Metric, ...]:
        """The executive's own numbers."""
        return self._metrics.snapshot()

    # -- connections

    def admit(self, hello: Hello, credentials: Credentials) -> int:
        """A child is the process that was started for its role; anybody else is let in by the `uidgid` rules."""
        if self._family.spec(hello.role) is None:
            self._gate.require(credentials, self._loop.time())
        elif self._family.pid(hello.role) != credentials.pid:
            raise AccessDenied(f"{hello.role} is a process of the executive's own; pid {credentials.pid} is not it")
        return 0

    def opened(self, session: Session) -> None:
        """A child is given what it needs to start."""
        spec = self._family.spec(session.role)
        if spec is not None:
            self._family.opened(session)
            key = (self._startup.key,) if spec.gets_key else (b"",)
            self._server.send(session, Configure(self._packed(), self.run_dir), *key)

    def received(self, session: Session, message: Any, payload: Sequence[bytes | memoryview]) -> None:
        """A child's message, or a request."""
        if isinstance(message, FROM_CHILD):
            if self._family.spec(session.role) is None:
                raise AccessDenied("this message is for processes of the executive's own")
            if isinstance(message, StillStopping) and self._family.is_stopping:
                self._service_manager.still_stopping()
            self._family.received(session.role, message)
            return
        if len(self._requests) >= REQUESTS_AT_ONCE_MAX:
            raise TryAgain(f"{REQUESTS_AT_ONCE_MAX} requests are in work already")
        task = self._loop.create_task(self._reply(session, message))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    def closed(self, session: Session, why: Closed) -> None:
        """A child's or a client's connection ended."""
        self._family.closed(session)

    async def _reply(self, session: Session, message: Any) -> None:
        try:
            reply = await self._carry_out(session, message)
        except TotemdError as error:
            reply = refusal(error, message.request)
        self._server.send(session, reply)

    async def _carry_out(self, session: Session, message: Any) -> msgspec.Struct:
        match message:
            case StatusRequest(request):
                return await self._desk.status(request)
            case MembersRequest(request):
                return await self._desk.members(request)
            case GroupsRequest(request):
                return await self._desk.groups(request)
            case AppsRequest(request):
                return await self._desk.apps(request)
            case MetricsRequest(request):
                return await self._desk.metrics(request)
            case CmapRequest(prefix, request):
                return await self._desk.cmap(request, prefix)
            case BlackboxRequest(request):
                self._require_owner(session)
                return await self._desk.blackbox(request)
            case CmapSetRequest(key, value, request) if key == CANCEL_WAIT_FOR_ALL:
                self._require_owner(session)
                await self._desk.cancel_wait_for_all(value)
                return Done(request)
            case CmapDeleteRequest(key, request):
                self._require_owner(session)
                await self._desk.forget_resource(key)
                return Done(request)
            case _:
                return self._change(session, message)

    def _change(self, session: Session, message: Any) -> msgspec.Struct:
        """What changes the node is for its owner and root, whatever the `uidgid` rules say."""
        self._require_owner(session)
        match message:
            case CmapSetRequest(key, value, request):
                self._apply(self._startup.reloader.set(self.configuration, key, value))
                return Done(request)
            case ReloadRequest(request):
                done = self._reload()
                applied, refused = tuple(map(str, done.applied)), tuple(map(str, done.refused))
                return ReloadReply(request, applied, refused, done.configuration.notices)
            case ShutdownRequest(request):
                self._stop("Node was shut down by sysadmin")
                return Done(request)
            case _:
                raise OperationFailed(f"no such request: {type(message).__name__}")

    @staticmethod
    def _require_owner(session: Session) -> None:
        if not is_owner(session.uid):
            raise AccessDenied(f"user {session.uid} may look, but only root and the node's owner may change it")

    # -- configuration

    def _packed(self) -> msgspec.Raw:
        return msgspec.Raw(msgspec.msgpack.encode(self.configuration))

    def _reload(self) -> Reload:
        """Read the configuration again and apply what can be applied.

        Raises:
            ConfigurationError: it cannot be used; everything stays as it was.
        """
        self._cfg.notice(f"Config reload requested by node {self.configuration.local_node_id}")
        if self._serving:
            self._service_manager.reloading()
        try:
            done = self._startup.reloader.reload(self.configuration)
            self._say_notices(done.configuration)
            for warning in done.warnings:
                self._cfg.notice(warning)
            self._apply(done)
            return done
        except TotemdError as error:
            for line in str(error).splitlines():
                self._cfg.err(f"Unable to reload config file: {line}")
            raise
        finally:
            if self._serving:
                self._service_manager.ready(self._summary())

    def _say_notices(self, configuration: Configuration) -> None:
        """All, at a reload too: which are new cannot be told, since their places move with the lines of the file."""
        for notice in configuration.notices:
            self._cfg.warning(notice)

    def _apply(self, done: Reload) -> None:
        mode = socket_mode(done.configuration.access)
        prepare_run_dir(self._startup.run_dir, shared=mode != PRIVATE_SOCKET_MODE)
        (self._startup.run_dir / EXECUTIVE_SOCKET).chmod(mode)
        logging.configure(done.configuration.logging)
        self.configuration = done.configuration
        self._gate.rules = done.configuration.access
        self._family.tell_all(Reconfigure(self._packed()))
        for change in done.applied:
            self._cfg.notice(f"configuration changed: {change}")

    # -- life

    def _summary(self) -> str:
        node = self.configuration.local_node
        return f"node {node.node_id} ({node.label}) of {len(self.configuration.nodes)}"

    def _initialised(self) -> None:
        self._serving = True
        self._log.notice("all processes are ready", took_ms=round(1000 * self.uptime_seconds))
        self._service_manager.ready(self._summary())
        self._startup.announcement.make(ExitCode.DONE)

    def _stop_by_signal(self, number: signal.Signals) -> None:
        self._stop("Node was shut down by a signal", signal=number.name)

    def _stop(self, because: str, **facts: str) -> None:
        if self._family.is_stopping:
            self._log.info("stopping already")
            return
        self._log.notice(because, **facts)
        self._service_manager.stopping(because)
        self._log.bind(subsystem="SERV").notice("Unloading all totemd service engines.")
        self._family.stop(ExitCode.DONE, because)

    def _quit(self, code: ExitCode, because: str) -> None:
        if not self.finished.done():
            self.finished.set_result((code, because))

    def _reload_by_signal(self) -> None:
        if not self._family.is_stopping:
            try:
                self._reload()
            except TotemdError:
                self._log.debug("the configuration stays as it was")

    def _feed_watchdog(self, seconds: float) -> None:
        self._service_manager.alive()
        self._watchdog = self._loop.call_later(seconds, self._feed_watchdog, seconds)

    def _dump(self) -> None:
        """SIGUSR2: what this process knows, into the log."""
        self._log.notice("state dump", uptime_s=round(self.uptime_seconds), **effective_values(self.configuration))
        for name, process in self.processes().items():
            self._log.notice(f"state dump: {name}", **msgspec.structs.asdict(process))
        for session in self._server.sessions:
            self._log.notice("state dump: connection", role=session.role, uid=session.uid, pid=session.pid)
        self._log.notice("state dump: requests", pending=len(self._requests), malformed=self._server.malformed)
        task = self._loop.create_task(self._dump_blackbox())
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _dump_blackbox(self) -> None:
        try:
            dumped = await self._desk.blackbox(0)
            self._log.notice("state dump: flight recorder", path=dumped.path)
        except TotemdError as error:
            self._log.notice("state dump: no flight recorder", reason=str(error))

    def _mishap(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A bug.  Children go on with what they do; nothing is gained by taking the node down over, say, a request."""
        self._log.crit("a bug in the executive", where=context.get("message", ""), exc_info=context.get("exception"))


async def run_executive(startup: Startup) -> tuple[ExitCode, str]:
    """Run a node until it stops; the exit code and why."""
    executive = Executive(startup)
    try:
        executive.begin()
        code, because = await executive.finished
    finally:
        # The loop takes its handlers away when it closes; a second SIGTERM must not kill what is ending cleanly.
        signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP_SIGNALS, signal.SIGHUP, signal.SIGUSR2})
        executive.close()
    if code is ExitCode.DONE:
        end_keeper(startup.run_dir)
    startup.announcement.make(code, because)
    return code, because


def end_keeper(run_dir: Path) -> None:
    """Have the applications ended by their keeper, if the sam process was away when it should have said so."""
    if pid := holder(run_dir / KEEPER_LOCK):
        logging.get_logger(logging.MAIN).notice("applications still run; their keeper is told to end them", keeper=pid)
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)
