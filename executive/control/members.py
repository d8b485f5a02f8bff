"""`totemctl members`: the nodes of the cluster."""

from __future__ import annotations

from rich.table import Table

from ...ipc.messages.control import MembersReply, MembersRequest
from .asking import Options, command
from .showing import members_as_json, print_json, show, table


@command("members")
def members(options: Options) -> None:
    """All nodes that are configured or in the ring.  "joined" are those in the ring of this node."""
    with options.executive() as executive:
        reply: MembersReply = executive.ask(MembersRequest())
    if options.as_json:
        print_json(members_as_json(reply.nodes))
    else:
        show(member_table(reply))


def member_table(reply: MembersReply) -> Table:
    """One line per node."""
    return table(
        "NODE ID",
        "NAME",
        "ADDRESS",
        "STATE",
        rows=(
            (
                f"{node.node_id} (local)" if node.local else node.node_id,
                node.name or "-",
                " ".join(node.addresses) or "-",
                node.state,
            )
            for node in reply.nodes
        ),
    )
