"""What is remembered of one application over all its instances, and the few steps that every reaction is made of."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from ..ipc.messages.sam import AppState, Resource, ResourceState
from .events import Caller, Effect, Ending, Finish, Kill, Parting, Report, Scope, Signal, Start, Timer, Why
from .policy import Policy, Quorum

EXIT_FATAL = 124
"""sam-run's exit code when it gives an application up."""

SIGN_SHOWN_SECONDS = 0.5
"""So often, at the most, a sign of life is published: the sam process need not hear of every one."""

KILL_AGAIN_SECONDS = 0.5
"""A process that was forked while its family was being killed is found by killing again."""

UNKILLABLE_SECONDS = 10.0
"""How long after SIGKILL processes may still exist (they hang in the kernel) before life goes on without them."""


ALIVE = frozenset({AppState.RUNNING, AppState.FROZEN, AppState.SUSPENDED, AppState.WARNED})
"""The main process exists, and shall."""

WELL = frozenset({AppState.RUNNING, AppState.FROZEN})
"""It may be expected to give signs of life."""


class Stage(enum.Enum):
    """How far an instance has gone with what an application may ask of its keeper (corosync: SAM's states)."""

    UNREGISTERED = "unregistered"
    """It has said nothing: any end of it is a failure, and no sign of life is expected."""
    REGISTERED = "registered"
    """It will say itself how it is.  Not watched: its end is its own will."""
    WAITING = "waiting"
    """As REGISTERED; it has asked to be watched, and waits for quorum."""
    WATCHED = "watched"
    """It gives signs of life; any end of it is a failure."""


@dataclass(slots=True)
class Life:
    """One application's life.  Only the reactions of `machine.py` change it."""

    policy: Policy
    jitter: Callable[[], float]
    """A random number in [0, 1)."""
    state: AppState = AppState.STOPPED
    instance: int = 0
    """Number of the current or last instance; the first is 1."""
    pid: int = 0
    """The main process; 0 while there is none."""
    ending: Ending | None = None
    """How the last instance ended."""
    ended_at: float = 0.0
    left_behind: bool = False
    """Processes of the last instance existed when its main process had ended."""
    exit_code: int = 0
    """What sam-run will exit with, once that is known."""
    short_lives: int = 0
    """Instances in a row that did not outlive the start period."""
    starts: tuple[float, ...] = ()
    """When the restarts took place that still count for the restart intensity."""
    parting: Parting | None = None
    suspend_signal: int = 0
    stage: Stage = Stage.UNREGISTERED
    enrolled: Caller | None = None
    """Who has registered this instance."""
    waiting: Caller | None = None
    """Who waits for quorum."""
    asked: Caller | None = None
    """Who wants to be asked how it is."""
    checks: int = 0
    """How often it was asked."""
    last_sign: float = 0.0
    """When it last gave a sign of life."""
    sign_due: float = 0.0
    """When the next one is due at the latest."""
    shown_sign: float = 0.0
    """The same, as it is published."""
    stored: bytes = b""
    """What an instance has left to later ones."""
    quorate: bool = False
    """This node, as last heard."""
    no_quorum: str = ""
    """Why the node will never be quorate; empty if it may."""
    overslept: bool = False
    """Silence was noticed too late to be believed, once; another sign of life ends that."""
    was_silent: bool = False
    """It was warned because it gave no sign of life."""
    lost_quorum: bool = False
    """It was warned because the node lost quorum."""
    marked: bool = False
    """It has marked itself as failed."""
    failed: bool = False
    """It ended by a failure, and nothing follows."""
    deadlines: dict[Timer, float] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)

    def enter(self, state: AppState, why: Why, *, delay: float = 0.0, text: str = "") -> None:
        """Be in another state from now on, and tell."""
        self.state = state
        self.report(why, delay=delay, text=text)

    def report(self, why: Why, *, delay: float = 0.0, text: str = "") -> None:
        """Tell what happened."""
        ending = None if self.pid else self.ending
        self.effects.append(Report(self.state, self.instance, self.pid, why, ending, delay, text))

    def start_next(self, why: Why) -> None:
        """Start the next instance: at once, or as soon as the node is quorate."""
        self.deadlines.clear()
        if self.policy.quorum is Quorum.TO_RUN and not self.quorate:
            self.enter(AppState.WAITING, Why.NOT_QUORATE, text=self.no_quorum)
            return
        self.instance += 1
        self.stage = Stage.UNREGISTERED
        self.enrolled = self.waiting = self.asked = None
        self.was_silent = self.lost_quorum = self.failed = self.overslept = False
        self.enter(AppState.STARTING, why)
        self.effects.append(Start(self.instance))

    def warn(self, why: Why, now: float, text: str = "") -> None:
        """Tell a failed application to end.  Nothing withdraws the warning but its end (as corosync's SAM has it)."""
        for timer in (Timer.FROZEN, Timer.SILENT):
            self.deadlines.pop(timer, None)
        self.deadlines[Timer.KILL] = now + self.policy.grace
        self.enter(AppState.WARNED, why, text=text)
        self.effects.append(Signal(self.policy.warn_signal))

    def sign_of_life(self, now: float) -> None:
        """It has just said something."""
        self.last_sign, self.overslept = now, False
        if now - self.shown_sign >= SIGN_SHOWN_SECONDS:
            self.shown_sign = now
        self.expect_sign(now)
        if self.state is AppState.WARNED and self.was_silent and Timer.GIVE_UP not in self.deadlines:
            # As with corosync: a late one does not withdraw the warning, but puts the end off.
            self.deadlines[Timer.KILL] = now + self.policy.interval

    def expect_sign(self, since: float) -> None:
        """Whoever is watched must give another sign of life within the interval."""
        if self.stage is Stage.WATCHED and self.policy.interval and self.state in WELL:
            self.sign_due = self.deadlines[Timer.SILENT] = since + self.policy.interval

    @property
    def needs_quorum(self) -> bool:
        """Whether what runs now must not run without."""
        needed = self.policy.quorum
        return needed is Quorum.TO_RUN or (needed is Quorum.TO_BE_WATCHED and self.stage is Stage.WATCHED)

    @property
    def resource(self) -> Resource | None:
        """What is published about it; None without `+cmap`."""
        policy = self.policy
        if not policy.cmap:
            return None
        # Nobody expects a sign of life of a program that has never given one.
        poll_period = 0 if self.stage is Stage.UNREGISTERED else round(policy.interval * 1000)
        return Resource(self._resource_state(), policy.recovery.value, poll_period, int(self.shown_sign * 1e9))

    def _resource_state(self) -> ResourceState:
        if self.failed or self.state is AppState.FATAL:
            return ResourceState.FAILED
        if self.state is AppState.WAITING:
            return ResourceState.WAITING
        if self.state not in ALIVE or self.stage is Stage.REGISTERED:
            return ResourceState.STOPPED
        return ResourceState.WAITING if self.stage is Stage.WAITING else ResourceState.RUNNING

    def end_the_rest(self, now: float) -> None:
        """The main process has ended for good; what it left behind may end in peace before it is killed."""
        if not self.left_behind:
            self.finish(self.exit_code)
            return
        self.report(Why.LEFT_BEHIND)
        self.effects.append(Signal(self.policy.stop_signal, Scope.REST))
        self.deadlines.setdefault(Timer.KILL, now + self.policy.stop_timeout)

    def kill(self, now: float) -> None:
        """Kill all of the application; again soon, unless it is seen to be gone."""
        self.effects.append(Kill())
        self.deadlines[Timer.KILL] = now + KILL_AGAIN_SECONDS
        self.deadlines.setdefault(Timer.GIVE_UP, now + UNKILLABLE_SECONDS)

    def finish(self, code: int) -> None:
        """It is over."""
        self.pid = 0
        self.deadlines.clear()
        self.enter(AppState.FATAL if self.marked else AppState.STOPPED, Why.ENDED)
        self.effects.append(Finish(EXIT_FATAL if self.marked else code))
