"""`totemctl shutdown`: stop this node."""

from __future__ import annotations

import contextlib

import click

from ...ipc.errors import ConnectionLost, OperationFailed
from ...ipc.messages.control import ShutdownRequest
from .asking import Options, command
from .showing import print_json

GONE_SECONDS = 30.0
"""How long a node may take to stop: more than all stop deadlines of its processes together."""


@command("shutdown")
def shutdown(options: Options) -> None:
    """Leave the ring cleanly and end; returns when the node is gone."""
    with options.executive() as executive:
        # It may end before its reply gets through; whether it is gone is asked next anyway.
        with contextlib.suppress(ConnectionLost):
            executive.ask(ShutdownRequest())
        if not executive.wait_until_gone(GONE_SECONDS):
            raise OperationFailed(f"totemd (pid {executive.pid}) still runs after {GONE_SECONDS:g} s")
    if options.as_json:
        print_json({"stopped": True, "pid": executive.pid})
    else:
        click.echo("stopped")
