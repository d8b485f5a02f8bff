"""A run written down instead of drawn: its options, what goes wrong when, and what is submitted when."""

from __future__ import annotations

from dataclasses import dataclass

from simcluster.faults import PlannedFault
from simcluster.options import Options


@dataclass(frozen=True, slots=True)
class Request:
    """An application's submission."""

    time: float
    node: int
    size: int
    """Bytes."""
    safe: bool

    def payload(self, index: int) -> bytes:
        """Bytes that differ from those of another *index*, as far as the size allows."""
        text = f"{index}.".encode()
        return (text * (self.size // len(text) + 1))[: self.size]


@dataclass(frozen=True, slots=True)
class Script:
    """All that happens to a cluster from outside."""

    options: Options
    faults: tuple[PlannedFault, ...]
    requests: tuple[Request, ...]
    """In time order; the load that `options` describes is not generated besides."""
