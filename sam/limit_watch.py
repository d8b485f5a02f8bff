"""Takes samples of applications that have limits: one look at the machine serves all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from . import procstat
from .limits import LimitJudge, Usage, is_limited, sample_seconds
from .procstat import ENDED, Stat
from .registry import App

SHARE_MAX = 0.01
"""At most this share of a processor is spent on samples: with many processes the pauses grow."""


IDLE_SECONDS = 1.0
"""So often it is looked whether there are applications with limits."""


class LimitWatch:
    """Watches as long as there is something to be watched."""

    def __init__(self, apps: Callable[[], Iterable[App]], exceeded: Callable[[App, str], None]) -> None:
        """*apps* returns those whose process is watched; *exceeded* is told of an instance once."""
        self._apps = apps
        self._exceeded = exceeded
        self._loop = asyncio.get_running_loop()
        self._judges: dict[App, LimitJudge] = {}
        self._told: dict[App, int] = {}
        self.took = 0.0
        """Seconds of processor time that the last look took."""
        self._timer = self._loop.call_later(IDLE_SECONDS, self._look)

    def close(self) -> None:
        """Watch no more."""
        self._timer.cancel()

    def _look(self) -> None:
        began, used = self._loop.time(), time.process_time()
        limited = [app for app in self._apps() if is_limited(app.limits)]
        self._judges = {app: self._judge_of(app) for app in limited}
        self._told = {app: instance for app, instance in self._told.items() if app in self._judges}
        if limited:
            self._look_at(limited, began)
        self.took = time.process_time() - used
        pause = min((sample_seconds(app.limits.window_seconds) for app in limited), default=IDLE_SECONDS)
        self._timer = self._loop.call_later(max(pause, self.took / SHARE_MAX) - self.took, self._look)

    def _judge_of(self, app: App) -> LimitJudge:
        judge = self._judges.get(app)
        return judge if judge is not None and judge.limits == app.limits else LimitJudge(app.limits)

    def _look_at(self, apps: list[App], now: float) -> None:
        everybody = procstat.everybody()
        children: dict[int, list[int]] = {}
        for pid, stat in everybody.items():
            children.setdefault(stat.parent, []).append(pid)
        for app in apps:
            instance = app.progress.instance
            if self._told.get(app) == instance:
                continue
            # What its main process has left behind is its sam-run's child; a keeper has children of others as well.
            root = app.progress.pid if app.is_declared else app.runner_pid
            members = {*tree(app.progress.pid, children), *tree(root, children)} - {app.runner_pid}
            usage = usage_of(members, everybody, files=bool(app.limits.open_files))
            if problem := self._judges[app].sample(instance, usage, now):
                self._told[app] = instance
                self._exceeded(app, problem)


def tree(root: int, children: Mapping[int, list[int]]) -> Iterator[int]:
    """A process and all that descend from it."""
    waiting = [root] if root > 0 else []
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, ())


def usage_of(members: Iterable[int], everybody: Mapping[int, Stat], *, files: bool) -> Usage:
    """What processes use together; *files*: count their open files, which costs most."""
    stats = {pid: stat for pid in members if (stat := everybody.get(pid)) is not None and stat.state not in ENDED}
    return Usage(
        rss_bytes=sum(stat.rss_bytes for stat in stats.values()),
        threads=sum(stat.threads for stat in stats.values()),
        open_files=sum(map(procstat.open_files, stats)) if files else 0,
        cpu_seconds={(pid, stat.created): stat.cpu_seconds for pid, stat in stats.items()},
    )
