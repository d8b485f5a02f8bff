"""The Totem process's numbers, as `totemctl metrics` shows them."""

from __future__ import annotations

from collections.abc import Mapping

from ...ipc.messages.control import Metric
from .core.ring import Ring


def totem_metrics(ring: Ring, frames: Mapping[str, int], link: Mapping[str, int]) -> tuple[Metric, ...]:
    """Gauges of the ring, and the counters of its three layers, one labelled family each."""
    gauges = (
        Metric("totemd_ring_members", "gauge", len(ring.members), "Members of the installed ring."),
        Metric("totemd_ring_sequence", "gauge", ring.installed.sequence, "Sequence of the installed ring."),
        Metric("totemd_ring_operational", "gauge", ring.state.value == "operational", "1 while the ring turns."),
        Metric("totemd_ring_backlog_bytes", "gauge", ring.backlog_bytes, "Submitted bytes without a place yet."),
        Metric("totemd_ring_stored_frames", "gauge", ring.stored_frames, "Frames kept for retransmission."),
        Metric("totemd_ring_rotation_seconds", "gauge", ring.rotation_seconds, "Smoothed time of a rotation."),
        Metric("totemd_ring_frame_datagrams", "gauge", ring.frame_datagrams, "Datagrams that a frame may take now."),
    )
    families = (
        ("totemd_ring_events_total", "What happened in the ring's core.", ring.counters),
        ("totemd_frames_total", "Sealed frames and datagrams, and why some were dropped.", frames),
        ("totemd_link_total", "What the link sent and received.", link),
    )
    return gauges + tuple(
        Metric(name, "counter", value, help_text, (("event", event),))
        for name, help_text, values in families
        for event, value in sorted(values.items())
    )
