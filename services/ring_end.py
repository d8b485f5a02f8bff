"""A service's end of totem.sock: the ordered stream in, submissions out, the same for every service.

It connects by itself, and again when the network process was restarted; each time a new stream begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from ..executive.runtime.logging import Logger
from ..executive.runtime.version import VERSION
from ..ipc.connection import Connection
from ..ipc.errors import ConnectionLost, TotemdError
from ..ipc.messages.common import Welcome
from ..ipc.messages.stream import TO_SERVICE, Attached, Credit, Delivered, Events, StreamEvent
from ..ipc.paths import TOTEM_SOCKET

CREDIT_BYTES = 256 * 1024
"""Delivered bytes after which the network process is told that they were taken: a message for each delivery would wake
it as often as its own work does.  A small share of what it lets a service be behind."""


class StreamHandler(Protocol):
    """What a service does with its stream."""

    def stream_began(self, attached: Attached, credit: int) -> None:
        """A stream begins; *credit* bytes may be submitted."""

    def stream_event(self, event: StreamEvent, payload: bytes | memoryview) -> None:
        """The next event; *payload* is that of a `Delivered`."""

    def stream_credited(self, payload_bytes: int) -> None:
        """The ring has taken so many bytes of what was submitted."""

    def stream_paused(self) -> None:
        """Nothing more is there at the moment: what was decided may be carried out."""

    def stream_lost(self, error: TotemdError) -> None:
        """The network process died, or is not ready yet; `stream_began` follows when it is back."""


class RingEnd:
    """One service's connection to the network process of its node; for the running loop."""

    def __init__(self, run_dir: Path, service: str, handler: StreamHandler, log: Logger) -> None:
        self._handler = handler
        self._log = log
        self._credit = 0
        self._taken = 0
        """Bytes that the network process has not been told of."""
        self._holding = False
        self._connection: Connection[Any] = Connection(
            run_dir / TOTEM_SOCKET, service, TO_SERVICE, self, f"totemd {VERSION}"
        )

    def submit(self, message: msgspec.Struct, payload: Sequence[bytes | memoryview]) -> None:
        """Send to the network process.  While that is away nothing is sent: `stream_lost` forgets it all anyway."""
        try:
            self._connection.send(message, *payload)
        except ConnectionLost:
            self._log.debug("nothing can be submitted: the ring is away")

    def hold(self, holding: bool) -> None:
        """Whether this service takes what arrives, but says nothing of it: after a while the ring slows down."""
        self._holding = holding
        self._tell()

    def close(self) -> None:
        """Say goodbye."""
        self._connection.close()

    # -- ipc.connection.Listener

    def connected(self, welcome: Welcome) -> None:
        """totem.sock answers; `Attached` follows."""
        self._credit, self._taken = welcome.credit, 0

    def arrived(self, message: Attached | Events | Credit, payload: Sequence[bytes | memoryview]) -> None:
        """What the network process says."""
        match message:
            case Events(events, spent):
                self._take(events, payload)
                if spent:
                    self._handler.stream_credited(spent)
            case Credit(payload_bytes):
                self._handler.stream_credited(payload_bytes)
            case Attached():
                self._log.info("attached to the ring", ring=message.ring, members=message.members)
                self._handler.stream_began(message, self._credit)
        self._handler.stream_paused()

    def lost(self, error: TotemdError) -> None:
        """The network process died, or is not ready; the connection tries again by itself."""
        self._handler.stream_lost(error)
        self._handler.stream_paused()

    def _take(self, events: Sequence[StreamEvent], payload: Sequence[bytes | memoryview]) -> None:
        frames = iter(payload)
        for event in events:
            self._handler.stream_event(event, next(frames, b"") if isinstance(event, Delivered) else b"")
        self._taken += sum(map(len, payload))
        self._tell()

    def _tell(self) -> None:
        if self._taken >= CREDIT_BYTES and not self._holding and self._connection.is_open:
            self._connection.send(Credit(self._taken))
            self._taken = 0
