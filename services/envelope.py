"""The outside of every submission of a service: kind, header, body.

`[u8 kind][u16 header length, little endian][header: msgpack][body]`.  A state exchange and application traffic share
the stream, so the kind tells them apart; the body is bytes that nobody but its last reader looks into.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable
from typing import NamedTuple

from ..ipc.errors import MalformedMessage

_PREFIX = struct.Struct("<BH")

ENVELOPE_BYTES_MAX = _PREFIX.size + 2**16 - 1
"""Most bytes that a submission has besides its body."""


class Kind(enum.IntEnum):
    """What a submission is."""

    STATE = 0
    """A node's state for a state exchange; the header is its epoch."""
    APPLICATION = 1
    """Everything else; the header is the service's own."""


class Envelope(NamedTuple):
    """A submission taken apart; nothing is copied."""

    kind: Kind
    header: memoryview
    body: memoryview


def enclose(kind: Kind, header: bytes, body: Iterable[bytes | memoryview] = ()) -> bytes:
    """The submission; *body* is given in pieces."""
    return b"".join((_PREFIX.pack(kind, len(header)), header, *body))


def disclose(payload: bytes | memoryview) -> Envelope:
    """Take a submission apart.

    Raises:
        MalformedMessage: it is shorter than it says, or of no known kind.
    """
    view = memoryview(payload)
    if len(view) < _PREFIX.size:
        raise MalformedMessage(f"a submission has at least {_PREFIX.size} bytes; this one has {len(view)}")
    kind, length = _PREFIX.unpack_from(view)
    end = _PREFIX.size + length
    if kind not in _KINDS or end > len(view):
        raise MalformedMessage(f"a submission of kind {kind} with a header of {length} of its {len(view)} bytes")
    return Envelope(_KINDS[kind], view[_PREFIX.size : end], view[end:])


_KINDS = {int(kind): kind for kind in Kind}
