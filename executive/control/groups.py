"""`totemctl groups`: the closed process groups of the cluster."""

from __future__ import annotations

from ...ipc.messages.control import GroupsReply, GroupsRequest
from .asking import Options, command
from .showing import escaped, groups_as_json, print_json, show, table


@command("groups")
def groups(options: Options) -> None:
    """All groups with their members.  Names are bytes; what cannot be printed is escaped."""
    with options.executive() as executive:
        reply: GroupsReply = executive.ask(GroupsRequest())
    if options.as_json:
        print_json(groups_as_json(reply.groups))
        return
    rows = [
        (escaped(group.name) if first else "", pid, node_id)
        for group in reply.groups
        for first, (node_id, pid) in zip([True] + [False] * len(group.members), group.members, strict=False)
    ]
    show(table("GROUP NAME", "PID", "NODE ID", rows=rows))
