"""What replicas say to each other in their group: msgpack arrays, told apart by their first element."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from ...ipc.ids import MESSAGE_BYTES_MAX, NodeNumber, Sequence
from ...ipc.strict import decode_strictly
from .history import History

REPLICA_PROTOCOL: Final = 1
"""Version of these messages.  A member of another version is not understood, and is treated as one that is silent."""

HEADER_BYTES_MAX: Final = 512
"""Room in a message for everything but what the application gave."""

COMMAND_BYTES_MAX: Final = MESSAGE_BYTES_MAX - HEADER_BYTES_MAX
"""Largest command."""

REASON_CHARACTERS_MAX: Final = 500
"""Of what a state machine raised that could not give its state."""

Where = tuple[NodeNumber, Annotated[int, msgspec.Meta(ge=0)]]
"""An address on the wire."""

Mark = Annotated[bytes, msgspec.Meta(max_length=64)]
"""A name that nobody else gives: of a census, of a transfer."""


class Command(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """What all replicas apply, if its sender is active where it stands in the order."""

    number: Sequence
    """Counts what the sender proposes, in this life and its earlier ones."""
    payload: bytes


class Barrier(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A command without effect: when it comes back, everything before it has been applied."""

    number: Sequence


class Confirm(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The sender has applied what each of these members sent, up to that number."""

    upto: tuple[tuple[NodeNumber, Annotated[int, msgspec.Meta(ge=0)], Sequence], ...]


class TakeCensus(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Everybody, say what you have.  A later one replaces an earlier one."""

    mark: Mark
    forced: bool = False
    """A person takes the responsibility: whoever is here works with what is here."""
    version: Sequence = REPLICA_PROTOCOL


class Standing(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The answer to a census."""

    census: Mark
    life: Sequence
    """Counts the times that the sender has joined."""
    live: bool
    """Its state follows the order."""
    history: History | None
    """Of the state that it has, live or not; None: it has none."""
    mates: tuple[tuple[NodeNumber, Annotated[int, msgspec.Meta(ge=0)], Sequence], ...] = ()
    """The active members that it knows, itself included, with their ranks; they have the same history."""
    summary: bytes = b""
    """What the application wants a merge to be decided by."""


class Close(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The census has waited long enough for those who are silent."""

    census: Mark


class Want(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """The sender has no state and follows no transfer."""

    life: Sequence
    avoid: tuple[Where, ...] = ()
    """Donors that did not send, or whose format the sender cannot read."""


class Cut(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Here the sender takes the snapshot that it will transfer to the receivers."""

    transfer: Mark
    receivers: tuple[Where, ...]
    snapshot_format: Sequence = 1


class Chunk(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """A part of a snapshot, in their order."""

    transfer: Mark
    index: Sequence
    data: bytes
    history: History | None = None
    """In the first one: what the state is."""
    is_last: bool = False


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """The sender has restored the state and is active from here on."""

    life: Sequence


class Unable(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """The sender's state machine could not give its state, and this transfer is over: ask somebody else.

    It changes nothing but the receivers' patience.  Versions that do not know it drop it and wait for as long as for a
    donor that is silent.
    """

    transfer: Mark
    reason: Annotated[str, msgspec.Meta(max_length=REASON_CHARACTERS_MAX)]


Said = Command | Barrier | Confirm | TakeCensus | Standing | Close | Want | Cut | Chunk | Ready | Unable

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Said] = msgspec.msgpack.Decoder(Said)
encode = _ENCODER.encode


def decode(payload: bytes) -> Said:
    """What a message of the group says.

    Raises:
        MalformedMessage: it is no replica's.
    """
    return decode_strictly(_DECODER, payload, "not a message of a replica")
