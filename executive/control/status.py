"""`totemctl status`: how this node is."""

from __future__ import annotations

from rich.table import Table

from ...ipc.messages.control import StatusReply, StatusRequest
from .asking import Options, command
from .showing import duration, print_json, show, status_as_json, table


@command("status")
def status(options: Options) -> None:
    """How this node is: ring, members, effective values, processes.

    The state is operational, gather, commit or recovery; "down" while the totem process is being restarted.
    """
    with options.executive() as executive:
        reply: StatusReply = executive.ask(StatusRequest())
    if options.as_json:
        print_json(status_as_json(reply))
    else:
        show(summary(reply), "", processes(reply))


def summary(reply: StatusReply) -> Table:
    """The node in a few lines."""
    quorate = {None: "no quorum provider", True: "yes", False: "no"}[reply.quorate]
    made = Table(box=None, pad_edge=False, show_header=False)
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    name = f" ({reply.name})" if reply.name else ""
    made.add_row("Node", f"{reply.node_id}{name}, pid {reply.pid}, up {duration(reply.uptime_seconds)}")
    made.add_row("Cluster", reply.cluster_name or "(no name)")
    made.add_row("State", reply.state)
    made.add_row("Ring", "-" if reply.ring is None else str(reply.ring))
    made.add_row("Members", " ".join(map(str, reply.members)) or "-")
    made.add_row("Quorate", quorate)
    made.add_row("Sealing", f"{reply.cipher}, transport {reply.transport}")
    made.add_row("Timers", f"token {reply.token_ms} ms, consensus {reply.consensus_ms} ms")
    made.add_row("Files", " ".join(reply.configuration_files) or "none, defaults")
    made.add_row("Version", reply.version)
    return made


def processes(reply: StatusReply) -> Table:
    """The children."""
    return table(
        "PROCESS",
        "PID",
        "STATE",
        "RESTARTS",
        "LAST EXIT",
        rows=(
            (name, each.pid or "-", each.state, each.restarts, each.last_exit or "-")
            for name, each in reply.processes.items()
        ),
    )
