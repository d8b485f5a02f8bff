"""The table of sam-run's options; the configuration's `sam { app { … } }` has the same (`section.py`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..ipc.messages.sam import WhenOrphaned
from ..ipc.messages.sam_singleton import YIELD_MS_MAX
from ..ipc.paths import RUN_DIR_VARIABLE
from . import option_types as types
from .option_types import UNLIMITED, Option
from .policy import Recovery

INTERVAL_MS = 2000
START_PERIOD_MS = 1000
BACKOFF_MS = 100
BACKOFF_FACTOR = 2.0
BACKOFF_MS_MAX = 2000
BACKOFF_JITTER = 0.1
RESTARTS_MAX = 20
WITHIN_SECONDS = 60.0
STOP_TIMEOUT_MS = 10_000
YIELD_TIMEOUT_MS = 1000
HEALTH_INTERVAL_MS = 2000
HEALTH_TIMEOUT_MS = 1000
HEALTH_START_PERIOD_MS = 5000
HEALTH_SUCCESSES = 1
HEALTH_FAILURES = 3
READY_TIMEOUT_MS = 60_000
LIMIT_WINDOW_SECONDS = 10.0
LOG_SIZE = "10M"
LOG_KEEP = 5
LOG_KEEP_MAX = 1000
HOOK_TIMEOUT_MS = 10_000
NICENESS_MIN, NICENESS_MAX = -20, 19

IDENTITY, RECOVERY, STOPPING, HEALTH, PROGRAM, OUTPUT, LIMITS, SINGLETON, KEEPER = (
    "The application",
    "Failures and restarts",
    "Stopping",
    "Health and readiness",
    "What it is started with",
    "Output and events",
    "Limits, watched from outside by the sam process",
    "On one node at a time",
    "sam-run itself",
)
"""The sections of the help text, in its order."""


def _option(group: str, *names: str, **more: Any) -> Callable[[Any], Any]:
    return click.option(*names, cls=Option, group=group, **more)


def _milliseconds(
    group: str, name: str, default: int, text: str, *, least: int = 0, most: int = types.MILLISECONDS_MAX
) -> Callable[[Any], Any]:
    kind = types.Milliseconds(least, most)
    return _option(group, name, type=kind, default=default, show_default=True, metavar="MS", help=text)


def _count(group: str, name: str, default: int | None, text: str, *, least: int = 1, most: int | None = None) -> Any:
    kind = types.Whole(least, most)
    return _option(group, name, type=kind, default=default, show_default=default is not None, metavar="N", help=text)


def _several(group: str, name: str, kind: Any, metavar: str, text: str) -> Callable[[Any], Any]:
    return _option(group, name, type=kind, multiple=True, metavar=metavar, help=f"{text}  Several are allowed.")


_APPLICATION_OPTIONS = (
    _option(
        IDENTITY,
        "--name",
        callback=types.app_name,
        metavar="NAME",
        help="Unique on the node; refused if taken.  Default: COMMAND-PID.",
    ),
)

_RECOVERY_OPTIONS = (
    _option(
        RECOVERY,
        "--policy",
        type=types.policy_words,
        default=Recovery.RESTART.value,
        show_default=True,
        metavar="restart|quit[+quorum][+cmap]",
        help="What a failure leads to: the next instance, or the end of sam-run with the application's exit code.  "
        "+quorum: runs only while the node is quorate.  +cmap: shown as resources.process.PID.*, and may mark itself "
        "as failed.",
    ),
    _option(
        RECOVERY,
        "--done-codes",
        type=types.exit_codes,
        default="",
        metavar="N,N…",
        help="Exit codes by which it says that it is done, and sam-run ends.  Default: none, each end is a failure.",
    ),
    _milliseconds(
        RECOVERY,
        "--interval",
        INTERVAL_MS,
        "An application that a signal stopped (SIGSTOP) for so long has failed, and so has one that has asked to be "
        "watched and gave no sign of life: it gets the warn signal, and is killed if it lives after another interval.  "
        "0: only its end is a failure.",
    ),
    _option(
        RECOVERY,
        "--warn-signal",
        type=types.signal_number,
        default="TERM",
        show_default=True,
        metavar="SIG",
        help="The warn signal.",
    ),
    _milliseconds(
        RECOVERY,
        "--start-period",
        START_PERIOD_MS,
        "The end of an instance that lived for longer is answered without back-off.",
    ),
    _milliseconds(
        RECOVERY, "--backoff", BACKOFF_MS, "Wait after the first instance that did not live so long; 0: never wait."
    ),
    _option(
        RECOVERY,
        "--backoff-factor",
        type=types.Fraction(1, 1000),
        default=BACKOFF_FACTOR,
        show_default=True,
        metavar="X",
        help="So many times longer is each further wait in a row.",
    ),
    _milliseconds(RECOVERY, "--backoff-max", BACKOFF_MS_MAX, "The longest wait."),
    _option(
        RECOVERY,
        "--backoff-jitter",
        type=types.Fraction(0, 1),
        default=BACKOFF_JITTER,
        show_default=True,
        metavar="SHARE",
        help="Every wait is lengthened by a random share of itself, at most this.",
    ),
    _option(
        RECOVERY,
        "--max-restarts",
        type=types.restarts,
        default=str(RESTARTS_MAX),
        show_default=True,
        metavar="N",
        help=f"More restarts than this within the time of --within: give up, exit 124.  '{UNLIMITED}': never give up.",
    ),
    _option(
        RECOVERY,
        "--within",
        type=types.Fraction(0, 1_000_000_000, min_open=True),
        default=WITHIN_SECONDS,
        show_default=True,
        metavar="S",
        help="Seconds for which a restart counts.",
    ),
)

_STOP_OPTIONS = (
    _option(
        STOPPING,
        "--stop-signal",
        type=types.signal_number,
        default="TERM",
        show_default=True,
        metavar="SIG",
        help="What the application gets when sam-run gets SIGTERM.",
    ),
    _milliseconds(STOPPING, "--stop-timeout", STOP_TIMEOUT_MS, "What lives so long after the stop signal is killed."),
    _option(
        STOPPING,
        "--orphan",
        type=click.Choice([each.value for each in WhenOrphaned]),
        default=WhenOrphaned.KEEP.value,
        show_default=True,
        help="If sam-run is killed, the sam process lets the application run, or ends it.",
    ),
)

_HEALTH_OPTIONS = (
    _several(
        HEALTH,
        "--health",
        types.check,
        "CHECK",
        "exec:COMMAND (exit code 0), http://HOST[:PORT]/PATH (status 200 to 399), tcp:HOST:PORT (accepts), or "
        "heartbeat (it says so itself: sam.health_check(), or WATCHDOG=1 by sd_notify).",
    ),
    _milliseconds(HEALTH, "--health-interval", HEALTH_INTERVAL_MS, "From one check to the next.", least=1),
    _milliseconds(
        HEALTH, "--health-timeout", HEALTH_TIMEOUT_MS, "A check without an answer for so long failed.", least=1
    ),
    _milliseconds(
        HEALTH,
        "--health-start-period",
        HEALTH_START_PERIOD_MS,
        "Until it has been well once, failures do not count for so long.",
    ),
    _count(HEALTH, "--health-successes", HEALTH_SUCCESSES, "So many in a row, and it is well."),
    _count(HEALTH, "--health-failures", HEALTH_FAILURES, "So many in a row, and it has failed, as if by itself."),
    _option(
        HEALTH,
        "--ready",
        type=types.readiness,
        metavar="HOW",
        help="It is unready until: notify (READY=1 by sd_notify), fd[:N] (a line on descriptor N, 3 unless named), "
        "probe (its health checks succeed).  Default: ready when it runs.",
    ),
    _milliseconds(HEALTH, "--ready-timeout", READY_TIMEOUT_MS, "Not ready after so long, it has failed.  0: never."),
)

_PROGRAM_OPTIONS = (
    _several(PROGRAM, "--env", types.variable, "NAME=VALUE", "Add a variable to its environment."),
    _several(
        PROGRAM,
        "--env-file",
        click.Path(path_type=Path, dir_okay=False),
        "FILE",
        "Add the variables of a file: NAME=VALUE lines, # for comments; --env comes after it.",
    ),
    _option(
        PROGRAM, "--clear-env", is_flag=True, help="Begin with an empty environment (PATH, HOME, TERM, LANG stay)."
    ),
    _option(
        PROGRAM,
        "--directory",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Its working directory.",
    ),
    _option(PROGRAM, "--uid", metavar="USER", help="Run as this user (name or number), with the groups of the user."),
    _option(PROGRAM, "--gid", metavar="GROUP", help="Run with this group instead of the user's own."),
    _option(PROGRAM, "--umask", type=types.umask, metavar="MODE", help="Its file mode creation mask, in octal."),
    _several(
        PROGRAM,
        "--rlimit",
        types.rlimit,
        "NAME=SOFT[:HARD]",
        "A limit of the kernel, as nofile=4096 or core=unlimited.",
    ),
    _option(
        PROGRAM,
        "--nice",
        type=types.Whole(NICENESS_MIN, NICENESS_MAX),
        metavar="N",
        help="Its priority, from -20 (first) to 19.",
    ),
)

_OUTPUT_OPTIONS = (
    _option(
        OUTPUT,
        "--log",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Append its output to FILE, and rotate that.  Default: its output is that of sam-run.",
    ),
    _option(
        OUTPUT,
        "--log-stderr",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="The same for standard error alone.",
    ),
    _option(
        OUTPUT,
        "--log-max",
        type=types.size,
        default=LOG_SIZE,
        show_default=True,
        metavar="SIZE",
        help="A file that would grow larger becomes FILE.1, that one FILE.2 …",
    ),
    _count(OUTPUT, "--log-keep", LOG_KEEP, "So many of these are kept.", least=0, most=LOG_KEEP_MAX),
    _option(OUTPUT, "--log-times", is_flag=True, help="Each line in the log begins with the time (UTC)."),
    _several(
        OUTPUT,
        "--on",
        types.hook,
        "STATE=COMMAND",
        f"Run a shell command when it enters STATE: any, {', '.join(types.HOOK_STATES)}.",
    ),
    _milliseconds(OUTPUT, "--on-timeout", HOOK_TIMEOUT_MS, "A command of --on that takes longer is killed.", least=1),
)

_LIMIT_OPTIONS = (
    _option(LIMITS, "--max-rss", type=types.size, metavar="SIZE", help="Memory of all its processes, as 200M."),
    _option(LIMITS, "--max-cpu", type=types.share, metavar="SHARE", help="Processor time; 100% is a whole one."),
    _count(LIMITS, "--max-files", None, "Open files of all its processes."),
    _count(LIMITS, "--max-threads", None, "Threads of all its processes."),
    _option(
        LIMITS,
        "--limit-window",
        type=types.Fraction(1, 86_400),
        default=LIMIT_WINDOW_SECONDS,
        show_default=True,
        metavar="S",
        help="Over a limit for so many seconds without a pause (processor time: on average), it has failed.",
    ),
)

_SINGLETON_OPTIONS = (
    _option(
        SINGLETON,
        "--singleton",
        callback=types.app_name,
        metavar="NAME",
        help="Of all sam-runs of the cluster with this NAME one starts COMMAND, on a quorate node; the others stand "
        "by.  NAME is the application's --name too.",
    ),
    _milliseconds(
        SINGLETON,
        "--yield-timeout",
        YIELD_TIMEOUT_MS,
        "If its node may not run it any more (quorum lost, cut off), it is killed so long after the stop signal; "
        "every fail-over after the loss of a node takes so much longer.",
        most=YIELD_MS_MAX,
    ),
)

_KEEPER_OPTIONS = (
    _option(
        KEEPER,
        "--run-dir",
        # Users whom a `uidgid` rule names may reach the sockets in it, but not list it.
        type=click.Path(path_type=Path, readable=False),
        metavar="DIR",
        help=f"Run directory of the node whose sam process watches.  Default: {RUN_DIR_VARIABLE}, else as for totemd.",
    ),
    _option(KEEPER, "--require-sam", is_flag=True, help="Do not start anything unless a sam process serves DIR."),
    _option(
        KEEPER,
        "--if-orphaned",
        type=click.Choice(["refuse", "adopt", "end"]),
        default="refuse",
        show_default=True,
        help="If an application of this --name runs whose sam-run was killed: start nothing, keep that one, or end it.",
    ),
    _option(
        KEEPER, "--detach", is_flag=True, help="Go on in the background when it is ready; print the pid and the name."
    ),
    _option(KEEPER, "-q", "--quiet", is_flag=True, help="Say nothing but errors that end sam-run."),
)

OPTIONS = (
    *_APPLICATION_OPTIONS,
    *_RECOVERY_OPTIONS,
    *_STOP_OPTIONS,
    *_HEALTH_OPTIONS,
    *_PROGRAM_OPTIONS,
    *_OUTPUT_OPTIONS,
    *_LIMIT_OPTIONS,
    *_SINGLETON_OPTIONS,
    *_KEEPER_OPTIONS,
    click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARG]..."),
)
"""Decorators of a click command, in the order of the help text."""

SECTIONS = (IDENTITY, RECOVERY, STOPPING, HEALTH, PROGRAM, OUTPUT, LIMITS, SINGLETON, KEEPER)
