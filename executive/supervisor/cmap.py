"""The configuration map as corosync's users know it: dotted keys, from the file and from the running node."""

from __future__ import annotations

from ...ipc.messages.control import RingAnswer
from ..config.model import Configuration


def view(configuration: Configuration, ring: RingAnswer | None) -> dict[str, str | int]:
    """All keys.

    Besides the configuration's (which has the effective values as `runtime.config.totem.*`): `runtime.members.ID.*`,
    the ring as this node sees it; absent while the ring process is away.
    """
    values: dict[str, str | int] = dict(configuration.cmap)
    if ring is not None:
        addresses = {node.node_id: node.addresses for node in configuration.nodes}
        for node_id in sorted({*addresses, *ring.members}):
            prefix = f"runtime.members.{node_id}"
            links = enumerate(addresses.get(node_id, ()))
            values[f"{prefix}.ip"] = " ".join(f"r({link}) ip({address})" for link, address in links)
            values[f"{prefix}.status"] = "joined" if node_id in ring.members else "left"
    return values
