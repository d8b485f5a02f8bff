"""Identifiers that every process agrees on: nodes, rings, groups, members, reasons, guarantees.

They are plain data.  The wire form of each is its msgpack form (see `ipc.codec`), so other languages see
integers, strings and arrays only.
"""

from __future__ import annotations

import enum
from typing import Annotated, NamedTuple, NewType

import msgspec

from .errors import GroupNameTooLong, InvalidArgument

NodeId = NewType("NodeId", int)
"""A processor: an unsigned 32-bit number > 0, unique in the cluster.  0 is never a node."""

NODE_ID_MAX = 2**32 - 1
UINT64_MAX = 2**63 - 1
"""Highest sequence number that msgspec can bound by annotation; at 10^9 a second it lasts 292 years."""

GROUP_NAME_BYTES_MAX = 128
"""corosync's CPG_MAX_NAME_LENGTH."""

MESSAGE_BYTES_MAX = 1024 * 1024
"""Largest application message by default: 1 MiB, as in corosync."""

MESSAGE_BYTES_LIMIT = 64 * 1024 * 1024
"""How far the configuration can raise that."""

NodeNumber = Annotated[int, msgspec.Meta(ge=1, le=NODE_ID_MAX)]
"""A node id as it is checked on decode."""

Sequence = Annotated[int, msgspec.Meta(ge=0, le=UINT64_MAX)]
"""A ring sequence number, message sequence number or counter as it is checked on decode."""


class RingId(msgspec.Struct, frozen=True, order=True, array_like=True):
    """A ring's name.  Ordered by sequence first; two rings are the same only if both fields are equal."""

    sequence: Sequence
    representative: NodeNumber

    def __str__(self) -> str:
        """The form of corosync's log lines and tools: representative in decimal, sequence in hexadecimal."""
        return f"{self.representative}.{self.sequence:x}"


class Reason(enum.IntEnum):
    """Why a member appeared or disappeared.  The first five are corosync's, same numbers, same meaning."""

    UNDEFINED = 0
    JOIN = 1
    LEAVE = 2
    NODE_DOWN = 3
    NODE_UP = 4
    PROCESS_DOWN = 5
    EXPELLED = 6
    """It did not read what was delivered to it for too long (totemd only)."""


class Guarantee(enum.IntEnum):
    """How strong a delivery is asked for.  Numbers as in corosync's cpg_guarantee_t."""

    AGREED = 2
    """Delivered in total order, once everything before it has been received."""
    SAFE = 3
    """Delivered in total order, once every member of the configuration is known to have received it."""


class Address(NamedTuple):
    """One process of the cluster.  The pid is the kernel's word, not the client's claim."""

    node_id: int
    pid: int


class Member(NamedTuple):
    """A process in a group, with the reason why it is reported (UNDEFINED in plain member lists)."""

    node_id: int
    pid: int
    reason: Reason = Reason.UNDEFINED

    @property
    def address(self) -> Address:
        """The member without the reason."""
        return Address(self.node_id, self.pid)


def group_name(name: str | bytes) -> bytes:
    """The bytes of a group's name; a `str` is encoded as UTF-8.

    Raises:
        GroupNameTooLong: more than 128 bytes once encoded.
        InvalidArgument: empty, neither `str` nor `bytes`, or with a lone surrogate.
    """
    if isinstance(name, str):
        try:
            encoded = name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise InvalidArgument(f"a group name can be written as UTF-8; {name[:20]!r} cannot") from None
    elif isinstance(name, bytes):
        encoded = name
    else:
        raise InvalidArgument(f"a group name is a str or bytes, not {type(name).__name__}")
    if not encoded:
        raise InvalidArgument(f"a group name has 1 to {GROUP_NAME_BYTES_MAX} bytes; this one is empty")
    if len(encoded) > GROUP_NAME_BYTES_MAX:
        raise GroupNameTooLong(
            f"a group name has at most {GROUP_NAME_BYTES_MAX} bytes; this one has {len(encoded)}: {encoded[:20]!r}…"
        )
    return encoded


def group_text(name: bytes) -> str:
    """A group's name for people and JSON: UTF-8, with bytes that are none of it kept as surrogate escapes."""
    return name.decode("utf-8", "surrogateescape")
