"""The sam process: keeps the list of applications, and looks at their processes from outside.

sam-run decides over its application; this process tells it what it cannot see itself, and notices when a sam-run dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec

from ..executive.config.model import Configuration
from ..executive.runtime.access import Gate
from ..executive.runtime.child import Answer, ChildContext, Question
from ..executive.runtime.metrics import Metrics
from ..ipc.channel import Session
from ..ipc.endpoints import SHARED_SOCKET_MODE, Credentials
from ..ipc.errors import InvalidArgument, NotFound, TryAgain
from ..ipc.messages import sam_singleton
from ..ipc.messages.common import Done, Hello
from ..ipc.messages.control import (
    AppsAnswer,
    AppsQuestion,
    MetricsAnswer,
    MetricsQuestion,
    ResourcesAnswer,
    ResourcesQuestion,
)
from ..ipc.messages.sam import (
    TO_SAM,
    AppList,
    AppState,
    Changed,
    Ended,
    ListApps,
    Progress,
    Recover,
    Register,
    Registered,
    WhenOrphaned,
)
from ..ipc.paths import SAM_SOCKET
from ..ipc.server import Closed, Server
from . import environment, orphans
from .assembly import Assembly
from .keeper.attendant import Attendant
from .keeper.listing import Listing
from .limit_watch import LimitWatch
from .link import ROLE as SAM_RUN
from .monitor import PROCESS_PREFIX
from .probe import Finding, Probe, Process, PsutilProbe
from .registry import App, Registry, Verdict, how_it_began
from .singletons import FromSingleton, Singletons
from .warden import Warden

WATCH_SECONDS = 0.5
"""Pause between two looks at all applications, when they are few."""

WATCH_SHARE_MAX = 0.01
"""At most this share of a processor is spent on looking: with many applications the pauses grow."""

WATCH_SLICE = 25
"""So many processes are looked at before the loop turns, that messages need not wait for all of them."""

ToSam = Register | Changed | Ended | ListApps | FromSingleton


def watch_pause(took: float) -> float:
    """Seconds until the next look at all applications, after one that took so much processor time."""
    return max(WATCH_SECONDS, took / WATCH_SHARE_MAX - took)


class SamProcess:
    """The child program `sam`."""

    def __init__(self, context: ChildContext, probe: Probe | None = None) -> None:
        self._context = context
        self._node_id = context.configuration.local_node_id
        self._log = context.log
        self._loop = asyncio.get_running_loop()
        self._probe = PsutilProbe() if probe is None else probe
        self._gate = Gate(context.configuration.access, context.log)
        self._registry = Registry()
        self._warden = Warden(context.log, self._registry.resources)
        self._listing = Listing(self._registry, self._probe, context.log)
        self._attendant = Attendant(
            context.run_dir,
            context.log,
            listed=self._listing.listed,
            turned=lambda turn: self._listing.turned(turn, self._loop.time()),
        )
        self._singletons = Singletons(self._send)
        self._assembly: Assembly | None = None
        self._sessions: dict[App, Session] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._server: Server[ToSam] | None = None
        self._watch: asyncio.TimerHandle | asyncio.Handle | None = None
        self._to_look_at: list[App] = []
        self._took = 0.0
        self._limits = LimitWatch(self._registry.watched, self._exceeded)
        self._metrics = self._numbers()
        self._restarts = self._metrics.counter("sam_restarts", "Instances after the first that were started.")
        self._recoveries = self._metrics.counter("sam_recoveries", "Failures that were seen from outside.")
        self._orphans = self._metrics.counter("sam_orphans", "Applications whose sam-run died.")

    # -- executive.runtime.child.ChildProgram

    async def start(self) -> None:
        """Serve; sam-runs that kept their applications meanwhile register again by themselves."""
        self._assembly = self._singletons.assembly = Assembly(
            self._context.configuration,
            self._context.run_dir,
            self._log,
            apps=lambda: self._registry.infos(self._node_id),
            leader=self._singletons,
        )
        self._server = Server(
            self._context.run_dir / SAM_SOCKET,
            TO_SAM | sam_singleton.TO_SAM,
            self,
            node_id=self._node_id,
            mode=SHARED_SOCKET_MODE,
        )
        self._assembly.start()
        self._watch = self._loop.call_later(WATCH_SECONDS, self._begin_look)
        self._rediscover()
        self._warden.configure(self._context.configuration.resources)
        self._attendant.declare(self._context.configuration.apps)

    def reconfigure(self, configuration: Configuration) -> None:
        """Take over who may connect; who is connected stays."""
        self._gate.rules = configuration.access
        if self._assembly is not None:
            self._assembly.retime(configuration.totem)
        self._warden.configure(configuration.resources)
        self._attendant.declare(configuration.apps)

    def answer(self, question: Question) -> Answer:
        """The applications of all nodes, or this process's numbers."""
        match question:
            case AppsQuestion(request=request):
                if self._assembly is None:
                    raise TryAgain("the sam process is still starting")
                return AppsAnswer(request, self._assembly.apps_of_cluster())
            case ResourcesQuestion(request=request, forget=forget):
                if forget:
                    self._registry.forget(forget.removeprefix(PROCESS_PREFIX).split(".")[0])
                return ResourcesAnswer(request, self._warden.keys())
            case MetricsQuestion(request=request):
                self._restarts.value = self._registry.restarts
                self._orphans.value = self._registry.orphans
                return MetricsAnswer(request, self._metrics.snapshot())
            case _:
                raise NotFound("the sam process knows applications only")

    async def stop(self) -> None:
        """Stop serving.  Applications go on: their sam-runs keep them.  Declared ones end if the node does."""
        if self._context.node_stops():
            await self._attendant.leave(self._context.still_stopping)
        self._attendant.close()
        self._limits.close()
        for task in self._ending:
            task.cancel()
        if self._assembly is not None:
            self._assembly.close()
        if self._watch is not None:
            self._watch.cancel()
        self._warden.close(cleanly=self._context.node_stops())
        if self._server is not None:
            self._server.close()
        for app in self._registry.apps.values():
            if app.state is AppState.ORPHANED:
                self._log.warning("an orphan runs on, and nobody watches it", app=app.name, pid=app.progress.pid)

    # -- ipc.server.Handler

    def admit(self, hello: Hello, credentials: Credentials) -> int:
        """Whoever the `uidgid` rules allow."""
        self._gate.require(credentials, self._loop.time())
        return 0

    def opened(self, session: Session) -> None:
        """A sam-run, or somebody who wants to look."""

    def received(self, session: Session, message: ToSam, payload: Sequence[bytes | memoryview]) -> None:
        """What a sam-run says of its application, or a question."""
        match message:
            case ListApps(request):
                self._send(session, AppList(request, self._registry.infos(self._node_id)))
            case Register():
                self._register(session, message)
            case Changed(progress):
                self._turn(session, self._app_of(session), progress)
            case Ended(request, progress):
                self._turn(session, self._app_of(session), progress)
                self._send(session, Done(request))
            case _:
                self._singletons.received(session, message)

    def closed(self, session: Session, why: Closed) -> None:
        """If it was a sam-run that had not come to an end, its application is an orphan now."""
        app = session.state
        if why is not Closed.SERVER_STOPS:
            self._singletons.closed(session)
        if not isinstance(app, App):
            return
        self._sessions.pop(app, None)
        if why is Closed.SERVER_STOPS:
            return
        self._apps_changed()
        was = app.progress
        self._registry.leave(app, app.process.look() if app.process is not None else Finding.GONE)
        match app.state:
            case AppState.ORPHANED:
                self._log.err(
                    "sam-run died; its application runs on without a keeper",
                    app=app.name,
                    pid=was.pid,
                    because=why.value,
                )
            case AppState.LOST:
                self._log.err("sam-run died, and its application does not run", app=app.name, because=why.value)
        if app.when_orphaned is WhenOrphaned.END and app.state in (AppState.ORPHANED, AppState.LOST):
            task = self._loop.create_task(self._end_orphan(app))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _end_orphan(self, app: App) -> None:
        run_dir = self._context.run_dir
        if not await orphans.appear(app.name, run_dir):
            return
        gone = await orphans.end(app.name, run_dir, self._probe, app.stop_signal, app.stop_timeout)
        log = self._log.notice if gone else self._log.err
        log("the orphan was ended" if gone else "the orphan cannot be ended", app=app.name)

    def _rediscover(self) -> None:
        """What lost its sam-run while there was no sam process."""
        kept = {entry.name for entry in self._context.configuration.apps}  # their keeper goes on with them
        for orphan in orphans.find(self._context.run_dir):
            process = self._probe.find(orphan.pid)
            if process is not None and orphan.name not in kept:
                policy = orphan.variables.get(environment.POLICY, "")
                self._registry.rediscover(orphan.name, policy, orphan.instance, process)
                self._log.warning("an application without a sam-run was found", app=orphan.name, pid=orphan.pid)

    # -- applications

    def _register(self, session: Session, message: Register) -> None:
        if session.role != SAM_RUN:
            raise InvalidArgument(
                f"a connection with role {SAM_RUN!r} registers applications, not one with {session.role!r}"
            )
        if session.state is not None:
            raise InvalidArgument("this connection has registered an application already; it can register one")
        taken = self._registry.apps.get(message.name)
        if taken is not None and taken.state is AppState.ORPHANED:
            self._look_at(taken)  # a sam-run that wants its name ends it first: that was after the last look
        app = self._registry.enrol(message, session.pid)
        session.state = app
        self._sessions[app] = session
        if session.visible:
            app.runner = self._probe.find(session.pid)
        self._turn(session, app, message.progress)
        self._log.info("registered", app=app.name, policy=app.policy, sam_run=session.pid, uid=session.uid)
        self._send(session, Registered(message.request, app.name))

    def _app_of(self, session: Session) -> App:
        if not isinstance(session.state, App):
            raise InvalidArgument("this connection has not registered an application; `sam.register` comes first")
        return session.state

    def _turn(self, session: Session, app: App, progress: Progress) -> None:
        process: Process | None = None
        if progress.pid and session.visible:
            # Only a child of that sam-run is believed to be its application.
            process = self._probe.find(progress.pid, parent=session.pid)
            if process is None and app.adopts and orphans.belongs(self._probe, app.name, progress.pid, session.uid):
                process = self._probe.find(progress.pid)
        before = app.progress
        self._registry.turn(app, progress, process)
        if progress.resource is not None and before.resource is None:
            self._warden.look()
        self._apps_changed()
        facts = {"app": app.name, "instance": progress.instance, "pid": progress.pid}
        if progress.state is AppState.FATAL:
            self._log.err("given up", because=progress.detail, **facts)
        elif (began := how_it_began(before, progress)) is not None:
            event, why = began
            self._log.notice(event, **facts, **why)
        elif progress.state is not before.state:
            self._log.info("turn", state=progress.state.value, **facts)

    def _send(self, session: Session, message: msgspec.Struct) -> None:
        assert self._server is not None
        self._server.send(session, message)

    # -- the look from outside

    def _apps_changed(self) -> None:
        if self._assembly is not None:
            self._assembly.apps_changed()

    def _begin_look(self) -> None:
        self._apps_changed()  # what nobody has said, such as the end of an orphan
        self._listing.look()
        self._to_look_at, self._took = self._registry.watched(), 0.0
        self._look_at_some()

    def _look_at_some(self) -> None:
        began = self._loop.time()
        now, self._to_look_at = self._to_look_at[:WATCH_SLICE], self._to_look_at[WATCH_SLICE:]
        for app in now:
            self._look_at(app)
        self._took += self._loop.time() - began
        if self._to_look_at:
            self._watch = self._loop.call_soon(self._look_at_some)
        else:
            self._watch = self._loop.call_later(watch_pause(self._took), self._begin_look)

    def _look_at(self, app: App) -> None:
        process = app.process
        if process is None:
            return  # its life took a turn since the look began
        finding = process.look()
        runner = app.runner.look() if app.runner is not None and finding is Finding.STOPPED else Finding.ALIVE
        match app.judge(finding, runner, self._loop.time()):
            case Verdict.RECOVER:
                self._recover(app, f"stopped for {app.interval:g} s or longer, seen from outside")
            case Verdict.UNREAPED:
                self._log.warning(
                    "the process has ended, and its sam-run has not noticed", app=app.name, sam_run=app.runner_pid
                )
            case Verdict.LOST:
                self._registry.lose(app)
                self._log.err("the application without a sam-run has ended", app=app.name)

    def _exceeded(self, app: App, problem: str) -> None:
        if app.is_kept:
            self._recover(app, f"over its limit, {problem}")

    def _recover(self, app: App, why: str) -> None:
        self._recoveries.add()
        self._log.warning("failed", app=app.name, instance=app.progress.instance, pid=app.progress.pid, because=why)
        if (session := self._sessions.get(app)) is not None:
            self._send(session, Recover(app.progress.instance, why))
        elif app.is_declared:
            self._attendant.fail(app.name, app.progress.instance, why)

    # -- numbers

    def _numbers(self) -> Metrics:
        metrics, registry = Metrics(), self._registry
        for state in AppState:
            metrics.gauge(
                "sam_applications",
                "Applications on the list, by state.",
                partial(registry.count, state),
                state=state.value,
            )
        metrics.gauge("sam_look_seconds", "How long the last look at all applications took.", lambda: self._took)
        metrics.gauge(
            "sam_limits_seconds", "How long the last look at applications with limits took.", lambda: self._limits.took
        )
        return metrics
