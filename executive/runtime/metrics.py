"""Numbers that a process keeps about itself: plain counters and gauges, and their Prometheus text.

The numbers are attributes that hot code adds to; nothing is locked, since a process has one thread.  Prometheus'
client library is not used: it brings a registry with locks and multi-process files for what is here a loop over a
dozen numbers, and the text format (version 0.0.4) is a page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from ...ipc.messages.control import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""What an HTTP server that hands the text on has to say it is."""

PREFIX = "totemd_"
"""Begins every name."""

Labels = tuple[tuple[str, str], ...]


class Counter:
    """A number that only grows; its name ends in `_total`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> None:
        """Count."""
        self.value += amount


class Gauge:
    """A number that goes up and down; set it, or let `read` tell it when it is asked for."""

    __slots__ = ("_read", "value")

    def __init__(self, read: Callable[[], float] | None = None) -> None:
        self.value: float = 0
        self._read = read

    def current(self) -> float:
        """The value now."""
        return self.value if self._read is None else self._read()


class Metrics:
    """The numbers of one process, in the order in which they were made."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, Labels], tuple[Counter | Gauge, str]] = {}

    def counter(self, name: str, help: str, **labels: str) -> Counter:
        """The counter `totemd_NAME_total` with these labels; the same object for the same arguments."""
        found, _ = self._numbers.setdefault((f"{PREFIX}{name}_total", tuple(sorted(labels.items()))), (Counter(), help))
        assert isinstance(found, Counter)
        return found

    def gauge(self, name: str, help: str, read: Callable[[], float] | None = None, **labels: str) -> Gauge:
        """The gauge `totemd_NAME` with these labels; the same object for the same arguments."""
        found, _ = self._numbers.setdefault((PREFIX + name, tuple(sorted(labels.items()))), (Gauge(read), help))
        assert isinstance(found, Gauge)
        return found

    def snapshot(self) -> tuple[Metric, ...]:
        """All numbers now."""
        return tuple(
            Metric(name, "counter", number.value, help, labels)
            if isinstance(number, Counter)
            else Metric(name, "gauge", number.current(), help, labels)
            for (name, labels), (number, help) in self._numbers.items()
        )


def prometheus_text(metrics: Iterable[Metric]) -> str:
    """The exposition format: lines of one name together, in the order in which names first appear."""
    families: dict[str, list[Metric]] = {}
    for metric in metrics:
        families.setdefault(metric.name, []).append(metric)
    lines: list[str] = []
    for name, family in families.items():
        lines.append(f"# HELP {name} {_escape(family[0].help)}")
        lines.append(f"# TYPE {name} {family[0].kind}")
        lines += [f"{name}{_labels(metric.labels)} {_number(metric.value)}" for metric in family]
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Labels) -> str:
    quoted = ",".join('{}="{}"'.format(key, _escape(value).replace('"', '\\"')) for key, value in labels)
    return f"{{{quoted}}}" if quoted else ""


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)
