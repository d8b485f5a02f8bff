"""The configuration map as corosync's users know it: dotted keys, from the file and from the running node."""

from __future__ import annotations

from ...ipc.messages.control import QuorumAnswer, RingAnswer
from ..config.model import Configuration

CANCEL_WAIT_FOR_ALL = "quorum.cancel_wait_for_all"
"""No option but a button: set to 1, the cluster waits for all nodes no more, and it is 0 again."""


FORGETTABLE = "resources.process."
"""Keys that begin so may be deleted, once their application has failed and ended."""


def view(
    configuration: Configuration, ring: RingAnswer | None, quorum: QuorumAnswer | None = None
) -> dict[str, str | int]:
    """All keys.

    Besides the configuration's (which has the effective values as `runtime.config.totem.*`): `runtime.members.ID.*`,
    the ring as this node sees it, and `runtime.votequorum.*`; absent while the process that knows it is away.  The sam
    process adds `resources.*`.
    """
    values: dict[str, str | int] = dict(configuration.cmap)
    if quorum is not None:
        values |= quorum.keys | {CANCEL_WAIT_FOR_ALL: 0}
    if ring is not None:
        addresses = {node.node_id: node.addresses for node in configuration.nodes}
        for node_id in sorted({*addresses, *ring.members}):
            prefix = f"runtime.members.{node_id}"
            links = enumerate(addresses.get(node_id, ()))
            values[f"{prefix}.ip"] = " ".join(f"r({link}) ip({address})" for link, address in links)
            values[f"{prefix}.status"] = "joined" if node_id in ring.members else "left"
    return values
