"""A broken promise, as data."""

from __future__ import annotations

from typing import NamedTuple

from simcluster.history import Incarnation


class Violation(NamedTuple):
    """One violated property."""

    prop: str
    """E1 … E18, L1 … L5 (liveness), W1 … (what was seen on the wire), or `crash`."""
    time: float
    what: str
    where: tuple[tuple[Incarnation, int], ...] = ()
    """Histories to look at, each with the serial of the entry in question."""

    def __str__(self) -> str:
        return f"{self.prop} at {self.time:.6f} s: {self.what}"
