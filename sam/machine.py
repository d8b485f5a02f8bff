"""How one supervised application's life goes: a table (state, event) -> reaction; effects come out as data.

```
               Begin              Spawned                Froze
      STOPPED ───────> STARTING ──────────> RUNNING <──────────────> FROZEN ── interval over ──┐
                          ^                  ^ │ │       Thawed                                v
                          │     job control: │ │ └─────────────── Failed ──────────────────> WARNED ── kill after
                          │                  v │                                               │       the interval
                          │         SUSPENDED  │ Exited                                 Exited │
                          │                    v                                               │
                       BACKOFF <─────────── CLEARING <─────────────────────────────────────────┘
                                  what it left behind is gone │
                                                              └── too often ──> FATAL
      StopAsked in any state, or an end that is final ──> STOPPING ── all gone ──> STOPPED
```

No clock, no process, no signal and no chance of its own: times are seconds of one monotonic clock, handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ipc.messages.sam import AppState
from .events import (
    EXIT_SIGNAL_BASE,
    Begin,
    Continue,
    Effect,
    Ending,
    Event,
    Exited,
    Failed,
    Finish,
    Froze,
    NotSpawned,
    Parting,
    Passing,
    Resumed,
    Scope,
    Signal,
    Spawned,
    StopAsked,
    Suspend,
    SuspendAsked,
    Thawed,
    Timer,
    TreeGone,
    Why,
)
from .life import UNKILLABLE_SECONDS, Life
from .policy import Policy, Recovery

EXIT_FATAL = 124
"""sam-run's exit code when it gives an application up."""

EXIT_KILLED = EXIT_SIGNAL_BASE + 9
"""Exit code for an application that not even SIGKILL has ended: it is in the kernel's hands."""

PARTING_SECONDS = 10.0
"""How long after a Ctrl-C or its like the application's end is taken for what the user wanted."""

SUSPEND_SECONDS = 2.0
"""How long after job control has asked for it an application's stopping still counts as obedience."""


class Machine:
    """One application's life, driven by what happens.

    Its owner calls `happen` and `expire`, then carries out `take_effects()` in order, and calls `expire` again at
    `next_deadline()`.
    """

    def __init__(self, policy: Policy, jitter: Callable[[], float]) -> None:
        """*jitter* returns a random number in [0, 1)."""
        self.life = Life(policy, jitter)

    def happen(self, event: Event, now: float) -> None:
        """Something has happened to the application, or is asked of it."""
        REACTIONS[self.life.state, type(event)](self.life, event, now)

    def expire(self, now: float) -> None:
        """Let every deadline that is due by *now* take effect."""
        life = self.life
        for timer in Timer:
            if life.deadlines.get(timer, now + 1) <= now:
                del life.deadlines[timer]
                EXPIRIES[life.state, timer](life, timer, now)

    def next_deadline(self) -> float | None:
        """When `expire` is to be called; None: nothing is waited for."""
        return min(self.life.deadlines.values(), default=None)

    def take_effects(self) -> list[Effect]:
        """What is to be done now, in this order; each effect is handed out once."""
        effects, self.life.effects = self.life.effects, []
        return effects


def ignore(life: Life, event: object, now: float) -> None:
    """It changes nothing; the table says so on purpose."""


# -- starting


def begin(life: Life, _: Begin, now: float) -> None:
    life.starts, life.short_lives, life.ending = (), 0, None
    life.start_next(Why.ASKED)


def started(life: Life, event: Spawned, now: float) -> None:
    life.pid = event.pid
    life.deadlines[Timer.STABLE] = now + life.policy.start_period
    life.enter(AppState.RUNNING, Why.SPAWNED)


def not_started(life: Life, event: NotSpawned, now: float) -> None:
    """The first instance shows whether the command is right at all; later ones may miss it during an upgrade."""
    life.report(Why.CANNOT_START, text=event.reason)
    if life.instance == 1:
        life.finish(event.code)
    else:
        ended(life, Exited(Ending(event.code), left_behind=False), now)


def started_too_late(life: Life, event: Spawned, now: float) -> None:
    life.pid = event.pid
    life.effects.append(Signal(life.policy.stop_signal))


def not_started_any_more(life: Life, event: NotSpawned, now: float) -> None:
    life.finish(event.code)


# -- the end of the main process, and the way to the next instance


def ended(life: Life, event: Exited, now: float) -> None:
    short = Timer.STABLE in life.deadlines or life.state is AppState.STARTING
    parted = Timer.PARTING in life.deadlines and was_parting(life.parting, event.ending)
    life.short_lives = life.short_lives + 1 if short else 0
    life.pid, life.ending, life.ended_at, life.left_behind = 0, event.ending, now, event.left_behind
    life.deadlines.clear()
    if parted or life.policy.recovery is Recovery.QUIT:
        life.exit_code = event.ending.exit_code
        life.enter(AppState.STOPPING, Why.PARTED if parted else Why.ENDED)
        life.end_the_rest(now)
        return
    life.enter(AppState.CLEARING, Why.ENDED)
    if event.left_behind:
        life.report(Why.LEFT_BEHIND)
        life.kill(now)
    else:
        cleared(life, None, now)


def was_parting(parting: Parting | None, ending: Ending) -> bool:
    """Whether an application that ended like this followed the signal."""
    return parting is not None and (not parting.only_if_killed or ending.signal == parting.signal)


def cleared(life: Life, _: object, now: float) -> None:
    """Nothing of the last instance is left that the next one could meet."""
    policy = life.policy
    due = max(life.ended_at + policy.backoff.delay(life.short_lives, life.jitter()), now)
    life.deadlines.clear()
    if not policy.intensity.allows(life.starts, due):
        life.enter(AppState.FATAL, Why.TOO_OFTEN)
        life.effects.append(Finish(EXIT_FATAL))
        return
    if policy.intensity.restarts is not None:
        life.starts = (*policy.intensity.recent(life.starts, due), due)
    if due <= now:
        life.start_next(Why.RESTART)
    else:
        life.deadlines[Timer.RESTART] = due
        life.enter(AppState.BACKOFF, Why.ENDED, delay=due - now)


def restart_due(life: Life, _: Timer, now: float) -> None:
    life.start_next(Why.BACKOFF_OVER)


# -- failures of an application that lives


def froze(life: Life, _: Froze, now: float) -> None:
    if Timer.SUSPENDING in life.deadlines:
        suspend(life)
        return
    if life.policy.interval:
        life.deadlines[Timer.FROZEN] = now + life.policy.interval
    life.enter(AppState.FROZEN, Why.FROZE)


def thawed(life: Life, _: Thawed, now: float) -> None:
    life.deadlines.pop(Timer.FROZEN, None)
    life.enter(AppState.RUNNING, Why.THAWED)


def frozen_too_long(life: Life, _: Timer, now: float) -> None:
    life.warn(Why.FROZEN_TOO_LONG, now)
    life.effects.append(Continue())  # a stopped process does not get a signal before it goes on


def failed(life: Life, event: Failed, now: float) -> None:
    """Somebody outside says so; what was said about an earlier instance is void."""
    if event.instance == life.instance:
        life.warn(Why.FAILED, now, event.why)
        life.effects.append(Continue())


def froze_on_its_way_out(life: Life, _: Froze, now: float) -> None:
    """It has been told to end, and cannot while it is stopped."""
    life.effects.append(Continue())


# -- ending


def stop(life: Life, event: StopAsked, now: float) -> None:
    held = life.state in (AppState.FROZEN, AppState.SUSPENDED)
    deadline = now + life.policy.stop_timeout
    life.deadlines = {Timer.KILL: min(deadline, life.deadlines.get(Timer.KILL, deadline))}
    life.enter(AppState.STOPPING, Why.STOP_ASKED)
    life.effects.append(Signal(life.policy.stop_signal_for(event.signal)))
    if held:
        life.effects.append(Continue())


def stop_again(life: Life, event: StopAsked, now: float) -> None:
    life.effects.append(Signal(life.policy.stop_signal_for(event.signal), Scope.MAIN if life.pid else Scope.REST))


def stop_between_instances(life: Life, event: StopAsked | Parting, now: float) -> None:
    """No process is there whose exit code could be told: that of a program ended by the signal stands for it."""
    nothing_exists = life.state is AppState.BACKOFF
    life.exit_code = EXIT_SIGNAL_BASE + event.signal
    life.enter(AppState.STOPPING, Why.STOP_ASKED)
    if nothing_exists:
        life.finish(life.exit_code)


def ended_as_asked(life: Life, event: Exited, now: float) -> None:
    life.pid, life.ending, life.left_behind = 0, event.ending, event.left_behind
    life.exit_code = event.ending.exit_code
    life.end_the_rest(now)


def all_ended(life: Life, _: TreeGone, now: float) -> None:
    life.finish(life.exit_code)


def kill_due(life: Life, _: Timer, now: float) -> None:
    if Timer.GIVE_UP not in life.deadlines:
        life.report(Why.OVERDUE)
    life.kill(now)


def main_is_unkillable(life: Life, _: Timer, now: float) -> None:
    """An application must never run twice: while its main process exists, nothing is started."""
    life.report(Why.UNKILLABLE)
    life.deadlines[Timer.GIVE_UP] = now + UNKILLABLE_SECONDS


def rest_is_unkillable(life: Life, _: Timer, now: float) -> None:
    life.report(Why.UNKILLABLE)
    cleared(life, None, now)


def leave_unkillable(life: Life, _: Timer, now: float) -> None:
    life.report(Why.UNKILLABLE)
    life.finish(EXIT_KILLED if life.pid else life.exit_code)


# -- signals and job control


def part(life: Life, event: Parting, now: float) -> None:
    life.parting = event
    life.deadlines[Timer.PARTING] = now + PARTING_SECONDS
    pass_on(life, event, now)


def part_between_instances(life: Life, event: Parting, now: float) -> None:
    if not event.only_if_killed:
        stop_between_instances(life, event, now)


def pass_on(life: Life, event: Passing | Parting | SuspendAsked, now: float) -> None:
    if isinstance(event, Passing) or event.pass_on:
        life.effects.append(Signal(event.signal))


def expect_suspension(life: Life, event: SuspendAsked, now: float) -> None:
    """The application decides whether it stops (an editor tidies the terminal first); sam-run follows it."""
    life.suspend_signal = event.signal
    life.deadlines[Timer.SUSPENDING] = now + SUSPEND_SECONDS
    pass_on(life, event, now)


def suspend_frozen(life: Life, event: SuspendAsked, now: float) -> None:
    """It has stopped already, or (SUSPENDED) the job was stopped again before its going on was noticed."""
    life.suspend_signal = event.signal
    suspend(life)


def suspend(life: Life) -> None:
    life.deadlines.pop(Timer.SUSPENDING, None)
    life.deadlines.pop(Timer.FROZEN, None)
    life.enter(AppState.SUSPENDED, Why.SUSPENDED)
    life.effects.append(Suspend(life.suspend_signal))


def suspend_alone(life: Life, event: SuspendAsked, now: float) -> None:
    life.effects.append(Suspend(event.signal))


def resume(life: Life, _: Resumed, now: float) -> None:
    life.enter(AppState.RUNNING, Why.RESUMED)
    life.effects.append(Continue())


def pass_continue(life: Life, _: Resumed, now: float) -> None:
    life.effects.append(Continue())


# -- the table

Reaction = Callable[[Life, Any, float], None]

STATES = (
    AppState.STARTING,
    AppState.RUNNING,
    AppState.FROZEN,
    AppState.SUSPENDED,
    AppState.WARNED,
    AppState.CLEARING,
    AppState.BACKOFF,
    AppState.STOPPING,
    AppState.STOPPED,
    AppState.FATAL,
)
"""The states of a life; ORPHANED and LOST are what the sam process says of one whose sam-run is gone."""

_STARTING, _RUNNING, _FROZEN, _SUSPENDED, _WARNED, _CLEARING, _BACKOFF, _STOPPING, _STOPPED, _FATAL = STATES
_ALIVE = (_RUNNING, _FROZEN, _SUSPENDED, _WARNED)
_BETWEEN = (_CLEARING, _BACKOFF)


def _row(kind: Any, *reactions: tuple[tuple[AppState, ...], Reaction]) -> dict[tuple[AppState, Any], Reaction]:
    """One event in every state; where no reaction is named it changes nothing."""
    named = {state: reaction for states, reaction in reactions for state in states}
    return {(state, kind): named.get(state, ignore) for state in STATES}


REACTIONS: dict[tuple[AppState, type[Any]], Reaction] = {
    **_row(Begin, ((_STOPPED, _FATAL), begin)),
    **_row(Spawned, ((_STARTING,), started), ((_STOPPING,), started_too_late)),
    **_row(NotSpawned, ((_STARTING,), not_started), ((_STOPPING,), not_started_any_more)),
    **_row(Exited, (_ALIVE, ended), ((_STOPPING,), ended_as_asked)),
    **_row(TreeGone, ((_CLEARING,), cleared), ((_STOPPING,), all_ended)),
    **_row(Froze, ((_RUNNING,), froze), ((_WARNED, _STOPPING), froze_on_its_way_out)),
    **_row(Thawed, ((_FROZEN, _SUSPENDED), thawed)),
    **_row(Failed, ((_RUNNING, _FROZEN), failed)),
    **_row(StopAsked, ((_STARTING, *_ALIVE), stop), (_BETWEEN, stop_between_instances), ((_STOPPING,), stop_again)),
    **_row(Parting, (_ALIVE, part), (_BETWEEN, part_between_instances), ((_STOPPING,), pass_on)),
    **_row(Passing, ((*_ALIVE, _STOPPING), pass_on)),
    **_row(
        SuspendAsked,
        ((_RUNNING,), expect_suspension),
        ((_FROZEN, _SUSPENDED), suspend_frozen),
        ((_BACKOFF,), suspend_alone),
    ),
    **_row(Resumed, ((_SUSPENDED,), resume), ((_RUNNING, _FROZEN, _WARNED, _STOPPING), pass_continue)),
}
"""What each event means in each state.  Total: a test proves it."""

EXPIRIES: dict[tuple[AppState, Timer], Reaction] = {
    **_row(Timer.STABLE),
    **_row(Timer.FROZEN, ((_FROZEN,), frozen_too_long)),
    **_row(Timer.KILL, ((_WARNED, _CLEARING, _STOPPING), kill_due)),
    **_row(
        Timer.GIVE_UP,
        ((_WARNED,), main_is_unkillable),
        ((_CLEARING,), rest_is_unkillable),
        ((_STOPPING,), leave_unkillable),
    ),
    **_row(Timer.RESTART, ((_BACKOFF,), restart_due)),
    **_row(Timer.PARTING),
    **_row(Timer.SUSPENDING),
}
"""What each deadline means in each state; where it means nothing, it is over by expiring."""
