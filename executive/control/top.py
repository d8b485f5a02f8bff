"""`totemctl top`: a live view of this node."""

from __future__ import annotations

import time

import click
from rich.console import Group, RenderableType
from rich.live import Live

from ...ipc.errors import TotemdError
from ...ipc.messages.control import MembersRequest, StatusRequest
from .asking import Executive, Options, command
from .members import member_table
from .showing import console, members_as_json, print_json, show, status_as_json
from .status import processes, summary

REFRESH_SECONDS = 1.0
"""Between two looks."""


@command("top")
@click.option("--once", is_flag=True, help="Show it once and end; --json implies this.")
def top(options: Options, once: bool) -> None:
    """Status, members and processes, every second, until Ctrl-C."""
    with options.executive() as executive:
        if options.as_json:
            status, members = executive.ask(StatusRequest()), executive.ask(MembersRequest())
            print_json({"status": status_as_json(status), "members": members_as_json(members.nodes)})
            return
        picture = view(executive)
    if once:
        show(picture)
        return
    try:
        watch(options, picture)
    except KeyboardInterrupt:
        return


def watch(options: Options, picture: RenderableType) -> None:
    """Look again and again; a node that is away is waited for."""
    with Live(picture, console=console(), screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(REFRESH_SECONDS)
            try:
                with options.executive() as executive:
                    live.update(view(executive), refresh=True)
            except TotemdError as error:
                live.update(f"{error}", refresh=True)


def view(executive: Executive) -> RenderableType:
    """One picture."""
    status = executive.ask(StatusRequest())
    members = executive.ask(MembersRequest())
    return Group(summary(status), "", member_table(members), "", processes(status))
