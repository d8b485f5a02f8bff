"""`totemctl apps`: the applications under SAM."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.text import Text

from ...ipc.errors import NotFound
from ...ipc.messages.control import AppInfo, AppsReply, AppsRequest
from ...ipc.messages.keeper import KeptApp, Outcome, Verb
from ...ipc.messages.sam import AppState
from .asking import Options, command
from .keeping import KeeperEnd, full_as_json
from .live import watch
from .log_files import LINES_SHOWN, Log, follow
from .showing import apps_as_json, duration, print_json, show, table

REFRESH_SECONDS = 0.5
"""Between two looks of `--watch`."""

HEAD_LINES = 2
"""Of its picture: the counts and the names of the columns."""

WELL = frozenset({AppState.RUNNING, AppState.STANDBY, AppState.STOPPED})

ORDER_SECONDS = 60.0
"""How long an order is waited for, unless something else is said."""

EXIT_FAILED = 1


@click.group("apps", invoke_without_command=True)
@click.option("--watch", "go_on", is_flag=True, help="Go on until Ctrl-C.  JSON: a line for each change.")
@click.option("--local", is_flag=True, help="Those of this node only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def apps(context: click.Context, go_on: bool, local: bool, as_json: bool) -> None:
    """The applications under SAM on all nodes.

    Without a command: a list of all.  The commands are for those that the configuration declares; a group's name stands
    for its members.  Exit codes: 0 done; 1 failed, or an application did not do as it was told; 2 usage.
    """
    options: Options = context.obj
    options.as_json |= as_json
    if context.invoked_subcommand is not None:
        return
    if go_on:
        _watch(options, local)
        return
    found = _all(options, local)
    if options.as_json:
        print_json(apps_as_json(found))
    else:
        show(_short(found))


def _all(options: Options, local: bool) -> tuple[AppInfo, ...]:
    with options.executive() as executive:
        reply: AppsReply = executive.ask(AppsRequest())
        return tuple(app for app in reply.apps if not local or app.node_id == executive.node_id)


def _short(found: Sequence[AppInfo]) -> RenderableType:
    rows = [(app.name, app.node_id, app.pid or "-", app.state, app.instance, app.policy) for app in found]
    return table("NAME", "NODE ID", "PID", "STATE", "INSTANCE", "POLICY", rows=rows)


@command("list")
@click.argument("names", nargs=-1, metavar="[NAME]…")
def list_apps(options: Options, names: tuple[str, ...]) -> None:
    """The declared applications: how they are, and since when."""
    kept = _kept(options, names)
    if options.as_json:
        print_json([full_as_json(app) for app in kept])
    else:
        show(_long(kept))


@command("describe")
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
def describe(options: Options, names: tuple[str, ...]) -> None:
    """All about applications: what is declared, and how it stands."""
    kept = _kept(options, names)
    if options.as_json:
        print_json([full_as_json(app) for app in kept])
        return
    for number, app in enumerate(kept):
        if number:
            click.echo()
        show(in_words(app, time.time()))


@command("start")
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@click.option("--timeout", type=click.FloatRange(0), default=ORDER_SECONDS, show_default=True, metavar="S")
def start(options: Options, names: tuple[str, ...], timeout: float) -> None:
    """Start applications, and what they require.  Returns when they are up."""
    _order(options, Verb.START, names, timeout)


@command("stop")
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@click.option("--timeout", type=click.FloatRange(0), default=ORDER_SECONDS, show_default=True, metavar="S")
def stop(options: Options, names: tuple[str, ...], timeout: float) -> None:
    """Stop applications, and first what requires them.  Returns when nothing of them is left.

    They stay stopped until they are started again, or the node is.
    """
    _order(options, Verb.STOP, names, timeout)


@command("restart")
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@click.option("--timeout", type=click.FloatRange(0), default=ORDER_SECONDS, show_default=True, metavar="S")
def restart(options: Options, names: tuple[str, ...], timeout: float) -> None:
    """Start another instance of applications.  What requires them stays.  Returns when they are up."""
    _order(options, Verb.RESTART, names, timeout)


@command("logs")
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@click.option("-f", "--follow", "go_on", is_flag=True, help="Go on as the logs grow, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=LINES_SHOWN, show_default=True, help="So many lines of the past."
)
def logs(options: Options, names: tuple[str, ...], go_on: bool, lines: int) -> None:
    """What applications have written.  Several are told apart by their names."""
    kept = [app for app in _kept(options, names) if app.log]
    found = {app.name: Log(app.log) for app in kept}
    show_one = _one_line(options, several=len(found) > 1)
    for name, log in found.items():
        for line in log.past(lines, unfinished=not go_on):
            show_one(name, line)
    if go_on:
        try:
            for name, line in follow(found):
                show_one(name, line)
        except KeyboardInterrupt:
            return


for each in (list_apps, describe, start, stop, restart, logs):
    apps.add_command(each)


class NoApplications(NotFound):
    """None are declared."""


@contextlib.contextmanager
def _keeper(options: Options) -> Iterator[KeeperEnd]:
    """The keeper, which may go on without a node.

    Raises:
        ConnectionLost: there is no keeper, and no node either.
        NoApplications: the node runs, and has nothing to keep.
    """
    with contextlib.ExitStack() as closing:
        try:
            keeper = closing.enter_context(KeeperEnd(options))
        except NotFound:
            with options.executive():
                raise NoApplications(
                    "no applications are declared on this node; they stand in `sam { app { … } }`"
                ) from None
        yield keeper


def _kept(options: Options, names: tuple[str, ...]) -> tuple[KeptApp, ...]:
    try:
        with _keeper(options) as keeper:
            return keeper.in_full(names)
    except NoApplications:
        if names:
            raise
        return ()


def _order(options: Options, verb: Verb, names: tuple[str, ...], seconds: float) -> None:
    with _keeper(options) as keeper:
        outcomes = keeper.order(verb, names, seconds)
    if options.as_json:
        print_json([_outcome_as_json(outcome) for outcome in outcomes])
    else:
        for outcome in outcomes:
            progress = outcome.progress
            pid = f", pid {progress.pid}" if progress.pid else ""
            what = f"{outcome.name}: {progress.state}, instance {progress.instance}{pid}"
            click.echo(f"{what}: {outcome.detail}" if outcome.detail else what, err=not outcome.is_done)
    if not all(outcome.is_done for outcome in outcomes):
        click.get_current_context().exit(EXIT_FAILED)


def _outcome_as_json(outcome: Outcome) -> dict[str, Any]:
    progress = outcome.progress
    return {
        "name": outcome.name,
        "done": outcome.is_done,
        "state": progress.state.value,
        "instance": progress.instance,
        "pid": progress.pid,
        "detail": outcome.detail,
    }


def _long(kept: tuple[KeptApp, ...]) -> RenderableType:
    now = time.time()
    rows = [
        (
            app.name,
            app.progress.state.value,
            app.progress.pid or "-",
            app.progress.instance,
            app.restarts,
            duration(now - app.since) if app.since else "-",
            " ".join(app.groups) or "-",
            app.progress.detail or "-",
        )
        for app in kept
    ]
    return table("NAME", "STATE", "PID", "INSTANCE", "RESTARTS", "FOR", "GROUPS", "DETAIL", rows=rows)


def in_words(app: KeptApp, now: float) -> RenderableType:
    """Everything about an application; *now* in seconds since the epoch."""
    told = {key: _words(value) for key, value in full_as_json(app).items()}
    told["since"] = _since(app.since, now) if app.since else "-"
    made = table("", "", rows=told.items())
    made.show_header = False
    return made


def _since(then: float, now: float) -> str:
    return f"{time.strftime('%Y-%m-%d %H:%M:%S %z', time.localtime(then))}, {duration(max(0.0, now - then))} ago"


def _words(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case dict():
            return "; ".join(f"{key}: {_words(each)}" for key, each in value.items()) or "-"
        case list() | tuple():
            return " ".join(map(str, value)) or "-"
        case _:
            return str(value) if value not in ("", None) else "-"


def _one_line(options: Options, *, several: bool) -> Any:
    def show_one(name: str, line: str) -> None:
        if options.as_json:
            click.echo(json.dumps({"name": name, "line": line}))
        else:
            click.echo(f"{name}: {line}" if several else line)

    return show_one


def _watch(options: Options, local: bool) -> None:
    if options.as_json:
        with contextlib.suppress(KeyboardInterrupt):
            _watch_in_json(options, local)
    else:
        watch(lambda lines: picture(_all(options, local), lines, time.strftime("%H:%M:%S")), REFRESH_SECONDS)


def _watch_in_json(options: Options, local: bool) -> None:
    before: object = None
    while True:
        now = apps_as_json(_all(options, local))
        if now != before:
            click.echo(json.dumps(now))
            before = now
        time.sleep(REFRESH_SECONDS)


def picture(found: Sequence[AppInfo], lines: int, clock: str) -> RenderableType:
    """What `--watch` shows on so many lines.  Where not all have room, those that are not well come first."""
    counts = ", ".join(f"{count} {state}" for state, count in Counter(app.state for app in found).most_common())
    room, number = max(0, lines - HEAD_LINES), f"{len(found)}"
    if len(found) > room:
        found = sorted(found, key=lambda app: app.state in WELL)[:room]
        number = f"{room} of {number}"
    head = f"{clock}  {number} applications: {counts or 'none'}"
    return Group(Text(head, no_wrap=True, overflow="ellipsis"), _short(found))
