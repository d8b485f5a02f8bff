"""The rows of the group service, which are totemd's own: corosync has no options for it."""

from __future__ import annotations

from .kinds import Integer
from .options import Option

_MIB = 1024 * 1024

CPG_OPTIONS: tuple[Option, ...] = (
    Option(
        path="cpg.max_message_size",
        kind=Integer(_MIB, 64 * _MIB, "bytes"),
        default=_MIB,
        reload=True,
        doc="Longest message that a client of this node may send. Longer ones than 1048576 travel in parts, between "
        "which the messages of other clients have their turn; every node takes them, whatever its own limit. "
        "totemd only.",
    ),
    Option(
        path="cpg.backlog",
        kind=Integer(_MIB, 512 * _MIB, "bytes"),
        default=64 * _MIB,
        reload=True,
        doc="How much a client may have left unread when more comes for it. One that is further behind is expelled "
        "from its groups, and told so. What the others have on their way comes at once when a program was busy for a "
        "moment: below 8 MiB a healthy one may be expelled. Where longer messages than 1048576 are allowed it is at "
        "least three of the longest and 4 MiB, which a member that sends before it reads may find. totemd only.",
    ),
    Option(
        path="cpg.unread_timeout",
        kind=Integer(0, 24 * 3600 * 1000, "ms"),
        default=0,
        reload=True,
        doc="How long a member may read nothing although something waits for it, before it is expelled; 0: for ever, "
        "so that only the backlog counts. totemd only.",
    ),
)
