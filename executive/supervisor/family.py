"""The children in flesh: carries out what `plan` decides, and tells it what happens."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, assert_never

import msgspec

from ...ipc.channel import Session
from ...ipc.messages.common import Refused
from ...ipc.messages.control import (
    AppsAnswer,
    BlackboxAnswer,
    Fatal,
    GroupsAnswer,
    MetricsAnswer,
    Obituary,
    Ping,
    Pong,
    ProcessInfo,
    QuorumAnswer,
    Ready,
    ResourcesAnswer,
    RingAnswer,
    StillStopping,
    Stop,
)
from ..runtime.logging import Logger
from .actions import (
    Action,
    AskAlive,
    AskToStop,
    Exit,
    Initialised,
    Kill,
    Quit,
    ReportEnded,
    ReportPause,
    ReportReady,
    Spawn,
)
from .children import ChildProcess
from .exits import ExitCode
from .obituary import Obituaries
from .plan import Plan
from .questions import Questions
from .specs import ChildSpec, Tree

Sender = Callable[[Session, msgspec.Struct], None]


class Family:
    """The processes of a tree and their sessions on the control socket."""

    def __init__(
        self,
        tree: Tree,
        run_dir: Path,
        send: Sender,
        log: Logger,
        *,
        initialised: Callable[[], None],
        quit: Callable[[ExitCode, str], None],
    ) -> None:
        """*initialised* is called when all children serve for the first time, *quit* when none is left."""
        self._loop = asyncio.get_running_loop()
        self._plan = Plan(tree)
        self._run_dir = run_dir
        self._send = send
        self._log = log
        self._initialised = initialised
        self._quit = quit
        self._processes: dict[str, ChildProcess] = {}
        self._sessions: dict[str, Session] = {}
        self._actions: deque[Action] = deque()
        self._acting = False
        self._timer: asyncio.TimerHandle | None = None
        self._obituaries = Obituaries(log)
        self.questions = Questions(self.tell)

    # -- what the executive wants

    def begin(self) -> None:
        """Start the first child."""
        self._do(self._plan.begin(self._loop.time()))

    def stop(self, code: ExitCode, because: str) -> None:
        """Stop all, in reverse order; `quit` will be called."""
        self._do(self._plan.stop(self._loop.time(), code, because))

    def tell(self, child: str, message: msgspec.Struct) -> bool:
        """Send a message to a child; False if it is not connected."""
        session = self._sessions.get(child)
        if session is not None:
            self._send(session, message)
        return session is not None

    def tell_all(self, message: msgspec.Struct) -> None:
        """Send a message to every child that is connected."""
        for session in self._sessions.values():
            self._send(session, message)

    # -- what is asked about them

    @property
    def is_stopping(self) -> bool:
        """Whether the node stops."""
        return self._plan.is_stopping

    @property
    def connected(self) -> tuple[str, ...]:
        """The children that can be asked."""
        return tuple(self._sessions)

    def spec(self, child: str) -> ChildSpec | None:
        """What is known about a role; None if it is no child's."""
        record = self._plan.children.get(child)
        return None if record is None else record.spec

    def pid(self, child: str) -> int:
        """0 while it does not run."""
        process = self._processes.get(child)
        return 0 if process is None else process.pid

    def snapshot(self) -> dict[str, ProcessInfo]:
        """All children, in the order of their start."""
        return {
            name: ProcessInfo(self.pid(name), record.restarts, record.state.value, record.last_exit)
            for name, record in self._plan.children.items()
        }

    # -- what children do

    def opened(self, session: Session) -> None:
        """A child said hello; its pid has been checked."""
        self._sessions[session.role] = session

    def closed(self, session: Session) -> None:
        """A child's connection ended; what that means is decided when its process ends, or misses a heartbeat."""
        if self._sessions.get(session.role) is session:
            del self._sessions[session.role]
            self.questions.gone(session.role)

    def received(self, child: str, message: Any) -> None:
        """A child's message."""
        now = self._loop.time()
        match message:
            case Ready():
                self._do(self._plan.ready(child, now))
            case Pong(sequence):
                self._do(self._plan.pong(child, sequence, now))
            case Fatal(reason):
                self._log.crit(f"{child} cannot go on, and starting it again would not help", reason=reason)
                self._do(self._plan.fatal(child, reason, now))
            case StillStopping():
                self._do(self._plan.still_stopping(child, now))
            case Obituary():
                self._obituaries.keep(child, message)
            case RingAnswer() | GroupsAnswer() | AppsAnswer() | QuorumAnswer() | MetricsAnswer():
                self.questions.answered(child, message)
            case ResourcesAnswer() | BlackboxAnswer() | Refused():
                self.questions.answered(child, message)

    def _ended(self, child: str, how: Exit) -> None:
        del self._processes[child]
        self._obituaries.child_ended(child)
        self.questions.gone(child)
        self._do(self._plan.exited(child, how, self._loop.time()))

    # -- acting

    def _do(self, actions: list[Action]) -> None:
        """Carry out actions in order, also those that follow from carrying them out."""
        self._actions.extend(actions)
        if self._acting:
            return
        self._acting = True
        try:
            while self._actions:
                self._act(self._actions.popleft())
        finally:
            self._acting = False
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._plan.next_deadline()
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._do(self._plan.expire(self._loop.time()))

    def _act(self, action: Action) -> None:
        match action:
            case Spawn(child):
                self._spawn(child)
            case AskAlive(child, sequence):
                self.tell(child, Ping(sequence))
            case AskToStop(child):
                self._ask_to_stop(child)
            case Kill(child, because):
                self._log.err(f"{child} is killed: {because}", pid=self.pid(child))
                if child in self._processes:
                    self._processes[child].kill()
            case ReportReady(child, took):
                serv = self._log.bind(subsystem="SERV")
                serv.notice(f"Service engine loaded: {child}", pid=self.pid(child), took_ms=round(1000 * took))
            case ReportEnded():
                self._report_ended(action)
            case ReportPause(seconds):
                self._log.warning(f"The executive was not scheduled for {1000 * seconds:.0f} ms")
            case Initialised():
                self._initialised()
            case Quit(code, because):
                self._quit(code, because)
            case _:
                assert_never(action)

    def _spawn(self, child: str) -> None:
        spec = self._plan.children[child].spec
        try:
            process = ChildProcess(spec, self._run_dir, self._ended)
        except OSError as error:
            program = f"{error.filename}: " if error.filename else ""
            reason = Exit(reason=f"cannot be started: {program}{error.strerror or error}")
            self._do(self._plan.exited(child, reason, self._loop.time()))
            return
        self._processes[child] = process
        self._log.debug(f"{child} started", pid=process.pid)

    def _ask_to_stop(self, child: str) -> None:
        self._log.debug(f"{child} is asked to stop", pid=self.pid(child))
        if not self.tell(child, Stop(self._plan.has_failed)) and child in self._processes:
            self._processes[child].cut_lifeline()

    def _report_ended(self, ended: ReportEnded) -> None:
        next_step = (
            "the node stops"
            if ended.restart_in_seconds is None
            else f"it is started again in {1000 * ended.restart_in_seconds:.0f} ms"
        )
        self._log.err(
            f"{ended.child} ended unexpectedly ({ended.because or ended.how}); {next_step}",
            uptime_ms=round(1000 * ended.uptime_seconds),
        )
