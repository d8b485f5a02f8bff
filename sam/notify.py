"""What an application says by sd_notify(3): READY=1, WATCHDOG=1, STATUS=…; systemd's protocol, on a socket of ours.

One datagram is one or more lines `NAME=VALUE`.  Anybody may write to the socket; the kernel says who did.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SOCKET_VARIABLE = "NOTIFY_SOCKET"
WATCHDOG_VARIABLE = "WATCHDOG_USEC"
"""Microseconds within which `WATCHDOG=1` must come; programs send it twice as often (sd_watchdog_enabled(3))."""

WATCHDOG_PID_VARIABLE = "WATCHDOG_PID"

ADDRESS_PREFIX = "@totemd-sam-notify-"
"""What the address of each socket of ours begins with."""

DATAGRAM_BYTES_MAX = 16 * 1024
"""A longer one is dropped."""

DATAGRAMS_AT_ONCE = 64
"""So many are taken before the loop turns."""

STATUS_LENGTH_MAX = 200
"""Characters of a status that are kept."""

_CREDENTIALS = struct.Struct("=iII")
"""struct ucred: pid, uid, gid; see unix(7)."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What one datagram says.  What is not named here, other supervisors care about."""

    ready: bool = False
    beat: bool = False
    failed: bool = False
    """WATCHDOG=trigger: it says that it has failed."""
    status: str | None = None
    extend_seconds: float = 0.0
    """EXTEND_TIMEOUT_USEC: it needs so much longer to become ready."""


EXTEND_SECONDS_MAX = 3600.0
"""No single wish for more time is granted for longer."""


def parse(data: bytes) -> Notice:
    """The meaning of a datagram.  Bytes that mean nothing are passed over, as systemd does."""
    ready = beat = failed = False
    status: str | None = None
    extend = 0.0
    for line in data.split(b"\n"):
        name, equals, value = line.partition(b"=")
        match name:
            case b"READY":
                ready = ready or value == b"1"
            case b"WATCHDOG":
                beat, failed = beat or value == b"1", failed or value == b"trigger"
            case b"STATUS" if equals:
                status = printable(value)
            case b"EXTEND_TIMEOUT_USEC" if value.isdigit() and len(value) <= 20:
                extend = min(int(value) / 1e6, EXTEND_SECONDS_MAX)
    return Notice(ready, beat, failed, status, extend)


def without_notify(variables: Mapping[str, str]) -> dict[str, str]:
    """*variables* without those of this protocol that are meant for one other process: the watchdog of the keeper."""
    if WATCHDOG_PID_VARIABLE not in variables:
        return dict(variables)
    meant_for_keeper = (WATCHDOG_VARIABLE, WATCHDOG_PID_VARIABLE)
    return {name: value for name, value in variables.items() if name not in meant_for_keeper}


def printable(value: bytes) -> str:
    """Foreign text that may be shown on a terminal."""
    text = value.decode(errors="replace")
    return "".join(each if each.isprintable() else "?" for each in text[:STATUS_LENGTH_MAX])


class NotifySocket:
    """The socket that NOTIFY_SOCKET names: in the abstract name space, so that nothing of it is ever left over."""

    def __init__(self, belongs: Callable[[int], bool], noticed: Callable[[Notice], None], address: str = "") -> None:
        """*belongs* tells whether a pid is one of the application; *address* (`@…`) is that of an earlier socket."""
        self._belongs = belongs
        self._noticed = noticed
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.address = address or f"{ADDRESS_PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
        """As it stands in the environment."""
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind(b"\0" + self.address[1:].encode())
        except OSError:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._receive)

    def close(self) -> None:
        """Listen no more."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()

    def _receive(self) -> None:
        for _ in range(DATAGRAMS_AT_ONCE):
            try:
                # No room for descriptors: the kernel closes those that are sent along (BARRIER=1 waits for that).
                data, ancillary, flags, _ = self._socket.recvmsg(
                    DATAGRAM_BYTES_MAX, socket.CMSG_SPACE(_CREDENTIALS.size)
                )
            except BlockingIOError:
                return
            if flags & socket.MSG_TRUNC:
                continue
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(content) >= _CREDENTIALS.size:
                    pid, _, _ = _CREDENTIALS.unpack_from(content)
                    if self._belongs(pid):
                        self._noticed(parse(data))
