"""What singletons leave to their successors: the latest data of each, on every node, bounded."""

from __future__ import annotations

from .messages import STORED_NAMES_MAX, Head, Stored


class Handover:
    """One node's copies."""

    def __init__(self) -> None:
        self._of: dict[str, Stored] = {}

    def take(self, stored: Stored) -> bool:
        """Keep it if it is newer than what is here; whether it was."""
        if (stored.fence, stored.version) <= self.head(stored.name):
            return False
        self._of[stored.name] = stored
        while len(self._of) > STORED_NAMES_MAX:
            del self._of[min(self._of, key=self.head)]
        return True

    def get(self, name: str) -> Stored | None:
        """The copy of this node."""
        return self._of.get(name)

    def data(self, name: str) -> bytes:
        """What the next runner gets; empty if nothing was left."""
        stored = self._of.get(name)
        return b"" if stored is None else stored.data

    def head(self, name: str) -> tuple[int, int]:
        """Which version is here: by term, then by number."""
        stored = self._of.get(name)
        return (0, 0) if stored is None else (stored.fence, stored.version)

    def heads(self) -> tuple[Head, ...]:
        """All versions, sorted by name."""
        return tuple(Head(name, each.fence, each.version) for name, each in sorted(self._of.items()))
