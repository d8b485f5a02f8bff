"""What has to be asked of the machine to read a configuration, as a protocol; `load` has the real one."""

from __future__ import annotations

import ipaddress
from typing import Protocol

LocalAddress = ipaddress.IPv4Interface | ipaddress.IPv6Interface
"""An address of a network interface, with its network."""

IP_VERSIONS: dict[str, tuple[int, ...]] = {"ipv4": (4,), "ipv6": (6,), "ipv4-6": (4, 6), "ipv6-4": (6, 4)}
"""`totem.ip_version` -> the families that a name may be resolved to, the preferred one first."""


class Unresolved(Exception):
    """A name has no address of the families asked for; the text is the resolver's reason."""


class Host(Protocol):
    """The machine: names, addresses, users.  Nothing is changed by asking."""

    def host_name(self) -> str:
        """As `uname -n` prints it."""

    def local_addresses(self) -> tuple[LocalAddress, ...]:
        """Addresses of all network interfaces."""

    def reverse_name(self, address: str) -> str:
        """The name of a numeric address; empty if it has none."""

    def resolve(self, name: str, versions: tuple[int, ...]) -> str:
        """The numeric address of *name* in the first of the families that has one.

        Raises:
            Unresolved: there is none.
        """

    def user_id(self, name: str) -> int | None:
        """The uid of a user name, if there is such a user."""

    def group_id(self, name: str) -> int | None:
        """The gid of a group name, if there is such a group."""


def is_loopback(address: str) -> bool:
    """Whether a numeric address never leaves its machine."""
    return ipaddress.ip_address(address).is_loopback


def is_local(address: str, host: Host) -> bool:
    """Whether a numeric address is one of this machine; on Linux all of 127.0.0.0/8 is, whatever is configured."""
    number = ipaddress.ip_address(address)
    return (number.version == 4 and number.is_loopback) or any(number == own.ip for own in host.local_addresses())


def numeric(text: str) -> str | None:
    """The canonical form of a numeric address; `None` if *text* is a name."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
