"""What the blocking and the asyncio client have in common besides the channel: what they show, and how they refuse."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ...ipc import forks
from ...ipc.errors import OperationFailed
from ...ipc.ids import Address, Member
from ...ipc.paths import CPG_SOCKET, run_dir
from .channel import Channel
from .events import RingChange
from .subscription import Stage, Subscription

ROLE = "client"
"""What a client calls itself in its hello."""

SERVICE_NAME = "totemd's cpg service"
"""What error texts call the other end."""

CONNECT_SECONDS = 5.0
"""How long `Client` waits by default until the service lets it in."""

LEAVE_SECONDS = 10.0
"""How long the end of a `with` block waits for the group to be left; it is left then in any case."""


def socket_path(explicit_run_dir: str | os.PathLike[str] | None) -> Path:
    """Where this node's cpg service listens."""
    return run_dir(explicit_run_dir) / CPG_SOCKET


class ClientView:
    """What a client shows."""

    def __init__(self) -> None:
        self._channel = Channel()
        self._process = forks.generation()
        self.context: Any = None
        """Yours; totemd never looks at it."""

    @property
    def node_id(self) -> int:
        """This node."""
        return self._channel.address.node_id

    @property
    def address(self) -> Address:
        """This process, as all members of its groups see it."""
        return self._channel.address

    @property
    def connected(self) -> bool:
        """Whether the service answers, as far as is known; if not, the client tries again by itself whenever it waits
        for something.  True while only the node's network process is gone: see `ring`."""
        return self._channel.connected

    @property
    def message_bytes_max(self) -> int:
        """The longest message that may be sent through this node: 1 MiB unless its configuration raises it."""
        return self._channel.message_bytes_max

    @property
    def ring(self) -> RingChange | None:
        """The ring as last told; None while this node has none."""
        return self._channel.ring

    def _check_process(self) -> None:
        if forks.generation() != self._process:
            raise OperationFailed("a client cannot be used after fork(); make a new one in the child process")

    def __repr__(self) -> str:
        state = "connected" if self.connected else "not connected"
        return f"<{type(self).__module__}.{type(self).__qualname__} of node {self.node_id}, {state}>"


class GroupView:
    """What a member shows of its group."""

    def __init__(self, channel: Channel, subscription: Subscription) -> None:
        self._channel = channel
        self._subscription = subscription
        self.context: Any = None
        """Yours; totemd never looks at it."""

    @property
    def name(self) -> str:
        """The group's name; bytes that are no UTF-8 appear as surrogate escapes."""
        return self._subscription.name

    @property
    def address(self) -> Address:
        """This member."""
        return self._channel.address

    @property
    def members(self) -> tuple[Member, ...]:
        """The membership as last told, sorted; it may be ahead of the events that were read.  While this node is away
        it is what it was.  Empty once left."""
        return self._subscription.members

    @property
    def is_member(self) -> bool:
        """Whether this process is in the group, as far as is known: False while this node is away, and once the group
        is left.  A blocking client learns it while one of its methods waits or looks."""
        return self._subscription.stage is Stage.JOINED

    @property
    def absences(self) -> int:
        """How often this member lost its place since it joined, as far as is known; a `Rejoined` tells of each."""
        return self._subscription.absences

    def __repr__(self) -> str:
        stage, count = self._subscription.stage.value, len(self.members)
        return f"<{type(self).__module__}.{type(self).__qualname__} {self.name!r}, {stage}, {count} members>"
