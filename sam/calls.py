"""What an application may ask of its keeper, and when: a table (stage, message) -> reaction.

```
                 Enrol               StartWatch [quorate]
   unregistered ───────> registered ─────────────────────────────────> watched
                           ^    │   StartWatch [not quorate]              │
                           │    └───────────────────────> waiting ──────>─┤ quorum
                           └──────────────── StopWatch ───────┴───────────┘
```

The stages are those of one instance; each begins unregistered.  Where a message has no reaction it is refused, and the
text says what would come first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ..ipc.errors import InvalidArgument, TotemdError, WrongState
from ..ipc.messages.common import Done, refusal
from ..ipc.messages.sam import AppState
from ..ipc.messages.sam_app import (
    AskMe,
    Beat,
    Check,
    Enrol,
    Enrolled,
    MarkFailed,
    Restore,
    SetWarnSignal,
    StartWatch,
    StopWatch,
    Store,
    Stored,
)
from .events import Answer, Called, Caller, Timer, WatchQuorum, Why
from .life import ALIVE, Life, Stage
from .policy import Quorum, Words

CHECKS_PER_INTERVAL = 4
"""As often as corosync's library beats for an event driven application; each fourth check is a full one."""

INSTANCE_ENDED = "this instance of the application has ended"

Reaction = Callable[[Life, Any, Called, float], None]


def called(life: Life, event: Called, now: float) -> None:
    """The application says something; that in itself is a sign of life."""
    life.sign_of_life(now)
    try:
        CALLS[life.stage, type(event.message)](life, event.message, event, now)
    except TotemdError as error:
        answer(life, event.caller, refusal(error, event.caller.request))


def answer(life: Life, caller: Caller, message: msgspec.Struct) -> None:
    """Have something sent to the caller."""
    life.effects.append(Answer(caller, message))


def done(life: Life, caller: Caller) -> None:
    """Tell the caller that it has what it wanted."""
    answer(life, caller, Done(caller.request))


def refuse(life: Life, message: msgspec.Struct, event: Called, now: float) -> None:
    """It does not fit to what was called before."""
    first = _COMES_FIRST.get((life.stage, type(message)), _COMES_FIRST_OF_ALL)
    raise WrongState(f"an application that is {life.stage.value} cannot do this; {first}")


_COMES_FIRST_OF_ALL = "it has to register first"
_COMES_FIRST: dict[tuple[Stage, type[Any]], str] = {
    **{(stage, Enrol): "it has registered already" for stage in Stage},
    (Stage.WAITING, StartWatch): "it has asked to be watched already",
    (Stage.WATCHED, StartWatch): "it is watched already: `stop` would come first",
    (Stage.WATCHED, AskMe): "checks are asked for before `start`",
    (Stage.WAITING, AskMe): "checks are asked for before `start`",
    (Stage.REGISTERED, StopWatch): "it is not watched: `start` would come first",
}


def refuse_without_instance(life: Life, event: Called, now: float) -> None:
    """Something speaks for an instance that has ended."""
    if not isinstance(event.message, Beat):
        answer(life, event.caller, refusal(WrongState(INSTANCE_ENDED), event.caller.request))


def overhear(life: Life, message: Beat, event: Called, now: float) -> None:
    """A sign of life of somebody who is not watched, or one that was counted already."""


def enrol(life: Life, message: Enrol, event: Called, now: float) -> None:
    words = life.policy.words if message.policy is None else Words.parse(message.policy)
    interval = None if message.interval_ms is None else message.interval_ms / 1000
    life.policy = life.policy.as_asked(words, interval)
    for timer in (Timer.SILENT, Timer.ASK):
        life.deadlines.pop(timer, None)
    life.stage, life.enrolled, life.waiting, life.asked = Stage.REGISTERED, event.caller, None, None
    if words.quorum:
        life.effects.append(WatchQuorum())
    life.report(Why.ENROLLED)
    interval_ms = round(life.policy.interval * 1000)
    answer(life, event.caller, Enrolled(event.caller.request, life.instance, interval_ms, str(life.policy.words)))


def enrol_again(life: Life, message: Enrol, event: Called, now: float) -> None:
    """A process that has become another program (exec) begins anew; what it had said before is void."""
    before = life.enrolled
    if before is None or before.pid != event.caller.pid or before.session == event.caller.session:
        refuse(life, message, event, now)
    if life.waiting is not None:
        gave_up(life)
    enrol(life, message, event, now)


def start_watch(life: Life, message: StartWatch, event: Called, now: float) -> None:
    if life.policy.quorum is Quorum.IGNORED or life.quorate:
        watch(life, event.caller, now)
    elif life.no_quorum:
        raise InvalidArgument(life.no_quorum)
    else:
        life.stage, life.waiting = Stage.WAITING, event.caller
        life.report(Why.NOT_QUORATE)


def watch(life: Life, caller: Caller, now: float) -> None:
    """Be watched from now on."""
    life.stage, life.waiting = Stage.WATCHED, None
    life.expect_sign(now)
    if life.asked is not None:
        expect_check(life, now)
    life.report(Why.WATCHED)
    done(life, caller)


def quorum_came(life: Life, now: float) -> None:
    """Whoever waits for quorum is watched now."""
    if life.waiting is not None:
        watch(life, life.waiting, now)


def quorum_never_comes(life: Life) -> None:
    """Whoever waits for quorum is told that it would wait for ever."""
    if life.waiting is not None:
        life.stage, caller, life.waiting = Stage.REGISTERED, life.waiting, None
        answer(life, caller, refusal(InvalidArgument(life.no_quorum), caller.request))


def stop_watch(life: Life, message: StopWatch, event: Called, now: float) -> None:
    if life.waiting is not None:
        gave_up(life)
    life.stage = Stage.REGISTERED
    for timer in (Timer.SILENT, Timer.ASK):
        life.deadlines.pop(timer, None)
    life.report(Why.UNWATCHED)
    done(life, event.caller)


def gave_up(life: Life) -> None:
    """Who waits for quorum is told that somebody has called it off."""
    assert life.waiting is not None
    caller, life.waiting = life.waiting, None
    answer(life, caller, refusal(WrongState("the application was stopped meanwhile"), caller.request))


def ask_me(life: Life, message: AskMe, event: Called, now: float) -> None:
    if not life.policy.interval:
        raise InvalidArgument("health checks need an interval above 0")
    life.asked, life.checks = event.caller, 0
    done(life, event.caller)


def replace_asked(life: Life, message: AskMe, event: Called, now: float) -> None:
    """Who is asked already may name another of its connections."""
    if life.asked is None:
        refuse(life, message, event, now)
    life.asked = event.caller
    done(life, event.caller)


def expect_check(life: Life, now: float) -> None:
    """Ask after the next quarter of the interval."""
    life.deadlines[Timer.ASK] = now + life.policy.interval / CHECKS_PER_INTERVAL


def ask(life: Life, _: Timer, now: float) -> None:
    """Ask the application how it is."""
    if life.asked is None or life.stage is not Stage.WATCHED:
        return
    life.checks += 1
    answer(life, life.asked, Check(full=life.checks % CHECKS_PER_INTERVAL == 0))
    expect_check(life, now)


def set_warn_signal(life: Life, message: SetWarnSignal, event: Called, now: float) -> None:
    life.policy = life.policy.warning_by(message.signal)
    done(life, event.caller)


def store(life: Life, message: Store, event: Called, now: float) -> None:
    life.stored = message.data
    done(life, event.caller)


def restore(life: Life, message: Restore, event: Called, now: float) -> None:
    answer(life, event.caller, Stored(event.caller.request, life.stored))


def mark_failed(life: Life, message: MarkFailed, event: Called, now: float) -> None:
    """Nothing withdraws this, not even a stop that is under way."""
    if not life.policy.cmap:
        raise InvalidArgument("only an application with +cmap in its policy can mark itself as failed")
    done(life, event.caller)
    life.marked = life.failed = True
    if life.state in ALIVE:
        life.deadlines.clear()
        life.enter(AppState.STOPPING, Why.MARKED_FAILED)
    life.kill(now)


_UNREGISTERED, _REGISTERED, _WAITING, _WATCHED = Stage
_ENROLLED = (_REGISTERED, _WAITING, _WATCHED)


def _row(kind: Any, *reactions: tuple[tuple[Stage, ...], Reaction]) -> dict[tuple[Stage, Any], Reaction]:
    """One message in every stage; where no reaction is named it is refused."""
    named = {stage: reaction for stages, reaction in reactions for stage in stages}
    return {(stage, kind): named.get(stage, refuse) for stage in Stage}


CALLS: dict[tuple[Stage, type[Any]], Reaction] = {
    **_row(Enrol, ((_UNREGISTERED,), enrol), (_ENROLLED, enrol_again)),
    **_row(StartWatch, ((_REGISTERED,), start_watch)),
    **_row(StopWatch, ((_WAITING, _WATCHED), stop_watch)),
    **_row(Beat, (tuple(Stage), overhear)),
    **_row(AskMe, ((_REGISTERED,), ask_me), ((_WAITING, _WATCHED), replace_asked)),
    **_row(SetWarnSignal, (_ENROLLED, set_warn_signal)),
    **_row(Store, (_ENROLLED, store)),
    **_row(Restore, (_ENROLLED, restore)),
    **_row(MarkFailed, (_ENROLLED, mark_failed)),
}
"""What each message means in each stage.  Total: a test proves it."""
