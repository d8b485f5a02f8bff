"""One application under supervision: its machine, its processes, its deadlines; for any process that keeps some.

sam-run keeps one and ends with it; a keeper of declared applications keeps many.  Nothing here owns the process that
it runs in: no terminal, no signal, no exit code.

**What an owner provides.**  A running asyncio loop.  One `Children` for the whole process, whose `reap` it calls on
every SIGCHLD; it makes the process a subreaper (`linux.become_subreaper`) and waits for children in no other way.
SIGCHLD must not be ignored.  With more than one application, `Launch.own_group` for each.  A `Host`, which hears
what happens.  Registering with the sam process is the owner's affair as well (`link.py`): it hands in what
`Recover` says by `failed`, and reads `progress` whenever `Host.turned` is called.  One `Reception` and one
`QuorumWatch` serve all applications of a process.
"""

from __future__ import annotations

import asyncio
import math
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, assert_never

from ..ipc.messages.sam import DETAIL_LENGTH_MAX, AppState, Progress
from . import environment
from .children import Children
from .events import (
    Answer,
    Begin,
    Called,
    Continue,
    Event,
    Failed,
    Finish,
    Kill,
    NotSpawned,
    Report,
    Resumed,
    Scope,
    Signal,
    Spawned,
    Start,
    StopAsked,
    Suspend,
    WatchQuorum,
    Why,
)
from .family import Family
from .helper import Helper
from .hooks import HookRunner
from .keeper.adopt import Adopted, Traces
from .launch import EXIT_FAILED
from .log import Output
from .machine import Machine
from .notify import without_notify
from .orphans import Orphan
from .policy import Policy, Quorum
from .probe import Probe
from .procstat import TICKS_PER_SECOND
from .quorum import QuorumWatch
from .reception import Reception
from .spec import Spec
from .vitals import Outlet, Vitals
from .wording import report_text, signal_name


class Host(Protocol):
    """Who keeps an application.  None of this is called before `Supervised.begin`."""

    def say(self, text: str) -> None:
        """A line about the application, for people."""

    def turned(self) -> None:
        """The application's life has taken a turn: `progress` is another one, perhaps."""

    def before_restart(self) -> None:
        """An instance that is not the first is about to be started."""

    def may_continue(self) -> bool:
        """Whether a stopped application may go on now; False if job control has stopped the job again meanwhile."""

    def suspend(self, number: int) -> bool:
        """Stop this process itself by a signal of job control, and return when it has been continued.

        Returns whether the application is to be continued with it.  Only asked after `SuspendAsked`.
        """

    def finished(self, code: int) -> None:
        """It is over, for good; sam-run's exit code would be *code*."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all applications have in common that one process keeps."""

    run_dir: Path
    children: Children
    probe: Probe
    reception: Reception
    quorum: QuorumWatch
    jitter: Callable[[], float]
    """Random in [0, 1)."""


class Supervised:
    """Carries out what the machine decides about one application, and tells it what has happened."""

    def __init__(
        self,
        spec: Spec,
        shared: Shared,
        host: Host,
        *,
        instances: int = 0,
        orphan: Orphan | None = None,
    ) -> None:
        """*instances* is how many there were already; *orphan* is the first one.

        Raises:
            InvalidArgument: a log file cannot be opened.
            OSError: a descriptor is not to be had.
        """
        self._policy = spec.policy
        self._host = host
        self._reception = shared.reception
        self._quorum = shared.quorum
        self._loop = asyncio.get_running_loop()
        self._machine = Machine(spec.policy, shared.jitter)
        self._machine.life.instance = instances if orphan is None else orphan.instance - 1
        self._family = Family(spec.name, spec.launch, shared.children, shared.probe, self.happen)
        self._output = Output(spec.logs, host.say, 0 if orphan is None else orphan.pid)
        helper = Helper(spec.launch, shared.children, shared.probe)
        self._vitals = Vitals(spec, helper, Outlet(self._is_ours, self._ready, self.failed, self._said), orphan)
        self._hooks = HookRunner(spec.hooks, helper, host.say)
        variables = {**without_notify(spec.variables), **self._vitals.variables()}
        self._environment = _environment(variables, spec.policy, shared)
        self.may_start: Callable[[], bool] = lambda: True
        """Asked before each instance; one that may not be started counts as one that could not be."""
        self.fence = 0
        """What the instances from the next one on find as their fencing token; 0: nothing."""
        self._orphan = orphan
        self._run_dir = shared.run_dir
        self._adopted = Adopted(shared.children)
        self._detail = ""
        self._shown: AppState | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """What it is called in its environment; the owner may change it until the first instance starts."""
        return self._family.name

    @name.setter
    def name(self, name: str) -> None:
        self._family.name = name

    @property
    def progress(self) -> Progress:
        """Where it stands."""
        life = self._machine.life
        policy, interval_ms = str(life.policy.words), round(life.policy.interval * 1000)
        state = self._shown_state(life.state)
        return Progress(state, life.instance, life.pid, self._detail, policy, interval_ms, life.resource)

    def _shown_state(self, state: AppState) -> AppState:
        return AppState.UNREADY if state is AppState.RUNNING and not self._vitals.is_ready else state

    # -- reception.Ward

    @property
    def main(self) -> int:
        """Pid of the main process; 0 while there is none."""
        return self._family.main

    @property
    def exists(self) -> bool:
        """Whether any process of it is left."""
        return self._family.exists

    @property
    def instance(self) -> int:
        """Number of the current instance."""
        return self._machine.life.instance

    @property
    def stored(self) -> bytes:
        """What it has left for its next instances."""
        return self._machine.life.stored

    @stored.setter
    def stored(self, data: bytes) -> None:
        self._machine.life.stored = data

    # -- what happens

    def begin(self) -> None:
        """Start it; again, after it was over."""
        self._detail = ""  # what was said of an earlier end is no reason for this start
        self._reception.enrol(self)
        if self._policy.quorum is Quorum.TO_RUN:
            self._quorum.watch(self)
        self.happen(Begin())

    def stop(self, asked_by: int, within: float = math.inf) -> None:
        """End it, with all its processes.  *asked_by* is the signal that asked (see `Policy.stop_signal_for`).

        What lives so many seconds later is killed, however much time the policy gives it.
        """
        self.happen(StopAsked(asked_by, within))

    def failed(self, instance: int, why: str) -> None:
        """Somebody says that an instance has failed; void if it is not the current one."""
        self.happen(Failed(instance, why))

    def happen(self, event: Event) -> None:
        """Something has happened to it."""
        if isinstance(event, Called):
            self._vitals.beat()
        self._machine.happen(event, self._loop.time())
        self._carry_out()

    async def settle(self) -> None:
        """Once it is over: let the hooks of its last turns come to their end, in bounded time."""
        await self._hooks.finish()

    def close(self) -> None:
        """Let go of it; what of it still exists, because of a bug or of the kernel, is killed."""
        self._hooks.close()
        self._vitals.close()
        if self._timer is not None:
            self._timer.cancel()
        self._reception.dismiss(self)
        self._quorum.dismiss(self)
        if self._family.exists:
            self._family.kill()
        self._family.dismiss()
        self._output.close()

    def _expire(self) -> None:
        self._machine.expire(self._loop.time())
        self._carry_out()

    # -- what is done

    def _carry_out(self) -> None:
        """Do what the machine decided.  Words come after deeds: the next instance does not wait for them."""
        reports: list[Report] = []
        finished: int | None = None
        while effects := self._machine.take_effects():
            for effect in effects:
                match effect:
                    case Report():
                        reports.append(effect)
                    case Start(instance):
                        self._start(instance)
                    case Signal(number, scope):
                        self._signal(number, scope)
                    case Continue():
                        if self._host.may_continue():
                            self._signal_main(signal.SIGCONT)
                    case Kill():
                        self._family.kill()
                    case Suspend(number):
                        self._suspend(number)
                    case Answer():
                        self._reception.answer(effect)
                    case WatchQuorum():
                        self._quorum.watch(self)
                    case Finish(code):
                        finished = code
                    case _:
                        assert_never(effect)
        self._rearm()
        self._watch()
        self._tell(reports)
        if finished is not None:
            self._host.finished(finished)

    def _start(self, instance: int) -> None:
        if instance > 1:
            self._host.before_restart()
        variables = environment.of_instance(self._environment, self.name, instance, self.fence)
        orphan, self._orphan = self._orphan, None
        outcome: Spawned | NotSpawned
        if orphan is not None:
            outcome = self._family.adopt(orphan.pid)
        elif self.may_start():
            outcome = self._family.start(variables, {**self._output.descriptors, **self._vitals.descriptors()})
        else:
            outcome = NotSpawned(EXIT_FAILED, "it may not be started any more")
        if isinstance(outcome, Spawned):
            about = environment.of_main(variables, outcome.pid)
            self._vitals.started(instance, about, is_ready=orphan is not None)
        self._machine.happen(outcome, self._loop.time())
        if orphan is not None:
            created = orphan.created / TICKS_PER_SECOND
            self._adopted.watch(orphan.pid, created, Traces(self.name, instance, self._run_dir))

    def _signal(self, number: int, scope: Scope) -> None:
        if scope is Scope.REST:
            self._family.signal_rest(number)
        else:
            self._signal_main(number)

    def _signal_main(self, number: int) -> None:
        if not self._family.signal_main(number):
            self._host.say(f"not permitted to send {signal_name(number)} to process {self._family.main}")

    def _suspend(self, number: int) -> None:
        self._host.turned()
        if self._host.suspend(number):
            self._machine.happen(Resumed(), self._loop.time())

    def _rearm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._machine.next_deadline()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._expire)

    def _watch(self) -> None:
        life = self._machine.life
        if life.pid:
            self._vitals.watch(life.instance, life.state is AppState.RUNNING)
        else:
            self._vitals.ended()

    def _tell(self, reports: list[Report]) -> None:
        for report in reports:
            if text := report_text(report):
                self._detail = text[:DETAIL_LENGTH_MAX]
                self._host.say(text)
            self._run_hooks(self._shown_state(report.state), report)
        self._host.turned()

    def _run_hooks(self, state: AppState, report: Report) -> None:
        if state is not self._shown:
            self._shown = state
            self._hooks.entered(state, partial(self._of_turn, report, self._detail))

    def _of_turn(self, report: Report, detail: str) -> dict[bytes, bytes]:
        variables = environment.of_instance(self._environment, self.name, report.instance, self.fence)
        return environment.of_turn(variables, report.pid, detail, report.ending.exit_code if report.ending else None)

    # -- signs of life

    def _is_ours(self, pid: int) -> bool:
        return self._reception.is_of(self, pid)

    def _ready(self) -> None:
        life = self._machine.life
        self._host.say(f"instance {life.instance} is ready")
        self._run_hooks(AppState.RUNNING, Report(AppState.RUNNING, life.instance, life.pid, Why.SPAWNED))
        self._host.turned()

    def _said(self, status: str) -> None:
        self._detail = status
        self._host.turned()


def _environment(variables: Mapping[str, str], policy: Policy, shared: Shared) -> dict[bytes, bytes]:
    """What all instances have in their environment."""
    return environment.of_every_instance(
        variables,
        policy=str(policy.words),
        interval_ms=round(policy.interval * 1000),
        run_dir=shared.run_dir,
        socket=shared.reception.address,
    )
