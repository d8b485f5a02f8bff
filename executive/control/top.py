"""`totemctl top`: a live view of this node."""

from __future__ import annotations

import click
from rich.console import Group, RenderableType

from ...ipc.messages.control import MembersRequest, StatusRequest
from .asking import Executive, Options, command
from .live import watch
from .members import member_table
from .showing import members_as_json, print_json, show, status_as_json
from .status import processes, summary

REFRESH_SECONDS = 1.0
"""Between two looks."""


@command("top")
@click.option("--once", is_flag=True, help="Show it once and end; --json implies this.")
def top(options: Options, once: bool) -> None:
    """Status, members and processes, every second, until Ctrl-C.

    On the whole screen; where the output is no terminal, one after the other.
    """
    with options.executive() as executive:
        if options.as_json:
            status, members = executive.ask(StatusRequest()), executive.ask(MembersRequest())
            print_json({"status": status_as_json(status), "members": members_as_json(members.nodes)})
            return
        if once:
            show(view(executive))
            return

    def look(lines: int) -> RenderableType:
        with options.executive() as executive:
            return view(executive)

    watch(look, REFRESH_SECONDS)


def view(executive: Executive) -> RenderableType:
    """One picture."""
    status = executive.ask(StatusRequest())
    members = executive.ask(MembersRequest())
    return Group(summary(status), "", member_table(members), "", processes(status))
