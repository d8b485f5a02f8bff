"""What each event and each deadline does to a life; which does what, and when, is the table in `machine.py`."""

from __future__ import annotations

import math

from ..ipc.messages.sam import AppState
from . import calls
from .events import (
    EXIT_SIGNAL_BASE,
    Begin,
    Continue,
    Ending,
    Exited,
    Failed,
    Finish,
    Froze,
    NotSpawned,
    Parting,
    Passing,
    QuorumChanged,
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
from .launch import EXIT_FAILED
from .life import EXIT_FATAL, UNKILLABLE_SECONDS, Life, Stage
from .policy import Recovery

EXIT_KILLED = EXIT_SIGNAL_BASE + 9
"""Exit code for an application that not even SIGKILL has ended: it is in the kernel's hands."""

PARTING_SECONDS = 10.0
"""How long after a Ctrl-C or its like the application's end is taken for what the user wanted."""

OVERSLEPT_SECONDS = 0.25
"""A keeper that looks so late at who was silent has been away itself, and what was said meanwhile may be on its way."""

SUSPEND_SECONDS = 2.0
"""How long after job control has asked for it an application's stopping still counts as obedience."""


def ignore(life: Life, event: object, now: float) -> None:
    """It changes nothing; the table says so on purpose."""


# -- starting


def begin(life: Life, _: Begin, now: float) -> None:
    life.starts, life.short_lives, life.ending, life.marked = (), 0, None, False
    life.start_next(Why.ASKED)


def started(life: Life, event: Spawned, now: float) -> None:
    life.pid = event.pid
    life.deadlines[Timer.STABLE] = now + life.policy.start_period
    life.enter(AppState.RUNNING, Why.SPAWNED)


def quorum_before_start(life: Life, event: QuorumChanged, now: float) -> None:
    note_quorum(life, event, now)
    if event.quorate:
        life.start_next(Why.ASKED if life.instance == 0 else Why.RESTART)
    elif event.problem and life.instance == 0:
        life.report(Why.CANNOT_START, text=event.problem)
        life.failed = True
        life.finish(EXIT_FAILED)
    elif event.problem:  # votes have been counted here before, and may be again once the node's configuration is mended
        life.report(Why.NOT_QUORATE, text=event.problem)


def not_started(life: Life, event: NotSpawned, now: float) -> None:
    """The first instance shows whether the command is right at all; later ones may miss it during an upgrade."""
    life.report(Why.CANNOT_START, text=event.reason)
    if life.instance == 1:
        life.failed = True
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
    at_will = life.stage in (Stage.REGISTERED, Stage.WAITING) and life.state is not AppState.WARNED
    done = life.state is not AppState.WARNED and was_done(life, event.ending)
    life.short_lives = life.short_lives + 1 if short else 0
    life.pid, life.ending, life.ended_at, life.left_behind = 0, event.ending, now, event.left_behind
    life.waiting = life.asked = None
    life.deadlines.clear()
    if parted or at_will or done or life.policy.recovery is Recovery.QUIT:
        life.exit_code = event.ending.exit_code
        life.failed = not (parted or at_will or done) and (life.state is AppState.WARNED or life.exit_code != 0)
        why = Why.PARTED if parted else Why.AT_WILL if at_will else Why.DONE if done else Why.ENDED
        life.enter(AppState.STOPPING, why)
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


def was_done(life: Life, ending: Ending) -> bool:
    """Whether an application that ended like this by itself means that it has done its work."""
    return not ending.signal and ending.is_known and ending.code in life.policy.done_codes


def cleared(life: Life, _: object, now: float) -> None:
    """Nothing of the last instance is left that the next one could meet."""
    policy = life.policy
    if life.lost_quorum:  # that was not its fault
        life.start_next(Why.RESTART)
        return
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
    held = life.state is AppState.SUSPENDED
    life.enter(AppState.RUNNING, Why.THAWED)
    if held:  # nothing was expected of it meanwhile
        life.expect_sign(now)


def frozen_too_long(life: Life, _: Timer, now: float) -> None:
    life.warn(Why.FROZEN_TOO_LONG, now)
    life.effects.append(Continue())  # a stopped process does not get a signal before it goes on


def failed(life: Life, event: Failed, now: float) -> None:
    """Somebody outside says so; what was said about an earlier instance is void."""
    if event.instance == life.instance:
        life.warn(Why.FAILED, now, event.why)
        life.effects.append(Continue())


def silent_too_long(life: Life, _: Timer, now: float) -> None:
    if now - life.sign_due > OVERSLEPT_SECONDS and not life.overslept:
        life.overslept = True
        life.deadlines[Timer.SILENT] = now + OVERSLEPT_SECONDS
        return
    life.was_silent = True
    life.warn(Why.SILENT, now)
    life.effects.append(Continue())


def quorum_while_alive(life: Life, event: QuorumChanged, now: float) -> None:
    note_quorum(life, event, now)
    if not event.quorate and life.needs_quorum and life.state is not AppState.WARNED:
        life.lost_quorum = True
        life.warn(Why.QUORUM_LOST, now)
        life.effects.append(Continue())


def note_quorum(life: Life, event: QuorumChanged, now: float) -> None:
    life.quorate, life.no_quorum = event.quorate, event.problem
    if event.quorate:
        calls.quorum_came(life, now)
    elif event.problem:
        calls.quorum_never_comes(life)


def froze_on_its_way_out(life: Life, _: Froze, now: float) -> None:
    """It has been told to end, and cannot while it is stopped."""
    life.effects.append(Continue())


# -- ending


def stop(life: Life, event: StopAsked, now: float) -> None:
    held = life.state in (AppState.FROZEN, AppState.SUSPENDED)
    deadline = now + min(life.policy.stop_timeout, event.within)
    life.deadlines = {Timer.KILL: min(deadline, life.deadlines.get(Timer.KILL, deadline))}
    life.enter(AppState.STOPPING, Why.STOP_ASKED)
    life.effects.append(Signal(life.policy.stop_signal_for(event.signal)))
    if held:
        life.effects.append(Continue())


def stop_again(life: Life, event: StopAsked, now: float) -> None:
    if event.within < math.inf:
        life.deadlines[Timer.KILL] = min(life.deadlines.get(Timer.KILL, math.inf), now + event.within)
    life.effects.append(Signal(life.policy.stop_signal_for(event.signal), Scope.MAIN if life.pid else Scope.REST))


def stop_between_instances(life: Life, event: StopAsked | Parting, now: float) -> None:
    """No process is there whose exit code could be told: that of a program ended by the signal stands for it."""
    nothing_exists = life.state in (AppState.BACKOFF, AppState.WAITING)
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
    for timer in (Timer.SUSPENDING, Timer.FROZEN, Timer.SILENT):
        life.deadlines.pop(timer, None)
    life.enter(AppState.SUSPENDED, Why.SUSPENDED)
    life.effects.append(Suspend(life.suspend_signal))


def suspend_alone(life: Life, event: SuspendAsked, now: float) -> None:
    life.effects.append(Suspend(event.signal))


def resume(life: Life, _: Resumed, now: float) -> None:
    life.enter(AppState.RUNNING, Why.RESUMED)
    life.expect_sign(now)
    life.effects.append(Continue())


def pass_continue(life: Life, _: Resumed, now: float) -> None:
    life.effects.append(Continue())
