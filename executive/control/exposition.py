"""Numbers as Prometheus' text: by its own library (decision 0011)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from ...ipc.messages.control import Metric


def prometheus_text(metrics: Iterable[Metric]) -> str:
    """The exposition format: what has one name together, in the order in which names first appear."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(metrics))
    return generate_latest(registry).decode()


class _Snapshot(Collector):
    """Numbers that were taken elsewhere, as the library's registry asks for them."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Family]:
        families: dict[str, Family] = {}
        for metric in self._metrics:
            # The library adds a counter's `_total` to the name of its family, not to that of its samples.
            family = families.setdefault(
                metric.name, Family(metric.name.removesuffix("_total"), metric.help, metric.kind)
            )
            family.add_sample(metric.name, dict(metric.labels), metric.value)
        yield from families.values()
