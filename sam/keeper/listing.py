"""The keeper's applications on the sam process's list, beside those of sam-runs."""

from __future__ import annotations

from ...executive.runtime.logging import Logger
from ...executive.runtime.rate import RateLimited
from ...ipc.messages.keeper import KeptApp, Turn
from ...ipc.messages.sam import AppState
from ..probe import Probe
from ..registry import App, Registry, how_it_began

LINES_SECONDS = 1.0
"""Of one application's restarts, at most one line in the log in so many seconds."""


class Listing:
    """Keeps the list in step with what the keeper says."""

    def __init__(self, registry: Registry, probe: Probe, log: Logger) -> None:
        self._registry = registry
        self._probe = probe
        self._log = log
        self._apps: dict[str, App] = {}
        self._lines: dict[str, RateLimited] = {}
        self._unseen: set[str] = set()
        """Applications whose process was not looked for yet."""

    def listed(self, kept: tuple[KeptApp, ...], keeper_pid: int) -> None:
        """These are all, and the keeper's pid."""
        for name in self._apps.keys() - {each.name for each in kept}:
            self._lines.pop(name, None)
            self._registry.release(self._apps.pop(name))
        runner = self._probe.find(keeper_pid) if keeper_pid else None
        for each in kept:
            app = self._apps.get(each.name)
            if app is None:
                app = App(each.name, each.policy, each.interval_ms / 1000, keeper_pid, each.progress)
                self._apps[each.name] = app
                self._lines[each.name] = RateLimited(LINES_SECONDS)
                if not self._registry.declare(app):
                    self._log.warning("a declared application has the name of one that a sam-run keeps", app=each.name)
            app.policy, app.interval, app.runner_pid, app.runner = (
                each.policy,
                each.interval_ms / 1000,
                keeper_pid,
                runner,
            )
            app.limits = each.limits
            self._turn(app, Turn(each.name, each.progress), now=0.0, is_news=False)

    def turned(self, turn: Turn, now: float) -> None:
        """The life of one took a turn."""
        if (app := self._apps.get(turn.name)) is not None:
            self._turn(app, turn, now, is_news=True)

    def look(self) -> None:
        """Find the processes of those that were started meanwhile, so that they are looked at as all others."""
        for name in self._unseen:
            app = self._apps.get(name)
            if app is not None and app.progress.pid:
                app.process = self._probe.find(app.progress.pid)
        self._unseen.clear()

    def _turn(self, app: App, turn: Turn, now: float, *, is_news: bool) -> None:
        before, progress = app.progress, turn.progress
        self._registry.turn(app, progress, None)
        self._unseen.add(app.name)
        if not is_news:
            return
        facts = {"app": app.name, "instance": progress.instance, "pid": progress.pid}
        if progress.state is AppState.FATAL and before.state is not AppState.FATAL:
            self._log.err("given up", because=progress.detail, **facts)
        elif (began := how_it_began(before, progress)) is not None:
            if (unsaid := self._lines[app.name].admit(now)) is not None:
                event, why = began
                more = {"unsaid": unsaid} if unsaid else {}
                self._log.notice(event, **facts, **why, **more)
        elif progress.state is not before.state:
            self._log.debug("turn", state=progress.state.value, **facts)
