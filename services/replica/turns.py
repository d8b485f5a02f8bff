"""The state machine of `Lock` and `Leader`: whose turn it is, in the order of asking."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Annotated, Final

import msgspec

from ...ipc.errors import MalformedMessage
from ...ipc.ids import Address
from ...ipc.strict import decode_strictly
from .errors import Rejected
from .machine import read_state

Entry = tuple[int, int, int]
"""Node, pid and a number drawn by chance: the next process with that pid must not take over the turn of this one."""

ENTRY_BITS: Final = 62
"""Of that number."""

FENCE_MAX: Final = 2**62
"""A fence fits a signed number of 64 bits wherever it is kept."""

Fence = Annotated[int, msgspec.Meta(ge=0, le=FENCE_MAX)]


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Stand in line; asking twice is asking once."""

    entry: Entry
    seen: Fence = 0
    """A fence that was given out elsewhere, as in a part of the group that lost a merge: all that follow are higher."""


class Yield(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Leave the line, or give the turn back."""

    entry: Entry


_ENCODER: Final = msgspec.msgpack.Encoder()
_COMMANDS: Final = msgspec.msgpack.Decoder(Ask | Yield)
_SNAPSHOT: Final = msgspec.msgpack.Decoder(tuple[int, list[Entry]])
encode = _ENCODER.encode


class Turns:
    """A line of processes; the first one has the turn.  Who leaves the group leaves the line."""

    snapshot_format = 1

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self.line: list[Entry] = []
        self.fence = 0
        """How often the turn has passed to somebody: whoever has the turn has a higher number than all before."""
        self._on_change = on_change

    @property
    def first(self) -> Entry | None:
        """Whose turn it is."""
        return self.line[0] if self.line else None

    def apply(self, command: bytes) -> None:
        """Ask or yield."""
        try:
            said = decode_strictly(_COMMANDS, command, "not a command for a line")
        except MalformedMessage as error:
            raise Rejected(str(error)) from None
        match said:
            case Ask(entry, seen):
                self._pass(seen)
                self._become(self.line if entry in self.line else [*self.line, entry])
            case Yield(entry):
                self._become([each for each in self.line if each != entry])

    def members_changed(self, members: tuple[Address, ...]) -> None:
        """Who is not there has no turn."""
        self._become([each for each in self.line if Address(*each[:2]) in members])

    def snapshot(self) -> bytes:
        """The line and the number."""
        return _ENCODER.encode((self.fence, self.line))

    def restore(self, snapshot: bytes) -> None:
        """Take both over.

        Raises:
            IncompatibleState: they are not there.
        """
        self.fence, self.line = read_state(_SNAPSHOT, snapshot, "lock or a leader")
        self._on_change()

    def _pass(self, seen: int) -> None:
        """Whoever has the turn has a higher number than was ever seen, and whoever comes has a higher one still."""
        if seen > self.fence:
            self.fence = seen + (self.first is not None)

    def _become(self, line: list[Entry]) -> None:
        before, self.line = self.first, line
        if self.first is not None and self.first != before:
            self.fence += 1
        self._on_change()


class Step(enum.Enum):
    """What somebody who wants the turn does next."""

    ASK = "ask"
    WAIT = "wait"
    VERIFY = "verify"
    """It seems to be its turn.  After a barrier, if it still is, that is certain."""


def next_step(turns: Turns, entry: Entry, active: bool) -> Step:
    """Of the one who wants the turn for *entry*; *active*: its replica may work."""
    if not active:
        return Step.WAIT
    if turns.first == entry:
        return Step.VERIFY
    return Step.WAIT if entry in turns.line else Step.ASK


def strays(turns: Turns, me: Address, wanted: Entry | None) -> list[Entry]:
    """Places in the line that *me* does not want: given up since, or of an earlier process with its pid."""
    return [entry for entry in turns.line if Address(*entry[:2]) == me and entry != wanted]
