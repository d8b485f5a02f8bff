"""Numbers that a process keeps about itself: plain counters and gauges.

They are attributes that hot code adds to; nothing is locked, since a process has one thread.  `totemctl metrics` makes
Prometheus' text of them (decision 0011).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...ipc.messages.control import Metric

PREFIX = "totemd_"
"""Begins every name."""

Labels = tuple[tuple[str, str], ...]


class Counter:
    """A number that only grows; its name ends in `_total`.  Add to it, or let `read` tell it when it is asked for."""

    __slots__ = ("_read", "value")

    def __init__(self, read: Callable[[], float] | None = None) -> None:
        self.value = 0
        self._read = read

    def add(self, amount: int = 1) -> None:
        """Count."""
        self.value += amount

    def current(self) -> float:
        """The value now."""
        return self.value if self._read is None else self._read()


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

    def counter(self, name: str, help: str, read: Callable[[], float] | None = None, **labels: str) -> Counter:
        """The counter `totemd_NAME_total` with these labels; the same object for the same arguments."""
        key = f"{PREFIX}{name}_total", tuple(sorted(labels.items()))
        found, _ = self._numbers.setdefault(key, (Counter(read), help))
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
            Metric(name, "counter" if isinstance(number, Counter) else "gauge", number.current(), help, labels)
            for (name, labels), (number, help) in self._numbers.items()
        )


Figure = tuple[str, float, str]
"""Name without the prefix, value, help."""


def listed(gauges: Iterable[Figure], totals: Iterable[Figure]) -> tuple[Metric, ...]:
    """Numbers that are kept elsewhere, as they are told; those of *totals* only grow."""
    return (
        *(Metric(f"{PREFIX}{name}", "gauge", value, help) for name, value, help in gauges),
        *(Metric(f"{PREFIX}{name}_total", "counter", value, help) for name, value, help in totals),
    )
