"""The connected clients, what each is sent, and how far each is behind: pure.

Everything that a client is sent, except credit and its dismissal, counts as unread until it says that it has read it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...ipc.codec import encode
from ...ipc.errors import ProtocolError
from ...ipc.messages.common import refusal
from ...ipc.messages.cpg import BATCH_COST_BYTES, CLIENT_CREDIT_BYTES, Credit, Expelled
from .effects import Dismiss, Effect, Frames, Note, ToClients
from .memberships import LocalClient

BACKLOG_BYTES_MAX = 64 * 1024 * 1024
"""Bytes that a client may leave unread; one that is further behind is to be expelled."""

BACKLOG_BYTES_ALL_MAX = 512 * 1024 * 1024
"""Bytes that all clients of a node together may leave unread; above, the one that is furthest behind is expelled."""


class Audience:
    """Adds its effects to the list that it is given."""

    def __init__(self, effects: list[Effect]) -> None:
        self.clients: dict[LocalClient, None] = {}
        self.unread = 0
        """Bytes that all clients together have not read."""
        self._effects = effects

    def enter(self, handle: Any, pid: int) -> LocalClient:
        """A client has connected; *handle* is what the shell knows it by."""
        client = LocalClient(handle, pid)
        self.clients[client] = None
        return client

    def leave(self, client: LocalClient) -> bool:
        """A client is gone; returns whether it was there."""
        if client not in self.clients:
            return False
        del self.clients[client]
        self.unread -= client.unread
        return True

    def send(self, clients: tuple[LocalClient, ...], frames: Frames) -> list[LocalClient]:
        """Send the same frames to each; returns those that are too far behind now."""
        if not clients:
            return []
        self._effects.append(ToClients(clients, frames))
        size = sum(len(frame) for frame in frames)
        self.unread += size * len(clients)
        for client in clients:
            client.unread += size
            client.unread_sizes.append(size)
        behind = [client for client in clients if client.unread > BACKLOG_BYTES_MAX]
        if not behind and self.unread > BACKLOG_BYTES_ALL_MAX:
            behind = [max(self.clients, key=lambda client: client.unread)]
        return behind

    def consumed(self, client: LocalClient, messages: int) -> None:
        """A client has read so many more messages."""
        sizes = client.unread_sizes
        size = sum(sizes.popleft() for _ in range(min(messages, len(sizes))))
        client.unread -= size
        self.unread -= size

    def expel(self, client: LocalClient) -> None:
        """Tell a client that it is out, and why."""
        why = f"{client.unread} bytes were left unread; the limit is {BACKLOG_BYTES_MAX} for a client"
        self._effects.append(
            Note("warning", "a client that does not read is expelled", {"pid": client.pid, "unread": client.unread})
        )
        self._dismiss(client, Expelled(why))

    def charge(self, client: LocalClient, batch_bytes: int) -> int:
        """A client sent a batch; returns what that costs of its credit."""
        cost = BATCH_COST_BYTES + batch_bytes
        client.on_the_way += cost
        return cost

    def refund(self, client: LocalClient, cost: int) -> None:
        """Credit goes back to a client: the ring took its batches, or nobody will."""
        client.on_the_way -= cost
        if cost and client in self.clients:
            self._effects.append(ToClients((client,), (encode(Credit(cost)),)))

    def has_overdrawn(self, client: LocalClient) -> bool:
        """Whether a client sent more than its credit; then it is dismissed."""
        if client.on_the_way <= CLIENT_CREDIT_BYTES:
            return False
        text = f"{client.on_the_way} bytes are on the way to the ring; the credit is {CLIENT_CREDIT_BYTES}"
        self._dismiss(client, refusal(ProtocolError(text)))
        return True

    def _dismiss(self, client: LocalClient, last_word: msgspec.Struct) -> None:
        self._effects.append(ToClients((client,), (encode(last_word),)))
        self._effects.append(Dismiss(client))
