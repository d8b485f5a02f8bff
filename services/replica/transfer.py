"""A state on its way: in bounded parts from the donor, gathered by each receiver with what was ordered since.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ...ipc.ids import Address
from .history import History
from .messages import Chunk, Command

CHUNK_BYTES_MAX: Final = 60 * 1024
"""Of a snapshot in one message: it fits a small batch, so that other groups' messages are not held up."""

CHUNKS_IN_FLIGHT_MAX: Final = 8
"""A donor sends the next part when one of so many has come back: the ring sets the pace."""

BUFFERED_BYTES_MAX: Final = 32 * 1024 * 1024
"""Commands that a receiver keeps while the state is on its way; above, it asks for a new transfer."""

BUFFERED_COST_BYTES: Final = 128
"""What a command takes in memory besides its payload."""

TRANSFER_ATTEMPTS_MAX: Final = 5
"""Transfers of which a receiver could not keep what came meanwhile, in a row, until it gives up."""

STALL_SECONDS: Final = 5.0
"""A receiver that has got nothing for so long asks another donor."""


class Serving:
    """The donor's side of one transfer."""

    def __init__(self, transfer: bytes, receivers: Iterable[Address], history: History) -> None:
        self.transfer = transfer
        self.receivers = set(receivers)
        self._history: History | None = history
        self._parts: Iterator[bytes] = iter(())
        self._next: bytes | None = None
        self._index = 0
        self._flying = 0

    def begin(self, parts: Iterable[bytes]) -> list[Chunk]:
        """The snapshot is there; returns what to send."""
        self._parts = _cut(parts)
        self._next = next(self._parts, b"")
        return self._more()

    def returned(self) -> list[Chunk]:
        """A part came back; returns what to send now."""
        self._flying -= 1
        return self._more()

    @property
    def finished(self) -> bool:
        """Whether everything has been sent and has come back."""
        return self._next is None and not self._flying

    def _more(self) -> list[Chunk]:
        chunks = []
        while self._next is not None and self._flying < CHUNKS_IN_FLIGHT_MAX:
            data, self._next = self._next, next(self._parts, None)
            chunks.append(Chunk(self.transfer, self._index, data, self._history, self._next is None))
            self._history = None
            self._index += 1
            self._flying += 1
        return chunks


def _cut(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in parts of the right size; of small ones, several together."""
    gathered: list[bytes] = []
    size = 0
    for part in parts:
        for start in range(0, len(part), CHUNK_BYTES_MAX):
            piece = part[start : start + CHUNK_BYTES_MAX]
            if size + len(piece) > CHUNK_BYTES_MAX:
                yield b"".join(gathered)
                gathered, size = [], 0
            gathered.append(piece)
            size += len(piece)
    if size:
        yield b"".join(gathered)


class Kept(NamedTuple):
    """A command that was ordered after the cut."""

    sender: Address
    command: Command


class Left(NamedTuple):
    """Somebody left after the cut; these stayed."""

    members: tuple[Address, ...]


class Incoming:
    """The receiver's side."""

    def __init__(self, donor: Address, transfer: bytes) -> None:
        self.donor = donor
        self.transfer = transfer
        self.history: History | None = None
        self.complete = False
        self.since: list[Kept | Left] = []
        """What was ordered after the cut."""
        self._parts: list[bytes] = []
        self._since_bytes = 0

    def chunk(self, chunk: Chunk) -> bool:
        """A part came; False: it does not follow the one before."""
        if chunk.index != len(self._parts) or self.complete:
            return False
        if chunk.index == 0:
            self.history = chunk.history
        self._parts.append(chunk.data)
        self.complete = chunk.is_last
        return self.history is not None

    def keep(self, sender: Address, command: Command) -> bool:
        """A command came; False: it is one too many."""
        self._since_bytes += len(command.payload) + BUFFERED_COST_BYTES
        self.since.append(Kept(sender, command))
        return self._since_bytes <= BUFFERED_BYTES_MAX

    def left(self, members: tuple[Address, ...]) -> None:
        """Somebody left; these stay."""
        self.since.append(Left(members))

    def snapshot(self) -> bytes:
        """The whole of it."""
        return b"".join(self._parts)
