"""The applications of a node as the sam process knows them: names, turns, orphans, looks from outside.  Pure.

An application stays on the list after its sam-run has gone if somebody should know: given up, orphaned, or lost.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from ..ipc.errors import InvalidArgument, NotFound
from ..ipc.messages.control import AppInfo
from ..ipc.messages.sam import (
    APP_NAME_LENGTH_MAX,
    AppState,
    Limits,
    Progress,
    Register,
    Resource,
    ResourceState,
    WhenOrphaned,
)
from .probe import Finding, Process

ENDED_KEPT_MAX = 100
"""Applications without a sam-run that are kept on the list to be seen; the oldest are dropped first."""

UNREAPED_SECONDS = 5.0
"""A main process that has ended must have been noticed by its sam-run after so long."""

OVER = frozenset({AppState.STANDBY, AppState.STOPPED, AppState.FATAL})
"""States after which nothing of an application runs, as its sam-run says."""


class Verdict(enum.Enum):
    """What a look from outside leads to."""

    FINE = "nothing is to be done"
    RECOVER = "stopped for longer than the interval"
    UNREAPED = "has ended, and its sam-run has not noticed"
    LOST = "the orphan has ended"


def how_it_began(before: Progress, progress: Progress) -> tuple[str, dict[str, str]] | None:
    """What the log says of another instance than the last one: the event, and why, if there is more to say.

    None: it is the same, or the first one.
    """
    if not progress.instance > before.instance > 0:
        return None
    is_new = before.state in OVER or before.state is AppState.WAITING
    return "started" if is_new else "restarted", {"because": progress.detail} if progress.detail else {}


@dataclass(slots=True, eq=False)
class App:
    """One application on the list."""

    name: str
    policy: str
    interval: float
    runner_pid: int
    """Its sam-run, by the kernel's word."""
    progress: Progress
    limits: Limits = field(default_factory=Limits)
    runner: Process | None = None
    process: Process | None = None
    """Its main process; None while there is none, or none that can be seen."""
    stopped_since: float | None = None
    ended_since: float | None = None
    judged_instance: int = 0
    """The instance that something has been said or done about already."""
    is_kept: bool = True
    """Its sam-run is there."""
    is_declared: bool = False
    """It is one of the configuration's; the keeper keeps it."""
    when_orphaned: WhenOrphaned = WhenOrphaned.KEEP
    stop_signal: int = signal.SIGTERM
    stop_timeout: float = 0.0
    adopts: bool = False
    """Its sam-run has taken it over from one that was killed."""
    is_held: bool = False
    """It and its sam-run are stopped, so that the latter cannot say so."""

    @property
    def state(self) -> AppState:
        """Where it stands, as its sam-run says or as it is seen."""
        return AppState.SUSPENDED if self.is_held else self.progress.state

    def turn(self, progress: Progress, process: Process | None) -> None:
        """Its sam-run says where it stands; *process* is the main process that was found to belong to it."""
        self.progress, self.process = progress, process
        self.policy = progress.policy or self.policy
        self.interval = self.interval if progress.interval_ms is None else progress.interval_ms / 1000
        self.stopped_since = self.ended_since = None
        self.is_held = False

    def judge(self, finding: Finding, runner: Finding, now: float) -> Verdict:
        """What the looks at the main process and at its sam-run mean."""
        if self.state is AppState.ORPHANED:
            return Verdict.LOST if finding in (Finding.GONE, Finding.ZOMBIE) else Verdict.FINE
        self.stopped_since = _since(self.stopped_since, finding is Finding.STOPPED, now)
        self.ended_since = _since(self.ended_since, finding in (Finding.GONE, Finding.ZOMBIE), now)
        self.is_held = finding is Finding.STOPPED and runner is Finding.STOPPED
        if self.is_held or self.judged_instance == self.progress.instance:
            return Verdict.FINE  # a job that is stopped as a whole is meant to be
        if self._lasts(self.stopped_since, self.interval, now) and self._may_freeze():
            self.judged_instance = self.progress.instance
            return Verdict.RECOVER
        if self._lasts(self.ended_since, UNREAPED_SECONDS, now):
            self.judged_instance = self.progress.instance
            return Verdict.UNREAPED
        return Verdict.FINE

    def _may_freeze(self) -> bool:
        return self.interval > 0 and self.state in (AppState.RUNNING, AppState.FROZEN)

    @staticmethod
    def _lasts(since: float | None, seconds: float, now: float) -> bool:
        return since is not None and now - since >= seconds


def _since(before: float | None, holds: bool, now: float) -> float | None:
    if not holds:
        return None
    return now if before is None else before


@dataclass(slots=True)
class Registry:
    """All applications of a node."""

    apps: dict[str, App] = field(default_factory=dict)
    restarts: int = 0
    """Instances after the first that were started."""
    orphans: int = 0
    """Applications whose sam-run died."""
    remains: dict[str, Resource] = field(default_factory=dict)
    """What cmap still shows of applications that have failed and ended, by the pid of their sam-run."""

    def enrol(self, message: Register, runner_pid: int) -> App:
        """Put an application on the list.

        Raises:
            InvalidArgument: its name is taken by one that runs, and it wants no other.
        """
        name = self._free_name(message, runner_pid)
        self.apps.pop(name, None)
        self.remains.pop(str(runner_pid), None)
        app = App(name, message.policy, message.interval_ms / 1000, runner_pid, message.progress, message.limits)
        app.when_orphaned, app.adopts = message.when_orphaned, message.adopts
        app.stop_signal, app.stop_timeout = message.stop_signal, message.stop_timeout_ms / 1000
        self.apps[name] = app
        return app

    def rediscover(self, name: str, policy: str, instance: int, process: Process) -> None:
        """An orphan was found that an earlier sam process knew, perhaps."""
        progress = Progress(AppState.ORPHANED, instance, process.pid, "its sam-run died")
        self.apps[name] = App(name, policy, 0.0, 0, progress, process=process, is_kept=False)
        self.orphans += 1

    def declare(self, app: App) -> bool:
        """Put an application of the configuration on the list; whether its name was free."""
        taken = self.apps.get(app.name)
        self.apps[app.name] = app
        app.is_declared = True
        return taken is None or (taken.process is None and not taken.is_kept)

    def release(self, app: App) -> None:
        """An application of the configuration is none any more."""
        self._remove(app)

    def turn(self, app: App, progress: Progress, process: Process | None) -> None:
        """An application's sam-run says where it stands."""
        self.restarts += max(0, progress.instance - max(app.progress.instance, 1))
        app.turn(progress, process)

    def leave(self, app: App, finding: Finding) -> None:
        """An application's sam-run is gone; *finding* is how the main process looks."""
        app.runner, app.is_kept, app.is_held = None, False, False
        if app.state in OVER:
            app.process = None
            if app.state is not AppState.FATAL:
                self._remove(app)
                self._keep_remains(app)
        else:
            self.orphans += 1
            if finding in (Finding.ALIVE, Finding.STOPPED):
                app.progress = msgspec.structs.replace(app.progress, state=AppState.ORPHANED, detail="its sam-run died")
            else:
                self.lose(app)
        self._forget_the_oldest()

    def lose(self, app: App) -> None:
        """An application has ended, and nobody will start it again."""
        app.process = None
        app.progress = msgspec.structs.replace(
            app.progress, state=AppState.LOST, pid=0, detail="its sam-run died, and it has ended"
        )

    def resources(self) -> dict[str, Resource]:
        """What cmap shows: by the pid of the sam-run; those of the keeper, which are many, by their names."""
        shown = dict(self.remains)
        for app in self.apps.values():
            if app.progress.resource is not None:
                shown[app.name if app.is_declared else str(app.runner_pid)] = app.progress.resource
        return shown

    def forget(self, shown_as: str) -> None:
        """Show nothing more of an application that has ended.

        Raises:
            NotFound: nothing is shown by that name.
            InvalidArgument: it has not ended.
        """
        if self.remains.pop(shown_as, None) is not None:
            return
        app = next((each for each in self.apps.values() if str(each.runner_pid) == shown_as), None)
        if app is None or app.progress.resource is None:
            raise NotFound(f"no application that has failed is shown as {shown_as}")
        if app.is_kept or app.process is not None:
            raise InvalidArgument(f"{app.name} ({shown_as}) has not ended: its keys go when it does")
        self._remove(app)

    def watched(self) -> list[App]:
        """The applications with a process to look at."""
        return [app for app in self.apps.values() if app.process is not None]

    def count(self, state: AppState) -> int:
        """How many applications are in a state."""
        return sum(app.state is state for app in self.apps.values())

    def infos(self, node_id: int) -> tuple[AppInfo, ...]:
        """The list, sorted by name."""
        return tuple(_info(app, node_id) for _, app in sorted(self.apps.items()))

    def _free_name(self, message: Register, runner_pid: int) -> str:
        taken = self.apps.get(message.name)
        if taken is None or (taken.process is None and not taken.is_kept):
            return message.name
        if message.adopts and taken.state is AppState.ORPHANED and taken.progress.pid == message.progress.pid:
            return message.name
        if message.exact:
            raise InvalidArgument(_name_problem(taken))
        return next(name for name in _similar_names(message.name, runner_pid) if name not in self.apps)

    def _remove(self, app: App) -> None:
        if self.apps.get(app.name) is app:
            del self.apps[app.name]

    def _keep_remains(self, app: App) -> None:
        resource = app.progress.resource
        if resource is not None and resource.state is ResourceState.FAILED:
            self.remains[str(app.runner_pid)] = resource
            while len(self.remains) > ENDED_KEPT_MAX:
                del self.remains[next(iter(self.remains))]

    def _forget_the_oldest(self) -> None:
        over = [app for app in self.apps.values() if not app.is_kept and app.process is None]
        for app in over[: max(0, len(over) - ENDED_KEPT_MAX)]:
            self._remove(app)


def _name_problem(taken: App) -> str:
    if taken.is_declared:
        return f"an application named {taken.name!r} is declared in the configuration of this node: choose another name"
    if taken.state is AppState.ORPHANED:
        return (
            f"an application named {taken.name!r} still runs here (pid {taken.progress.pid}), though its sam-run was "
            "killed: end it first, or choose another name"
        )
    return (
        f"an application named {taken.name!r} is supervised here already (by sam-run with pid {taken.runner_pid}): "
        "choose another name, or none"
    )


def _similar_names(name: str, pid: int) -> Iterable[str]:
    number = 1
    while True:
        end = f"-{pid}" if number == 1 else f"-{pid}-{number}"
        yield name[: APP_NAME_LENGTH_MAX - len(end)] + end
        number += 1


def _info(app: App, node_id: int) -> AppInfo:
    progress = app.progress
    return AppInfo(app.name, node_id, progress.pid, app.state.value, progress.instance, app.policy)
