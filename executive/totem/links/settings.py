"""What a link has to know, and how it follows from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ...config.model import Configuration
from ..wire.datagrams import DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN

SOCKET_BUFFER_BYTES: Final = 8 * 1024 * 1024
"""Kernel buffer asked for in each direction: a whole rotation of the ring has to fit."""

_IP_UDP_BYTES: Final = 20 + 8
_IPV6_UDP_BYTES: Final = 40 + 8


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """One link of this node."""

    node_id: int
    address: str
    """This node's numeric address, IPv4 or IPv6."""
    port: int
    """UDP port of every node on this link."""
    peers: Mapping[int, str]
    """Numeric address of each other node."""
    block_unlisted: bool = True
    """Drop what comes from other addresses than those of `peers`."""
    netmtu: int = 1500
    """Largest datagram, IP header included."""
    buffer_bytes: int = SOCKET_BUFFER_BYTES

    @property
    def datagram_bytes(self) -> int:
        """Longest payload of a datagram that fits `netmtu`."""
        headers = _IPV6_UDP_BYTES if ":" in self.address else _IP_UDP_BYTES
        return max(DATAGRAM_BYTES_MIN, min(self.netmtu - headers, DATAGRAM_BYTES_MAX))

    @classmethod
    def of(cls, configuration: Configuration, position: int = 0) -> LinkSettings:
        """The settings of the link at *position* in `configuration.interfaces`."""
        return cls(
            node_id=configuration.local_node_id,
            address=configuration.local_node.addresses[position],
            port=configuration.interfaces[position].port,
            peers={
                node.node_id: node.addresses[position]
                for node in configuration.nodes
                if node.node_id != configuration.local_node_id
            },
            block_unlisted=configuration.totem.block_unlisted_ips,
            netmtu=configuration.totem.netmtu,
        )
