"""`totemctl members`: the nodes of the cluster."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from ...ipc.messages.control import MembersReply, MembersRequest
from .asking import Options, command
from .showing import members_as_json, print_json, show, table

UNKNOWN = "unknown"
"""What the executive calls every node while the totem process does not answer."""

SILENCE = "The totem process does not answer, so who is in the ring is not known; see `totemctl status`."


@command("members")
def members(options: Options) -> None:
    """All nodes that are configured or in the ring.

    "joined" are those in the ring of this node, "absent" the others; "unknown" all, while the totem process does not
    answer.
    """
    with options.executive() as executive:
        reply: MembersReply = executive.ask(MembersRequest())
    if options.as_json:
        print_json(members_as_json(reply.nodes))
    else:
        show(member_table(reply))


def member_table(reply: MembersReply) -> RenderableType:
    """One line per node; below them, if it is so, that the ring is not known."""
    made = table(
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
    if all(node.state != UNKNOWN for node in reply.nodes):
        return made
    return Group(made, Text(SILENCE))
