"""How often something may be done for each node: so often at once, and so often a second in the long run."""

from __future__ import annotations


class Allowance:
    """A bucket for each node.  Nodes are few: only configured ones, and those that have the key, get that far."""

    def __init__(self, at_once: int, per_second: float) -> None:
        self._at_once = at_once
        self._per_second = per_second
        self._left: dict[int, tuple[float, float]] = {}
        """Node -> what is left, as of when."""

    def take(self, node: int, now: float) -> bool:
        """Whether it may be done for *node* now; if so, one less is left."""
        left, since = self._left.get(node, (float(self._at_once), now))
        left = min(self._at_once, left + (now - since) * self._per_second)
        may = left >= 1
        self._left[node] = left - may, now
        return may
