"""What totemctl has ordered, and when that has come to its end.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ...ipc.messages.keeper import Outcome, Verb
from .app import App
from .plan import IDLE, Phase, to_run

ORDERS_MAX = 256
"""Orders that may be under way at the same time."""

Reply = Callable[[tuple[Outcome, ...]], None]


@dataclass(slots=True, eq=False)
class Order:
    """One order, and what is still to come of it."""

    verb: Verb
    open: dict[str, int]
    """The applications it is about, each with the instance it had; those that are settled are taken out."""
    reply: Reply
    along: frozenset[str] = frozenset()
    """Those of them that nobody has named: they require what is to stop, or what is to start requires them."""
    outcomes: list[Outcome] = field(default_factory=list)

    def look(self, apps: Mapping[str, App], runnable: set[str]) -> bool:
        """Settle what can be settled; whether nothing is open any more."""
        for name, instance in list(self.open.items()):
            app = apps.get(name)
            if app is None:
                verdict: tuple[bool, str] | None = (True, "")
            elif self.verb is Verb.STOP and name in self.along:
                verdict = _verdict_of_follower(app, name in runnable)
            else:
                verdict = _verdict(self.verb, app, instance, name in runnable)
            if verdict is not None:
                del self.open[name]
                if app is not None:
                    self.outcomes.append(Outcome(name, verdict[0], app.progress, verdict[1]))
        return not self.open


@dataclass(slots=True)
class Orders:
    """All that are under way."""

    orders: list[Order] = field(default_factory=list)

    def look(self, apps: Mapping[str, App]) -> None:
        """Reply to those that have come to their end."""
        if not self.orders:
            return
        runnable = to_run({name: app.standing for name, app in apps.items()})
        for order in [each for each in self.orders if each.look(apps, runnable)]:
            self.orders.remove(order)
            order.reply(tuple(order.outcomes))


def _verdict_of_follower(app: App, is_runnable: bool) -> tuple[bool, str] | None:
    """As `_verdict`, of one that stops because it requires what is stopped; it is wanted all the same."""
    requires = f"it requires {', '.join(app.entry.requires)}"
    if app.phase in IDLE:
        return True, requires
    return (False, f"{requires}, and somebody has started that again") if is_runnable else None


def _verdict(verb: Verb, app: App, instance: int, is_runnable: bool) -> tuple[bool, str] | None:
    """Whether it has gone well, and what is to be said about that; None: wait."""
    phase = app.phase
    if verb is Verb.STOP:
        if app.is_wanted:
            return False, "somebody has started it again"
        return (True, "") if phase in IDLE else None
    if not app.is_wanted:
        return False, "somebody has stopped it"
    if not is_runnable and phase in IDLE:
        return False, f"it requires {', '.join(app.entry.requires)}, and not all of them run"
    if phase is Phase.GIVEN_UP:
        return False, app.progress.detail or "it has failed"
    if verb is Verb.RESTART and (app.is_restarting or app.progress.instance <= instance):
        return None
    return (True, "") if phase in (Phase.UP, Phase.DONE) else None
