"""What the network says about datagrams that were sent: the error queue of a socket (ip(7), IP_RECVERR).

Of all that it may say only one thing is used: nobody listens on that port.  It is a hint.  Anybody can send an ICMP
message; but it quotes what it is about, and whoever has not seen that cannot quote it (docs/totem.md §5.9).
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from typing import Any, Final, NamedTuple

# Linux; the socket module names none of them.
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_ORIGIN_ICMP: Final = 2
_ORIGIN_ICMP6: Final = 3

_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")
"""struct sock_extended_err: errno, origin, type, code, padding, info, data."""

_LONGEST_ADDRESS_BYTES: Final = 28
"""struct sockaddr_in6 of the machine that complains, which follows."""

_CONTROL_BYTES: Final = socket.CMSG_SPACE(_EXTENDED_ERROR.size + _LONGEST_ADDRESS_BYTES)

QUOTE_BYTES_MAX: Final = 1_500
"""Bytes of the quoted datagram that are looked at; machines quote what fits 576 bytes, or 1280 with IPv6."""

REPORTS_MAX: Final = 64
"""Reports taken in one go.  One per node says everything, and the kernel keeps no more than its buffer holds."""


class Report(NamedTuple):
    """Nobody listens where a datagram of ours was sent."""

    address: str
    """Where it was sent to."""
    quoted: bytes
    """How it begins."""


def watch(bound: socket.socket) -> None:
    """Have the kernel keep reports about what *bound* sends; without them everything else works as before."""
    with contextlib.suppress(OSError):
        if bound.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            bound.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)


def take(bound: socket.socket) -> list[Report]:
    """What has been reported; other errors are forgotten.  Until it is empty, each wakes the loop again."""
    reports: list[Report] = []
    for _ in range(REPORTS_MAX):
        try:
            quoted, control, _, address = bound.recvmsg(QUOTE_BYTES_MAX, _CONTROL_BYTES, socket.MSG_ERRQUEUE)
        except OSError:
            break
        if address and _is_closed_port(control):
            reports.append(Report(str(address[0]), quoted))
    return reports


def _is_closed_port(control: list[tuple[int, int, Any]]) -> bool:
    for level, kind, content in control:
        asked = (level, kind) in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR))
        if asked and len(content) >= _EXTENDED_ERROR.size:
            number, origin, *_ = _EXTENDED_ERROR.unpack_from(content)
            return number == errno.ECONNREFUSED and origin in (_ORIGIN_ICMP, _ORIGIN_ICMP6)
    return False
