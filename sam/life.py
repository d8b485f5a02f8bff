"""What is remembered of one application over all its instances, and the few steps that every reaction is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..ipc.messages.sam import AppState
from .events import Effect, Ending, Finish, Kill, Parting, Report, Scope, Signal, Start, Timer, Why
from .policy import Policy

KILL_AGAIN_SECONDS = 0.5
"""A process that was forked while its family was being killed is found by killing again."""

UNKILLABLE_SECONDS = 10.0
"""How long after SIGKILL processes may still exist (they hang in the kernel) before life goes on without them."""


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
        """Start the next instance, at once."""
        self.instance += 1
        self.deadlines.clear()
        self.enter(AppState.STARTING, why)
        self.effects.append(Start(self.instance))

    def warn(self, why: Why, now: float, text: str = "") -> None:
        """Tell a failed application to end.  Nothing withdraws the warning but its end (as corosync's SAM has it)."""
        self.deadlines.pop(Timer.FROZEN, None)
        self.deadlines[Timer.KILL] = now + self.policy.interval
        self.enter(AppState.WARNED, why, text=text)
        self.effects.append(Signal(self.policy.warn_signal))

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
        self.enter(AppState.STOPPED, Why.ENDED)
        self.effects.append(Finish(code))
