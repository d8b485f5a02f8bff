"""All applications of a keeper: carries out what the plan says, and remembers for the successor."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable, Mapping

from ...executive.config.model import AppEntry
from ...ipc.errors import InvalidArgument, NotFound, TryAgain
from ...ipc.messages.keeper import Declared, KeptApp, Turn, Verb
from ...ipc.messages.sam import AppState
from ..orphans import Orphan
from ..probe import kill_all
from ..supervision import Supervised
from .adopt import Traces, is_still
from .app import App, in_full
from .making import Maker
from .orders import ORDERS_MAX, Order, Orders, Reply
from .plan import (
    IDLE,
    Phase,
    difference,
    members,
    next_steps,
    runs_alike,
    to_run,
    waits_for,
    with_required,
    with_requiring,
)
from .record import KeptEntry, LastSeen, Mark, Record

MARKS = {Phase.DOWN: Mark.FREE, Phase.DONE: Mark.DONE, Phase.GIVEN_UP: Mark.GIVEN_UP}
"""What is remembered of an application that has come to its end."""


class Keeper:
    """The parent of many.  Its owner makes it a subreaper, and calls `reap` on every SIGCHLD."""

    def __init__(
        self, maker: Maker, record: Record, *, turned: Callable[[str], None], listed: Callable[[], None]
    ) -> None:
        """*turned* is told of every turn of a life, *listed* when there are other applications than before."""
        self._loop = asyncio.get_running_loop()
        self._maker = maker
        self._record = record
        self._turned = turned
        self._listed = listed
        self.apps: dict[str, App] = {}
        self._phases: dict[str, Phase] = {}
        self._planning: asyncio.Handle | None = None
        self._orders = Orders()
        self._leaving: list[Callable[[], None]] = []

    # -- what is declared

    def inherit(self, found: Iterable[tuple[KeptEntry, LastSeen]]) -> None:
        """Go on with what an earlier keeper has left."""
        for kept, seen in found:
            app = App(kept.entry, kept.entry, kept.is_wanted, instances=seen.instance)
            self.apps[kept.entry.name] = app
            if seen.mark in (Mark.STARTING, Mark.RUNNING):
                self._take_over(app, seen)
            else:
                app.outcome = next(phase for phase, mark in MARKS.items() if mark is seen.mark)
        self._remember()
        self._plan_soon()

    def declare(self, entries: tuple[AppEntry, ...]) -> Declared:
        """These are the applications now: unchanged ones go on, changed ones are restarted, others come and go."""
        if self._leaving:
            raise TryAgain("the keeper is ending all applications")
        declared = {entry.name: entry for entry in entries}
        change = difference((app.declared for app in self.apps.values() if app.declared is not None), entries)
        for name in change.added:
            if (app := self.apps.get(name)) is not None:  # it was taken away, and has not ended yet
                app.declared, app.is_wanted = declared[name], declared[name].autostart
            else:
                self.apps[name] = App(declared[name], declared[name], declared[name].autostart)
        for name in change.removed:
            self.apps[name].declared = None
        for name in (*change.changed, *change.reordered):
            app = self.apps[name]
            app.is_wanted |= declared[name].autostart and not (app.declared or app.entry).autostart
            app.declared = declared[name]
        started = tuple(name for name in change.added if self.apps[name].is_wanted)
        restarted = tuple(name for name in change.changed if self.apps[name].phase not in IDLE)
        stopped = tuple(name for name in change.removed if self.apps[name].phase not in IDLE)
        for app in list(self.apps.values()):
            self._renew(app)
        self._remember()
        self._listed()
        self._plan_soon()
        return Declared(0, started, restarted, stopped)

    def _renew(self, app: App) -> None:
        """Let what is declared be what runs, as far as nothing has to end first."""
        name = app.entry.name
        if app.declared is not None and (runs_alike(app.entry, app.declared) or app.phase in IDLE):
            if not runs_alike(app.entry, app.declared):
                self._forget_life(app)
            app.entry = app.declared
        elif app.declared is None and app.phase in IDLE:
            self._forget_life(app)
            del self.apps[name]
            self._phases.pop(name, None)

    def _forget_life(self, app: App) -> None:
        app.instances = app.progress.instance
        app.outcome, app.detail = Phase.DOWN, ""
        if app.supervised is not None:
            app.supervised.close()
            app.supervised = None

    def _remember(self) -> None:
        self._record.declare((app.entry, app.standing.is_wanted) for app in self.apps.values())

    # -- what is ordered

    def order(self, verb: Verb, names: Iterable[str], reply: Reply) -> None:
        """Start, stop or restart; *reply* is called when that has come to its end.

        Raises:
            NotFound: a name is neither an application nor a group.
            TryAgain: too many orders are under way, or the node stops.
        """
        if len(self._orders.orders) >= ORDERS_MAX or self._leaving:
            raise TryAgain(
                "the keeper is ending all applications" if self._leaving else "too many orders are under way"
            )
        named = self.named(names)
        if not named:
            raise InvalidArgument("an application or a group has to be named")
        entries = self._declared()
        along = self._along(verb, named, entries)
        concerned = {name: self.apps[name].progress.instance for name in (*named, *sorted(along))}
        order = Order(verb, concerned, reply, along)
        for name in named if verb is Verb.STOP else with_required(named, entries):
            app = self.apps[name]
            app.is_wanted = verb is not Verb.STOP
            if app.phase in (Phase.GIVEN_UP, Phase.DONE):
                if verb is not Verb.STOP:
                    self._forget_life(app)
            elif verb is Verb.RESTART and name in named and app.phase is not Phase.DOWN:
                app.is_restarting = True
        self._remember()
        self._orders.orders.append(order)
        self._plan_soon()

    def _along(self, verb: Verb, named: list[str], entries: Mapping[str, AppEntry]) -> frozenset[str]:
        """Who is not named by an order, and stops or starts by it all the same."""
        others = with_requiring(named, entries) if verb is Verb.STOP else with_required(named, entries)
        return frozenset(
            name for name in others - set(named) if (self.apps[name].phase in IDLE) is (verb is not Verb.STOP)
        )

    def named(self, names: Iterable[str]) -> list[str]:
        """The applications that are meant by names of applications and groups; raises `NotFound`."""
        found, unknown = members(names, self._declared())
        if unknown:
            known = ", ".join(
                sorted({*self.apps, *(group for app in self.apps.values() for group in app.entry.groups)})
            )
            raise NotFound(f"no application or group is declared as {', '.join(unknown)}; there are: {known or 'none'}")
        return list(found)

    def _declared(self) -> dict[str, AppEntry]:
        return {name: app.declared for name, app in self.apps.items() if app.declared is not None}

    def failed(self, name: str, instance: int, why: str) -> None:
        """Somebody sees from outside that an instance has failed."""
        app = self.apps.get(name)
        if app is not None and app.supervised is not None:
            app.supervised.failed(instance, why)

    def leave(self, left: Callable[[], None]) -> None:
        """End everything in order; *left* is called when nothing is left, and nothing is left for a successor."""
        self._leaving.append(left)
        for app in self.apps.values():
            app.is_wanted = False
        self._plan_soon()

    # -- what is told

    def in_full(self, names: Iterable[str] = ()) -> tuple[KeptApp, ...]:
        """Applications in full, sorted by name; all, if none is named."""
        wanted = self.named(names) or self.apps
        return tuple(in_full(self.apps[name], *self._maker.told(self.apps[name].entry)) for name in sorted(wanted))

    def turn(self, name: str) -> Turn | None:
        """Where an application stands; None if it is gone."""
        app = self.apps.get(name)
        return None if app is None else Turn(name, app.progress)

    # -- acting

    def happened(self, app: App) -> None:
        """An application's life took a turn."""
        name = app.entry.name
        app.note_turn()
        phase = app.phase
        if self._phases.get(name) is not phase:
            self._phases[name] = phase
            self._plan_soon()
        elif self._orders.orders:
            self._plan_soon()
        self._turned(name)

    def finished(self, app: App, code: int) -> None:
        """An application's life is over: it was asked to end, its policy lets it go, or it is given up."""
        assert app.supervised is not None
        progress = app.supervised.progress
        asked = app.is_told_to_end
        app.is_restarting = app.is_adopted = app.is_told_to_end = False
        if progress.state is AppState.FATAL:
            app.outcome = Phase.GIVEN_UP
        elif asked:
            app.outcome = Phase.DOWN
        else:
            app.outcome = Phase.DONE if code == 0 else Phase.GIVEN_UP
        app.detail = progress.detail
        self._record.write(app.entry.name, MARKS[app.outcome], progress.instance)
        self.happened(app)

    def _plan_soon(self) -> None:
        """Once for all that happens in this turn of the loop."""
        if self._planning is None:
            self._planning = self._loop.call_soon(self._carry_out_plan)

    def _carry_out_plan(self) -> None:
        self._planning = None
        before = len(self.apps)
        for app in list(self.apps.values()):
            self._renew(app)
        if len(self.apps) != before:
            self._remember()
            self._listed()
        standings = {name: app.standing for name, app in self.apps.items()}
        steps = next_steps(standings)
        running = to_run(standings)
        for name, app in self.apps.items():
            waits = waits_for(name, standings, running) if name in running and app.phase is Phase.DOWN else ()
            if waits != app.waits:
                app.waits = waits
                app.note_turn()
                self._turned(name)
        for name in steps.stop:
            self._stop(self.apps[name])
        for name in steps.start:
            self._start(self.apps[name])
        self._orders.look(self.apps)
        if self._leaving and all(app.phase in IDLE for app in self.apps.values()):
            self._record.declare(())
            for left in self._leaving:
                left()
            self._leaving.clear()

    def _start(self, app: App) -> None:
        app.waits = ()
        if app.supervised is None:
            app.supervised = self._make(app)
        if app.supervised is not None:
            app.is_told_to_end, restarts = False, app.restarts
            app.supervised.begin()
            app.restarts = restarts  # this one was asked for

    def _make(self, app: App, found: Orphan | None = None) -> Supervised | None:
        try:
            return self._maker.make(app, self, found)
        except InvalidArgument as error:
            app.outcome, app.detail = Phase.GIVEN_UP, str(error)
            self.happened(app)
            return None

    def _stop(self, app: App) -> None:
        app.is_told_to_end = True
        if app.supervised is not None:
            app.supervised.stop(signal.SIGTERM)

    def _take_over(self, app: App, seen: LastSeen) -> None:
        """Go on with the process of the instance that was last seen; what one that has ended left behind is ended."""
        traces = Traces(app.entry.name, seen.instance, self._maker.shared.run_dir)
        pid = seen.pid if is_still(seen.pid, seen.earliest, seen.latest) else 0
        if seen.mark is Mark.STARTING:
            pid = traces.main()
        orphan = self._maker.found(app.entry.name, seen.instance, pid) if pid else None
        if orphan is None:
            kill_all(lambda: self._maker.shared.probe.trees(traces.left_behind(seen.pid)))
            return
        app.supervised = self._make(app, orphan)
        if app.supervised is None:
            return
        app.supervised.begin()
        app.is_adopted, app.restarts = True, 0
