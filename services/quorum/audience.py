"""Who tracks the votes, and how far behind each is: pure.

A client that does not read costs a fixed number of messages: after `UNSEEN_MAX` it is told nothing until it has read
them, and then the latest.
"""

from __future__ import annotations

from collections.abc import Hashable

from ...ipc.messages.quorum import UNSEEN_MAX


class Audience:
    """The clients that track; each is whatever the shell knows it by."""

    def __init__(self) -> None:
        self._unseen: dict[Hashable, int] = {}
        self._behind: set[Hashable] = set()

    def __len__(self) -> int:
        return len(self._unseen)

    def enter(self, client: Hashable) -> None:
        """It tracks from now on; twice is the same as once."""
        self._unseen.setdefault(client, 0)

    def leave(self, client: Hashable) -> None:
        """It tracks no more; harmless if it did not."""
        self._unseen.pop(client, None)
        self._behind.discard(client)

    def receivers(self) -> list[Hashable]:
        """Something is different: who is to be told now."""
        ready = [client for client, unseen in self._unseen.items() if unseen < UNSEEN_MAX]
        self._behind.update(self._unseen.keys() - set(ready))
        for client in ready:
            self._unseen[client] += 1
        return ready

    def seen(self, client: Hashable, changes: int) -> bool:
        """It has read so many.  Returns whether it is to be told the latest."""
        if client not in self._unseen:
            return False
        self._unseen[client] = max(0, self._unseen[client] - changes)
        if client not in self._behind or self._unseen[client]:
            return False
        self._behind.discard(client)
        self._unseen[client] = 1
        return True
