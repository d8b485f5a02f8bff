"""The canonical workload: what is measured of every system, in this order."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

SIZES = (64, 320, 1_600, 8_000, 65_536, 1_000_000)
"""Bytes of a message."""

QUICK_SIZES = (64, 1_600, 8_000, 1_000_000)

LATENCY_SIZE = 64

CLUSTERS = (1, 2, 3, 5, 8)
"""Nodes."""

QUICK_CLUSTER = 3


class What(enum.Enum):
    """Kinds of measurement; the value is their name in reports."""

    REST = "at rest"
    ONE = "one sender"
    EVERY = "a sender on every node"
    LATENCY = "latency"
    CONNECT = "connect and join"
    LOADED = "after load"


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement; *size* is that of a message, 0 where there is none."""

    what: What
    size: int = 0

    def __str__(self) -> str:
        return f"{self.what.value}, {size_name(self.size)}" if self.size else self.what.value


def size_name(size: int) -> str:
    """As people say it."""
    return {8_000: "8 kB", 65_536: "64 KiB", 1_000_000: "1 MB"}.get(size, f"{size} B")


def cells(nodes: int, one: Iterable[int], every: Iterable[int], *, latency: bool) -> list[Cell]:
    """The measurements for a cluster of so many nodes; a single node has nobody else to send."""
    floods = [Cell(What.ONE, size) for size in one]
    if nodes > 1:
        floods += [Cell(What.EVERY, size) for size in every]
    single = [Cell(What.LATENCY, LATENCY_SIZE), Cell(What.CONNECT)] if latency else []
    return [Cell(What.REST), *floods, *single, Cell(What.LOADED)]
