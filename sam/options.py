"""sam-run's command line: what its options mean together."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from ..ipc.errors import InvalidArgument
from ..ipc.messages.sam import APP_NAME_LENGTH_MAX, Limits, WhenOrphaned
from ..ipc.paths import run_dir
from .health import HealthPolicy
from .launch import Launch
from .option_table import OPTIONS
from .option_types import home_of, identity, variables_of_file
from .policy import BackOff, Intensity, Policy, Quorum, Words
from .spec import Hooks, LogPolicy, Readiness, ReadyBy, Spec

__all__ = ["OPTIONS", "RunOptions", "Variables", "automatic_name", "run_options"]

STAY_WHEN_CLEARED = ("PATH", "HOME", "TERM", "LANG")
"""Variables without which few programs work."""


@dataclass(frozen=True, slots=True)
class Variables:
    """What becomes of the environment."""

    clear: bool = False
    files: tuple[Path, ...] = ()
    given: tuple[tuple[str, str], ...] = ()

    def applied_to(self, base: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
        """The environment of an application whose keeper has *base*; *more* comes before what files and options say.

        Raises:
            click.UsageError: a file cannot be read.
        """
        if self.clear:
            base = {name: base[name] for name in STAY_WHEN_CLEARED if name in base}
        found = {**base, **more}
        for path in self.files:
            found.update(variables_of_file(path))
        return {**found, **dict(self.given)}


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What one sam-run does, or a keeper with one of its applications."""

    command: tuple[str, ...]
    name: str
    name_is_explicit: bool
    policy: Policy
    run_dir: Path
    require_sam: bool
    quiet: bool
    launch: Launch
    """Without what is the keeper's affair: signal mask, session."""
    variables: Variables
    health: HealthPolicy
    ready: Readiness | None
    logs: Mapping[int, LogPolicy]
    hooks: Hooks
    limits: Limits
    orphan: WhenOrphaned
    if_orphaned: str
    """What to do with an orphan of the same name: `refuse`, `adopt`, `end`."""
    detach: bool
    singleton: bool = False
    """It runs on one node of the cluster at a time; its name is the same on all."""
    yield_timeout: float = 0.0
    """Seconds that it is given to end when its node may not run it any more."""

    @property
    def interval_ms(self) -> int:
        """The policy's interval as the option named it."""
        return round(self.policy.interval * 1000)

    def renamed_for(self, pid: int) -> RunOptions:
        """With the name that an application of a sam-run with this pid gets if it was given none."""
        return replace(self, name=automatic_name(self.command[0], pid))

    def spec(self, environment: Mapping[str, str], signal_mask: frozenset[int], *, own_group: bool = False) -> Spec:
        """The application, for a keeper with this environment.

        Raises:
            click.UsageError: a file of variables cannot be read.
        """
        as_whom = {} if self.launch.identity is None else home_of(self.launch.identity)
        return Spec(
            name=self.name,
            policy=self.policy,
            launch=replace(self.launch, signal_mask=signal_mask, own_group=own_group),
            variables=self.variables.applied_to(environment, as_whom),
            health=self.health,
            ready=self.ready,
            logs=self.logs,
            hooks=self.hooks,
            limits=self.limits,
        )


def automatic_name(command: str, pid: int) -> str:
    """The name of an application that was given none: that of its program, and sam-run's pid."""
    end = f"-{pid}"
    base = re.sub(r"[^A-Za-z0-9_.@:+-]", "_", os.path.basename(command)) or "_"
    base = base if re.match(r"[A-Za-z0-9_]", base) else f"_{base}"
    return base[: APP_NAME_LENGTH_MAX - len(end)] + end


def run_options(values: dict[str, Any]) -> RunOptions:
    """What click has parsed, as a policy and the rest.

    Raises:
        click.UsageError: options that do not fit together.
    """
    command: tuple[str, ...] = values["command"]
    try:
        policy = _policy(values)
        health = _health(values)
    except InvalidArgument as error:
        raise click.UsageError(str(error)) from None
    name = _name(values)
    return RunOptions(
        command=command,
        name=name or automatic_name(command[0], os.getpid()),
        name_is_explicit=name is not None,
        policy=policy,
        run_dir=run_dir(values["run_dir"]),
        require_sam=values["require_sam"],
        quiet=values["quiet"],
        launch=_launch(values),
        variables=Variables(values["clear_env"], values["env_file"], values["env"]),
        health=health,
        ready=_readiness(values, health),
        logs=_logs(values),
        hooks=Hooks(values["on"], values["on_timeout"] / 1000),
        limits=_limits(values),
        orphan=WhenOrphaned(values["orphan"]),
        if_orphaned=values["if_orphaned"],
        detach=values["detach"],
        singleton=values["singleton"] is not None,
        yield_timeout=values["yield_timeout"] / 1000,
    )


def _launch(values: dict[str, Any]) -> Launch:
    return Launch(
        values["command"],
        directory=values["directory"],
        umask=values["umask"],
        identity=identity(values["uid"], values["gid"]),
        limits=dict(values["rlimit"]),
        niceness=values["nice"],
    )


def _name(values: dict[str, Any]) -> str | None:
    name, singleton = values["name"], values["singleton"]
    if singleton is None:
        return name  # type: ignore[no-any-return]
    if name not in (None, singleton):
        raise click.UsageError(f"--singleton {singleton} is the name already: leave out --name {name}")
    if values["detach"]:
        raise click.UsageError("--singleton does not go with --detach: let the init system keep sam-run")
    if values["if_orphaned"] == "adopt":
        raise click.UsageError("--singleton does not go with --if-orphaned adopt: its guardian leaves no orphans")
    return singleton  # type: ignore[no-any-return]


def _policy(values: dict[str, Any]) -> Policy:
    words: Words = values["policy"]
    return Policy(
        recovery=words.recovery,
        quorum=Quorum.TO_RUN if words.quorum else Quorum.IGNORED,
        cmap=words.cmap,
        interval=values["interval"] / 1000,
        warn_signal=values["warn_signal"],
        start_period=values["start_period"] / 1000,
        backoff=BackOff(
            values["backoff"] / 1000,
            values["backoff_factor"],
            values["backoff_max"] / 1000,
            values["backoff_jitter"],
        ),
        intensity=Intensity(values["max_restarts"], values["within"]),
        stop_signal=values["stop_signal"],
        stop_timeout=values["stop_timeout"] / 1000,
        done_codes=values["done_codes"],
    )


def _health(values: dict[str, Any]) -> HealthPolicy:
    return HealthPolicy(
        values["health"],
        values["health_interval"] / 1000,
        values["health_timeout"] / 1000,
        values["health_start_period"] / 1000,
        values["health_successes"],
        values["health_failures"],
    )


def _readiness(values: dict[str, Any], health: HealthPolicy) -> Readiness | None:
    if values["ready"] is None:
        return None
    by, fd = values["ready"]
    if by is ReadyBy.PROBE and not health.checks:
        raise click.UsageError("--ready probe needs a health check: --health")
    return Readiness(by, fd, values["ready_timeout"] / 1000)


def _logs(values: dict[str, Any]) -> dict[int, LogPolicy]:
    out, error = values["log"], values["log_stderr"]
    files = {number: path for number, path in ((1, out), (2, error or out)) if path is not None}
    size, keep, stamped = values["log_max"], values["log_keep"], values["log_times"]
    if stamped and not files:
        raise click.UsageError("--log-times needs a log: --log or --log-stderr")
    return {number: LogPolicy(path.absolute(), size, keep, stamped) for number, path in files.items()}


def _limits(values: dict[str, Any]) -> Limits:
    return Limits(
        values["max_rss"] or 0,
        values["max_cpu"] or 0.0,
        values["max_files"] or 0,
        values["max_threads"] or 0,
        values["limit_window"],
    )
