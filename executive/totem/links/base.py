"""What a link is to the totem process: datagrams to nodes, and whatever arrives, with where it came from.

A link moves sealed bytes; it neither knows nor cares what they mean.  It never raises because of the network: what
cannot be sent is counted and dropped, as the network itself would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, Protocol, TypeAlias

from ..wire.datagrams import Run, Source
from ..wire.events import Target

READ_DATAGRAMS_MAX: Final = 256
"""Datagrams taken in one turn of the loop, so that a flood cannot starve timers."""

DRAIN_DATAGRAMS_MAX: Final = 4096
"""Most that one `drain` reads unless told otherwise."""


class Received(NamedTuple):
    """What one read brought."""

    run: Run
    source: Source


Deliver: TypeAlias = Callable[[list[Received]], None]
"""Takes what arrived, in its order; never empty."""


class PortClosed(NamedTuple):
    """The network says that nobody listens where a datagram was sent.  It may be forged."""

    node: int
    quoted: bytes
    """The datagram, or how it begins."""


Complain: TypeAlias = Callable[[list[PortClosed]], None]
"""Takes reports, from the loop, never from inside another call of the link; never empty."""


def nobody_cares(reports: list[PortClosed]) -> None:
    """For whoever does not want reports."""


class Link(Protocol):
    """One way to the other nodes."""

    def open(self) -> None:
        """Bind, and begin to hand what arrives to the `Deliver` callback; needs the running loop.

        Raises:
            OperationFailed: the address is not on this machine, or the port is taken; the text says which.
        """

    def close(self) -> None:
        """Stop; may be called twice."""

    def send(self, to: Target, datagrams: Run) -> None:
        """Send to one node or address; nothing for this node itself."""

    def multicast(self, nodes: Iterable[int], datagrams: Run) -> None:
        """Send to each of *nodes* but this one."""

    def drain(self, limit: int = DRAIN_DATAGRAMS_MAX) -> list[Received]:
        """What can be read now, without waiting; no read begins after *limit* reads or datagrams.

        For a caller that must have seen everything that is there before it goes on, such as the holder of a token.
        """

    @property
    def receive_buffer_bytes(self) -> int:
        """What the kernel has granted for what arrives, once it is open."""

    @property
    def drained(self) -> bool:
        """Whether what was handed over last was everything that there was; what has come since is handed over next."""

    def set_peers(self, peers: Mapping[int, str]) -> None:
        """The numeric addresses of the other nodes from now on."""

    def counters(self) -> dict[str, int]:
        """Numbers since the start."""
