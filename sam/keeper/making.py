"""From what is declared to what supervises it: sam-run's options, a process group, a log, a trace left behind."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Protocol

import click

from ...executive.config.model import AppEntry
from ...ipc.errors import InvalidArgument
from ...ipc.messages.sam import Limits
from ..environment import INSTANCE
from ..launch import EXIT_FAILED, Launch, NotStarted
from ..options import RunOptions
from ..orphans import Orphan
from ..procstat import TICKS_PER_SECOND
from ..section import declared_options
from ..supervision import Shared, Supervised
from .adopt import created_at, now
from .app import App
from .logs import Logs
from .record import Mark, Record

_INSTANCE = INSTANCE.encode()

NOT_FOR_APPS = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "TOTEMD_LIFELINE_FD"})
"""Variables by which others talk to the executive and its processes."""


class Hears(Protocol):
    """Who is told what becomes of applications."""

    def happened(self, app: App) -> None:
        """An application's life took a turn."""

    def finished(self, app: App, code: int) -> None:
        """An application's life is over."""


class Host:
    """`supervised.Host` of one application: there is no terminal and no job control."""

    def __init__(self, app: App, hears: Hears) -> None:
        self._app = app
        self._hears = hears

    def say(self, text: str) -> None:
        """What is said is the progress's detail as well; the sam process logs it."""

    def turned(self) -> None:
        """Tell the keeper."""
        self._hears.happened(self._app)

    def before_restart(self) -> None:
        """Count."""
        self._app.restarts += 1
        self._app.is_adopted = False

    def may_continue(self) -> bool:
        """Nothing holds it but what froze it."""
        return True

    def suspend(self, number: int) -> bool:
        """Nobody asks: job control does not reach who has no terminal."""
        return False

    def finished(self, code: int) -> None:
        """Tell the keeper."""
        self._hears.finished(self._app, code)


@dataclass(frozen=True)
class RecordedLaunch(Launch):
    """A launch that leaves a trace before and after each start."""

    name: str = ""
    record: Record | None = None
    output: Callable[[], int] | None = None
    """Where the output goes that is not captured."""

    def spawn(self, environment: Mapping[bytes, bytes], descriptors: Mapping[int, int]) -> int:
        """As `Launch.spawn`, without a terminal."""
        assert self.record is not None
        instance = int(environment[_INSTANCE])
        self.record.write(self.name, Mark.STARTING, instance)
        began = now()
        try:
            pid = self._spawn_quietly(environment, descriptors)
        except NotStarted:
            self.record.write(self.name, Mark.FREE, instance)
            raise
        self.record.write(self.name, Mark.RUNNING, instance, pid, (began, now()))
        return pid

    def _spawn_quietly(self, environment: Mapping[bytes, bytes], descriptors: Mapping[int, int]) -> int:
        assert self.output is not None
        with contextlib.ExitStack() as closing:
            try:
                out = self.output()
            except OSError as error:
                raise NotStarted(EXIT_FAILED, f"its log: {error.strerror}") from None
            closing.callback(os.close, out)
            # Standard input is the keeper's own, which is the null device.
            return Launch.spawn(self, environment, {1: out, 2: out, **descriptors})


@dataclass(frozen=True)
class Maker:
    """Makes what supervises an application."""

    shared: Shared
    record: Record
    logs: Logs
    variables: Mapping[str, str]
    signal_mask: frozenset[int]

    def make(self, app: App, hears: Hears, found: Orphan | None = None) -> Supervised:
        """What supervises *app*; *found* is an instance of it that exists already.

        Raises:
            InvalidArgument: what was checked once is not acceptable any more (a user is gone, a file).
        """
        name = app.entry.name
        try:
            spec = options_of(app.entry).spec(self.variables, self.signal_mask, own_group=True)
        except click.UsageError as error:
            raise InvalidArgument(error.format_message()) from None
        launch = RecordedLaunch(
            **{each.name: getattr(spec.launch, each.name) for each in fields(Launch)},
            name=name,
            record=self.record,
            output=partial(self.logs.open, str(self.logs.path(name))),
        )
        return Supervised(
            replace(spec, launch=launch), self.shared, Host(app, hears), instances=app.instances, orphan=found
        )

    def found(self, name: str, instance: int, pid: int) -> Orphan | None:
        """An instance that exists already; None if it has just ended."""
        created = created_at(pid)
        if created is None:
            return None
        self.record.write(name, Mark.RUNNING, instance, pid, (created, created))
        return Orphan(name, pid, round(created * TICKS_PER_SECOND), instance, (), self.shared.probe.variables(pid))

    def told(self, entry: AppEntry) -> tuple[str, int, str, Limits]:
        """Policy, interval and log file, for people; limits, for the sam process."""
        options = options_of(entry)
        log = options.logs[1].file if 1 in options.logs else self.logs.path(entry.name)
        return str(options.policy.words), options.interval_ms, str(log), options.limits


def options_of(entry: AppEntry) -> RunOptions:
    """What sam-run would do with the same options."""
    return declared_options(entry.name, entry.command, entry.options)


def environment_for_apps(variables: Mapping[str, str]) -> dict[str, str]:
    """The keeper's own environment without what is for it alone."""
    return {name: value for name, value in variables.items() if name not in NOT_FOR_APPS}
