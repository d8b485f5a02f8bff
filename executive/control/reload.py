"""`totemctl reload`: read the configuration again."""

from __future__ import annotations

import click

from ...ipc.messages.control import ReloadReply, ReloadRequest
from .asking import Options, command
from .showing import print_json


@command("reload")
def reload(options: Options) -> None:
    """Read this node's configuration again; say what has changed.  What may be a mistake in it is told on stderr."""
    with options.executive() as executive:
        reply: ReloadReply = executive.ask(ReloadRequest())
    if options.as_json:
        print_json({"changed": list(reply.changed), "refused": list(reply.refused), "warnings": list(reply.notices)})
        return
    for notice in reply.notices:
        click.echo(f"warning: {notice}", err=True)
    for change in reply.changed:
        click.echo(change)
    for change in reply.refused:
        click.echo(f"{change} (not while the node runs; restart it)")
    if not reply.changed and not reply.refused:
        click.echo("nothing has changed")
