"""Numbers and their Prometheus text."""

from __future__ import annotations

from totemd.executive.control.exposition import prometheus_text
from totemd.executive.runtime.metrics import Metrics
from totemd.ipc.messages.control import Metric


def test_a_number_is_made_once() -> None:
    metrics = Metrics()
    metrics.counter("drops", "Drops.", why="digest").add()
    metrics.counter("drops", "Drops.", why="digest").add(2)
    metrics.counter("restarts", "Restarts.", lambda: 7)
    metrics.gauge("members", "Members.").value = 3
    metrics.gauge("backlog", "Backlog.", lambda: 1.5)
    assert metrics.snapshot() == (
        Metric("totemd_drops_total", "counter", 3, "Drops.", (("why", "digest"),)),
        Metric("totemd_restarts_total", "counter", 7, "Restarts."),
        Metric("totemd_members", "gauge", 3, "Members."),
        Metric("totemd_backlog", "gauge", 1.5, "Backlog."),
    )


def test_a_condition_is_a_number() -> None:
    value = Metric("x", "gauge", True, "").value
    assert value == 1
    assert not isinstance(value, bool)


def test_the_text_has_one_head_per_name() -> None:
    text = prometheus_text(
        (
            Metric("totemd_rx_total", "counter", 7, "Received.", (("process", "totem"),)),
            Metric("totemd_up", "gauge", 0.25, "Up."),
            Metric("totemd_rx_total", "counter", 8, "Received.", (("process", "cpg"),)),
        )
    )
    assert text == (
        "# HELP totemd_rx_total Received.\n"
        "# TYPE totemd_rx_total counter\n"
        'totemd_rx_total{process="totem"} 7.0\n'
        'totemd_rx_total{process="cpg"} 8.0\n'
        "# HELP totemd_up Up.\n"
        "# TYPE totemd_up gauge\n"
        "totemd_up 0.25\n"
    )


def test_what_would_break_a_line_is_escaped() -> None:
    metric = Metric("x", "gauge", 1, "a\\b\nc", (("app", 'say "hi"\\\n'),))
    assert prometheus_text((metric,)).splitlines() == [
        r"# HELP x a\\b\nc",
        "# TYPE x gauge",
        r'x{app="say \"hi\"\\\n"} 1.0',
    ]
