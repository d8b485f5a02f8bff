"""sam-run's command line: options, their defaults, and what they mean as a policy."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ..ipc.errors import InvalidArgument
from ..ipc.messages.sam import APP_NAME_LENGTH_MAX, APP_NAME_PATTERN
from ..ipc.paths import RUN_DIR_VARIABLE, run_dir
from .policy import BackOff, Intensity, Policy, Recovery

INTERVAL_MS = 2000
START_PERIOD_MS = 1000
BACKOFF_MS = 100
BACKOFF_FACTOR = 2.0
BACKOFF_MS_MAX = 2000
BACKOFF_JITTER = 0.1
RESTARTS_MAX = 20
WITHIN_SECONDS = 60.0
STOP_TIMEOUT_MS = 10_000

MILLISECONDS_MAX = 2**31 - 1
"""No time of an option is longer."""

UNLIMITED = "unlimited"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What one sam-run does."""

    command: tuple[str, ...]
    name: str
    name_is_explicit: bool
    policy: Policy
    run_dir: Path
    require_sam: bool
    quiet: bool

    @property
    def interval_ms(self) -> int:
        """The policy's interval as the option named it."""
        return round(self.policy.interval * 1000)


def signal_number(value: str) -> int:
    """A signal as kill(1) takes it: `TERM`, `SIGTERM` or `15`."""
    if value.isdecimal() and int(value) in signal.valid_signals():
        return int(value)
    word = value.upper()
    named = signal.Signals.__members__.get(word if word.startswith("SIG") else f"SIG{word}")
    if named is None:
        raise click.BadParameter(f"{value!r} is no signal; a name as TERM or SIGTERM, or its number, would be accepted")
    return int(named)


def restarts(value: str) -> int | None:
    """A number of restarts, or `unlimited` (None)."""
    if value == UNLIMITED:
        return None
    if not value.isdecimal():
        raise click.BadParameter(f"{value!r} is neither a number, 0 or more, nor {UNLIMITED!r}")
    return int(value)


def _check_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and (len(value) > APP_NAME_LENGTH_MAX or not re.fullmatch(APP_NAME_PATTERN, value)):
        allowed = f"1 to {APP_NAME_LENGTH_MAX} letters, digits and _.@:+-, the first a letter, a digit or _"
        raise click.BadParameter(f"{value!r} is no name; {allowed} would be accepted")
    return value


def automatic_name(command: str, pid: int) -> str:
    """The name of an application that was given none: that of its program, and sam-run's pid."""
    end = f"-{pid}"
    base = re.sub(r"[^A-Za-z0-9_.@:+-]", "_", os.path.basename(command)) or "_"
    base = base if re.match(r"[A-Za-z0-9_]", base) else f"_{base}"
    return base[: APP_NAME_LENGTH_MAX - len(end)] + end


_MS = click.IntRange(0, MILLISECONDS_MAX)


def _milliseconds(name: str, default: int, text: str) -> Callable[[Any], Any]:
    return click.option(name, type=_MS, default=default, show_default=True, metavar="MS", help=text)


OPTIONS = (
    click.option("--name", callback=_check_name, help="Unique on the node; refused if taken.  Default: COMMAND-PID."),
    click.option(
        "--policy",
        type=click.Choice([each.value for each in Recovery]),
        default=Recovery.RESTART.value,
        show_default=True,
        help="What a failure leads to: the next instance, or the end of sam-run with the application's exit code.",
    ),
    _milliseconds(
        "--interval",
        INTERVAL_MS,
        "An application that a signal stopped (SIGSTOP) for so long has failed: it gets the warn signal, and is killed "
        "if it lives after another interval.  0: only its end is a failure.",
    ),
    click.option(
        "--warn-signal", type=signal_number, default="TERM", show_default=True, metavar="SIG", help="The warn signal."
    ),
    _milliseconds(
        "--start-period", START_PERIOD_MS, "The end of an instance that lived for longer is answered without back-off."
    ),
    _milliseconds("--backoff", BACKOFF_MS, "Wait after the first instance that did not live so long; 0: never wait."),
    click.option(
        "--backoff-factor",
        type=click.FloatRange(1, 1000),
        default=BACKOFF_FACTOR,
        show_default=True,
        metavar="X",
        help="So many times longer is each further wait in a row.",
    ),
    _milliseconds("--backoff-max", BACKOFF_MS_MAX, "The longest wait."),
    click.option(
        "--backoff-jitter",
        type=click.FloatRange(0, 1),
        default=BACKOFF_JITTER,
        show_default=True,
        metavar="SHARE",
        help="Every wait is lengthened by a random share of itself, at most this.",
    ),
    click.option(
        "--max-restarts",
        type=restarts,
        default=str(RESTARTS_MAX),
        show_default=True,
        metavar="N",
        help=f"More restarts than this within the time of --within: give up, exit 124.  '{UNLIMITED}': never give up.",
    ),
    click.option(
        "--within",
        type=click.FloatRange(0, 1_000_000_000, min_open=True),
        default=WITHIN_SECONDS,
        show_default=True,
        metavar="S",
        help="Seconds for which a restart counts.",
    ),
    click.option(
        "--stop-signal",
        type=signal_number,
        default="TERM",
        show_default=True,
        metavar="SIG",
        help="What the application gets when sam-run gets SIGTERM.",
    ),
    _milliseconds("--stop-timeout", STOP_TIMEOUT_MS, "What lives so long after the stop signal is killed."),
    click.option(
        "--run-dir",
        # Users whom a `uidgid` rule names may reach the sockets in it, but not list it.
        type=click.Path(path_type=Path, readable=False),
        metavar="DIR",
        help=f"Run directory of the node whose sam process watches.  Default: {RUN_DIR_VARIABLE}, else as for totemd.",
    ),
    click.option("--require-sam", is_flag=True, help="Do not start anything unless a sam process serves DIR."),
    click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors that end sam-run."),
    click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARG]..."),
)


def run_options(values: dict[str, Any]) -> RunOptions:
    """What click has parsed, as a policy and the rest.

    Raises:
        click.UsageError: options that do not fit together.
    """
    command: tuple[str, ...] = values["command"]
    try:
        policy = Policy(
            recovery=Recovery(values["policy"]),
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
        )
    except InvalidArgument as error:
        raise click.UsageError(str(error)) from None
    name = values["name"]
    return RunOptions(
        command=command,
        name=name or automatic_name(command[0], os.getpid()),
        name_is_explicit=name is not None,
        policy=policy,
        run_dir=run_dir(values["run_dir"]),
        require_sam=values["require_sam"],
        quiet=values["quiet"],
    )
