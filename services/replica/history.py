"""What a state is, without looking at it: how it came to be.

Replicas start alike and `apply` is deterministic, so equal histories mean equal states.  Pure.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from typing import Annotated, Final

import msgspec

from ...ipc.ids import Address, Sequence

DIGEST_BYTES: Final = 16
"""Length of a digest; a collision in 2^64 histories is no worry."""

Digest = Annotated[bytes, msgspec.Meta(max_length=DIGEST_BYTES)]

_IDENTITY: Final = struct.Struct("<IQQ")
_PLACE: Final = struct.Struct("<IQ")


def _digest(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=DIGEST_BYTES).digest()


class History(msgspec.Struct, frozen=True, array_like=True):
    """The identity of a state.  Ordered by `progress`."""

    session: Digest
    """Common to those who are active together; the parts of a group that is cut in two have two."""
    epoch: Sequence
    """Counts the memberships in which somebody left and those who stayed went on, and the times work began anew."""
    applied: Sequence
    """Commands."""
    digest: Digest
    """Of all of them, in their order."""

    @property
    def progress(self) -> tuple[int, int]:
        """Of two states of one history this tells which is the later."""
        return (self.epoch, self.applied)

    def has_state_of(self, other: History) -> bool:
        """Whether the two states are equal, wherever they were reached."""
        return (self.applied, self.digest) == (other.applied, other.digest)

    def after(self, sender: Address, number: int, payload: bytes) -> History:
        """With one more command."""
        identity = _IDENTITY.pack(sender.node_id, sender.pid, number)
        return History(self.session, self.epoch, self.applied + 1, _digest(self.digest, identity, payload))

    def without(self, members: Iterable[Address]) -> History:
        """Somebody left, and *members* go on: another session, for whoever left may go on too."""
        return History(_digest(self.session, *_places(members)), self.epoch + 1, self.applied, self.digest)

    def told(self, members: Iterable[Address]) -> History:
        """The state machine was told who the members are, and may have changed its state for it."""
        return History(self.session, self.epoch, self.applied, _digest(self.digest, *_places(members)))

    def anew(self, mark: bytes) -> History:
        """Work begins from this state, after the census of that mark."""
        return History(_digest(mark), self.epoch + 1, self.applied, self.digest)


BEGINNING: Final = History(b"", 0, 0, b"")
"""Of a state machine that has not been given anything."""


def _places(members: Iterable[Address]) -> list[bytes]:
    return [_PLACE.pack(*member) for member in members]
