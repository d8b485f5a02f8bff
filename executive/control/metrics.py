"""`totemctl metrics`: the numbers of all processes of this node."""

from __future__ import annotations

import click

from ...ipc.messages.control import MetricsReply, MetricsRequest
from .asking import Options, command
from .showing import metrics_as_json, print_json


@command("metrics")
def metrics(options: Options) -> None:
    """The numbers of all processes of this node, for Prometheus.  Text format 0.0.4."""
    with options.executive() as executive:
        reply: MetricsReply = executive.ask(MetricsRequest())
    if options.as_json:
        print_json(metrics_as_json(reply.metrics))
        return
    from .exposition import prometheus_text  # here, so that only this command waits for the library  # noqa: PLC0415

    click.echo(prometheus_text(reply.metrics), nl=False)
