"""`totemctl apps`: the applications under SAM."""

from __future__ import annotations

from ...ipc.messages.control import AppsReply, AppsRequest
from .asking import Options, command
from .showing import apps_as_json, print_json, show, table


@command("apps")
def apps(options: Options) -> None:
    """The applications that are supervised on this node."""
    with options.executive() as executive:
        reply: AppsReply = executive.ask(AppsRequest())
    if options.as_json:
        print_json(apps_as_json(reply.apps))
        return
    rows = [(app.name, app.node_id, app.pid or "-", app.state, app.instance, app.policy) for app in reply.apps]
    show(table("NAME", "NODE ID", "PID", "STATE", "INSTANCE", "POLICY", rows=rows))
