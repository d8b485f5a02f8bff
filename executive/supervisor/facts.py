"""What the executive says about itself: effective values at the start, and its numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ipc.server import Server
from ..config.model import Configuration
from ..runtime.metrics import Metrics
from .family import Family


def effective_values(configuration: Configuration) -> dict[str, object]:
    """What an operator wants to see at the start, since defaults depend on versions and on the number of nodes."""
    totem = configuration.totem
    return {
        "node": configuration.local_node_id,
        "cluster": totem.cluster_name,
        "transport": totem.transport,
        "cipher": totem.cipher,
        "token_ms": totem.token,
        "consensus_ms": totem.consensus,
        "nodes": ",".join(f"{node.node_id}={node.label}" for node in configuration.nodes),
        "files": ",".join(configuration.sources) or "none",
    }


def own_metrics(family: Family, server: Server[Any], uptime_seconds: Callable[[], float]) -> Metrics:
    """The executive's own numbers."""
    metrics = Metrics()
    metrics.gauge("uptime_seconds", "Seconds since the executive started.", lambda: round(uptime_seconds(), 3))
    metrics.gauge("control_sessions", "Open connections of the control socket.", lambda: len(list(server.sessions)))
    metrics.counter("control_malformed", "Messages that were none of this protocol.", lambda: server.malformed)
    for name in family.snapshot():
        _about_child(metrics, family, name)
    return metrics


def _about_child(metrics: Metrics, family: Family, name: str) -> None:
    def restarts() -> float:
        return family.snapshot()[name].restarts

    def running() -> float:
        return family.snapshot()[name].state == "running"

    metrics.counter("child_restarts", "Restarts since the executive started.", restarts, child=name)
    metrics.gauge("child_running", "1 while the process serves.", running, child=name)
