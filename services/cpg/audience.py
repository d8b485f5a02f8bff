"""The connected clients, what each is sent, and how far each is behind: pure.

Everything that a client is sent, except credit and its dismissal, counts as unread until it says that it has read it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from ...ipc.codec import encode
from ...ipc.errors import ProtocolError
from ...ipc.ids import MESSAGE_BYTES_MAX
from ...ipc.messages.common import refusal
from ...ipc.messages.cpg import (
    BATCH_BYTES_MAX,
    BATCH_COST_BYTES,
    CLIENT_CREDIT_BYTES,
    LENGTH_BYTES,
    Credit,
    Expelled,
    Limits,
)
from .effects import Dismiss, Effect, Frames, Note, ToClients
from .memberships import LocalClient

BACKLOG_BYTES_ALL_MAX = 512 * 1024 * 1024
"""Bytes that all clients of a node together may leave unread; above, the one that is furthest behind is expelled."""


CREDIT_PARTS = 8
"""A client gets its credit back in parts of this share of it, since each wakes the client."""


BEHIND_SHARE = 1 / 4
"""Share of its backlog that a client may have unread before the ring waits for it."""

READING_SECONDS = 1.0
"""Somebody who has read nothing for so long is not slow but has stopped: nobody waits."""

PROBE_SECONDS = 5.0
"""How often it is looked whether a member that is sent nothing still has its connection."""

PROBE: Frames = (encode(Credit(0)),)
"""What says nothing."""

WAIT_SECONDS_MAX = 5.0
"""How long the ring waits for a client until that has caught up by half."""


class ClientLimits(NamedTuple):
    """What the configuration allows a client: `cpg { }`."""

    message_bytes: int = MESSAGE_BYTES_MAX
    """Longest message that it may send."""
    backlog_bytes: int = 64 * 1024 * 1024
    """Bytes that it may have left unread when it is sent more; one that is further behind is expelled."""
    unread_seconds: float = 0.0
    """How long it may read nothing of what waits for it; 0: for ever."""

    @property
    def told(self) -> Limits:
        """What clients have to know of it."""
        return Limits(self.message_bytes, BATCH_BYTES_MAX, round(self.unread_seconds * 1000))

    @property
    def credit_bytes(self) -> int:
        """What it may have on the way to the ring."""
        if self.message_bytes <= MESSAGE_BYTES_MAX:
            return CLIENT_CREDIT_BYTES
        return CLIENT_CREDIT_BYTES + 2 * (self.message_bytes + LENGTH_BYTES + BATCH_COST_BYTES)

    @property
    def unread_bytes(self) -> int:
        """What it may leave unread: the backlog, but with long messages no less than comes back to a member that sends
        all it may before it reads, and a message more."""
        if self.message_bytes <= MESSAGE_BYTES_MAX:
            return self.backlog_bytes
        return max(self.backlog_bytes, self.credit_bytes + self.message_bytes)


class Audience:
    """Adds its effects to the list that it is given."""

    def __init__(self, effects: list[Effect]) -> None:
        self.clients: dict[LocalClient, None] = {}
        self.limits = ClientLimits()
        self.unread = 0
        """Bytes that all clients together have not read."""
        self._behind: set[LocalClient] = set()
        """Those that the ring may wait for."""
        self._since_probe = 0.0
        self._effects = effects

    def enter(self, handle: Any, pid: int) -> LocalClient:
        """A client has connected; *handle* is what the shell knows it by."""
        client = LocalClient(handle, pid, self.limits.credit_bytes, self.limits.message_bytes)
        self.clients[client] = None
        return client

    def widen(self, client: LocalClient) -> None:
        """The limits have changed: longer messages need more credit; what a client was given once it keeps."""
        client.message_bytes = max(client.message_bytes, self.limits.message_bytes)
        more = self.limits.credit_bytes - client.credit
        if more > 0:
            client.credit += more
            self._effects.append(ToClients((client,), (encode(Credit(more)),)))

    def leave(self, client: LocalClient) -> bool:
        """A client is gone; returns whether it was there."""
        if client not in self.clients:
            return False
        del self.clients[client]
        self._behind.discard(client)
        self.unread -= client.unread
        return True

    def send(self, clients: tuple[LocalClient, ...], frames: Frames) -> list[LocalClient]:
        """Send the same frames to each; returns those that had left too much unread before."""
        if not clients:
            return []
        self._effects.append(ToClients(clients, frames))
        size = sum(map(len, frames))
        self.unread += size * len(clients)
        behind = [client for client in clients if client.unread > self.limits.unread_bytes]
        for client in clients:
            client.unread += size
            client.unread_sizes.append(size)
            if client.unread > self.limits.unread_bytes * BEHIND_SHARE:
                self._behind.add(client)
        if not behind and self.unread > BACKLOG_BYTES_ALL_MAX:
            behind = [max(self.clients, key=lambda client: client.unread)]
        return behind

    def consumed(self, client: LocalClient, messages: int) -> None:
        """A client has read so many more messages."""
        sizes = client.unread_sizes
        size = sum(sizes.popleft() for _ in range(min(messages, len(sizes))))
        client.unread -= size
        client.unread_seconds = 0.0
        self.unread -= size
        if client in self._behind and client.unread <= self.limits.unread_bytes * BEHIND_SHARE / 2:
            self._behind.discard(client)
            client.waited_seconds = 0.0

    @property
    def ring_waits(self) -> bool:
        """Whether somebody reads, but more slowly than the ring delivers, and has not been waited for long enough."""
        return any(
            client.unread_seconds < READING_SECONDS and client.waited_seconds < WAIT_SECONDS_MAX
            for client in self._behind
        )

    def time_passed(self, seconds: float) -> list[LocalClient]:
        """Returns the clients that have read nothing for too long, though there was something."""
        for client in self._behind:
            client.waited_seconds += seconds
        for client in self.clients:
            # Who is in no group is told little, and may be a program that calls nothing for hours.
            counts = client.unread and client.groups
            client.unread_seconds = client.unread_seconds + seconds if counts else 0.0
        self._since_probe += seconds
        if self._since_probe >= PROBE_SECONDS:
            self._since_probe = 0.0
            self.probe([client for client in self.clients if client.groups])
        limit = self.limits.unread_seconds
        return [client for client in self.clients if limit and client.unread_seconds > limit]

    def probe(self, clients: Iterable[LocalClient]) -> None:
        """Have the shell find out whose connection is gone though its process lives on."""
        if found := tuple(clients):
            self._effects.append(ToClients(found, PROBE))

    def expel(self, client: LocalClient) -> None:
        """Tell a client that it is out, and why."""
        limits = self.limits
        why = f"{client.unread} bytes were left unread; cpg.backlog is {limits.unread_bytes}"
        if limits.unread_seconds and client.unread_seconds > limits.unread_seconds:
            why = f"nothing was read for {client.unread_seconds:g} s; cpg.unread_timeout is {limits.unread_seconds:g} s"
        self._effects.append(
            Note("warning", "a client that does not read is expelled", {"pid": client.pid, "why": why})
        )
        self._dismiss(client, Expelled(why))

    def charge(self, client: LocalClient, batch_bytes: int) -> int:
        """A client sent a batch; returns what that costs of its credit."""
        cost = BATCH_COST_BYTES + batch_bytes
        client.on_the_way += cost
        return cost

    def refund(self, client: LocalClient, cost: int) -> None:
        """Credit goes back to a client: the ring took its batches, or nobody will.

        It is told when it is worth a message; until then it has most of its credit, more than any message takes.
        """
        client.on_the_way -= cost
        client.owed += cost
        if client.owed * CREDIT_PARTS >= client.credit and client in self.clients:
            self._effects.append(ToClients((client,), (encode(Credit(client.owed)),)))
            client.owed = 0

    def has_overdrawn(self, client: LocalClient) -> bool:
        """Whether a client sent more than its credit; then it is dismissed."""
        if client.on_the_way <= client.credit:
            return False
        text = f"{client.on_the_way} bytes are on the way to the ring; the credit is {client.credit}"
        self._dismiss(client, refusal(ProtocolError(text)))
        return True

    def _dismiss(self, client: LocalClient, last_word: msgspec.Struct) -> None:
        self._effects.append(ToClients((client,), (encode(last_word),)))
        self._effects.append(Dismiss(client))
