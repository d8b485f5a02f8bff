"""What a child has left to be said when it is dead: sealed datagrams, sent by the executive (docs/totem.md §5.9).

The executive understands none of it.  The child wrote it while it lived and says to whom it goes; the executive's part
is to know, from the kernel, that the child has ended.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from ...ipc.messages.control import Obituary
from ..runtime.logging import Logger

REPEATED_AFTER_SECONDS: Final = (0.02, 0.2)
"""A datagram may be lost; what it says stays true, so it is said again."""

_ANY_PORT: Final = 0


class Obituaries:
    """One per child that has left one."""

    def __init__(self, log: Logger) -> None:
        self._loop = asyncio.get_running_loop()
        self._log = log
        self._kept: dict[str, Obituary] = {}

    def keep(self, child: str, obituary: Obituary) -> None:
        """Replaces what *child* left before."""
        self._kept[child] = obituary

    def child_ended(self, child: str) -> None:
        """Say it, now and some more times; nothing if the child has left none."""
        obituary = self._kept.pop(child, None)
        if obituary is None:
            return
        # The port is free until the child is started again, so this looks as if it came from itself to any filter.
        if not self._send(obituary, obituary.port):
            self._send(obituary, _ANY_PORT)
        for delay in REPEATED_AFTER_SECONDS:
            self._loop.call_later(delay, self._send, obituary, _ANY_PORT)

    def _send(self, obituary: Obituary, port: int) -> bool:
        family = socket.AF_INET6 if ":" in obituary.address else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as through:
                through.bind((obituary.address, port))
                for address in obituary.receivers:
                    self._send_to(through, obituary, address)
        except OSError as error:
            self._log.debug("the obituary cannot be sent", port=port, reason=str(error))
            return False
        return True

    def _send_to(self, through: socket.socket, obituary: Obituary, address: str) -> None:
        try:
            through.sendto(obituary.datagram, (address, obituary.port))
        except OSError as error:
            self._log.debug("one node gets no obituary", address=address, reason=str(error))
