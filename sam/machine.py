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
      quorum needed, and none: WAITING instead of STARTING, until it is there
```

What the application itself may say, and when, is a second table beside this one: `calls.py`.

No clock, no process, no signal and no chance of its own: times are seconds of one monotonic clock, handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ipc.messages.sam import AppState
from . import calls
from . import reactions as react
from .events import (
    Begin,
    Called,
    Effect,
    Event,
    Exited,
    Failed,
    Froze,
    NotSpawned,
    Parting,
    Passing,
    QuorumChanged,
    Resumed,
    Spawned,
    StopAsked,
    SuspendAsked,
    Thawed,
    Timer,
    TreeGone,
)
from .life import Life
from .policy import Policy


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


# -- the table

Reaction = Callable[[Life, Any, float], None]

STATES = (
    AppState.WAITING,
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

_WAITING, _STARTING, _RUNNING, _FROZEN, _SUSPENDED, _WARNED, _CLEARING, _BACKOFF, _STOPPING, _STOPPED, _FATAL = STATES
_ALIVE = (_RUNNING, _FROZEN, _SUSPENDED, _WARNED)
_BETWEEN = (_WAITING, _CLEARING, _BACKOFF)


def _row(kind: Any, *reactions: tuple[tuple[AppState, ...], Reaction]) -> dict[tuple[AppState, Any], Reaction]:
    """One event in every state; where no reaction is named it changes nothing."""
    named = {state: reaction for states, reaction in reactions for state in states}
    return {(state, kind): named.get(state, react.ignore) for state in STATES}


REACTIONS: dict[tuple[AppState, type[Any]], Reaction] = {
    **_row(Begin, ((_STOPPED, _FATAL), react.begin)),
    **_row(Spawned, ((_STARTING,), react.started), ((_STOPPING,), react.started_too_late)),
    **_row(NotSpawned, ((_STARTING,), react.not_started), ((_STOPPING,), react.not_started_any_more)),
    **_row(Exited, (_ALIVE, react.ended), ((_STOPPING,), react.ended_as_asked)),
    **_row(TreeGone, ((_CLEARING,), react.cleared), ((_STOPPING,), react.all_ended)),
    **_row(Froze, ((_RUNNING,), react.froze), ((_WARNED, _STOPPING), react.froze_on_its_way_out)),
    **_row(Thawed, ((_FROZEN, _SUSPENDED), react.thawed)),
    **_row(Failed, ((_RUNNING, _FROZEN), react.failed)),
    **_row(
        StopAsked,
        ((_STARTING, *_ALIVE), react.stop),
        (_BETWEEN, react.stop_between_instances),
        ((_STOPPING,), react.stop_again),
    ),
    **_row(Parting, (_ALIVE, react.part), (_BETWEEN, react.part_between_instances), ((_STOPPING,), react.pass_on)),
    **_row(Passing, ((*_ALIVE, _STOPPING), react.pass_on)),
    **_row(
        SuspendAsked,
        ((_RUNNING,), react.expect_suspension),
        ((_FROZEN, _SUSPENDED), react.suspend_frozen),
        ((_WAITING, _BACKOFF), react.suspend_alone),
    ),
    **_row(Resumed, ((_SUSPENDED,), react.resume), ((_RUNNING, _FROZEN, _WARNED, _STOPPING), react.pass_continue)),
    **_row(
        Called,
        ((*_ALIVE, _STOPPING), calls.called),
        ((_WAITING, _STARTING, *_BETWEEN, _STOPPED, _FATAL), calls.refuse_without_instance),
    ),
    **_row(
        QuorumChanged,
        ((_WAITING,), react.quorum_before_start),
        (_ALIVE, react.quorum_while_alive),
        ((_STARTING, _CLEARING, _BACKOFF, _STOPPING, _STOPPED, _FATAL), react.note_quorum),
    ),
}
"""What each event means in each state.  Total: a test proves it."""

EXPIRIES: dict[tuple[AppState, Timer], Reaction] = {
    **_row(Timer.SILENT, ((_RUNNING, _FROZEN), react.silent_too_long)),
    **_row(Timer.ASK, (_ALIVE, calls.ask)),
    **_row(Timer.STABLE),
    **_row(Timer.FROZEN, ((_FROZEN,), react.frozen_too_long)),
    **_row(Timer.KILL, ((_WARNED, _CLEARING, _STOPPING), react.kill_due)),
    **_row(
        Timer.GIVE_UP,
        ((_WARNED,), react.main_is_unkillable),
        ((_CLEARING,), react.rest_is_unkillable),
        ((_STOPPING,), react.leave_unkillable),
    ),
    **_row(Timer.RESTART, ((_BACKOFF,), react.restart_due)),
    **_row(Timer.PARTING),
    **_row(Timer.SUSPENDING),
}
"""What each deadline means in each state; where it means nothing, it is over by expiring."""
