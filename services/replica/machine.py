"""What an application writes to have its state replicated, and what is found out about it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar, runtime_checkable

import msgspec

from ...ipc.errors import InvalidArgument, MalformedMessage
from ...ipc.ids import UINT64_MAX, Address
from ...ipc.strict import decode_strictly
from .effects import Snapshot
from .errors import IncompatibleState, SnapshotFailed

T = TypeVar("T")


@runtime_checkable
class StateMachine(Protocol):
    """A state that changes by commands only.

    All replicas start alike, apply the same commands in the same order, and so have the same state.  `apply` must
    therefore be deterministic: no clock, no randomness, no files, no order of a `set`; such things go into the command.

    Optional, and looked for when a replica is made:

    * `snapshot_format: int` (1): number of the format that `snapshot` writes; raise it when that changes.
    * `accepts_formats: Iterable[int]` (that one): what `restore` reads.  A replica that can read none of those that the
      group offers is refused with `IncompatibleState`, and the others do not notice.
    * `members_changed(members)`: a state machine that depends on who is there is told in the order of the commands,
      after members left and when work begins; part of the state as commands are.
    * `summary() -> bytes`: what a merge may be decided by (see `Available.choose`).
    * `superseded()`: another part of the group won a merge, and `restore` follows.  The last look at what is lost.
    """

    def apply(self, command: bytes) -> Any:
        """Apply a command; what it returns is what `submit` returns where it was proposed.

        Raises:
            Rejected: the command is refused, everywhere alike, and has changed nothing.
        """

    def snapshot(self) -> Snapshot:
        """The state as bytes, or as parts that are read while it is sent: they must not change any more."""

    def restore(self, snapshot: bytes) -> None:
        """Replace the state by the one in the snapshot."""


class Machine:
    """A state machine with its optional parts filled in."""

    def __init__(self, machine: StateMachine) -> None:
        """Look at what there is.

        Raises:
            InvalidArgument: it is no state machine, or one whose methods would have to be awaited.
        """
        if not isinstance(machine, StateMachine):
            raise InvalidArgument(f"a state machine has apply, snapshot and restore; {type(machine).__name__} has not")
        for name in _CALLED:
            require_plain(name, getattr(machine, name, None))
        self.machine = machine
        self.snapshot_format = _format(getattr(machine, "snapshot_format", 1))
        accepted = getattr(machine, "accepts_formats", (self.snapshot_format,))
        if not isinstance(accepted, Iterable):
            raise InvalidArgument(f"accepts_formats holds the numbers of formats; it cannot be {accepted!r}")
        self.accepts_formats = tuple(_format(each) for each in accepted)
        self._members_changed: Callable[[tuple[Address, ...]], None] | None = getattr(machine, "members_changed", None)
        self._summary: Callable[[], bytes] | None = getattr(machine, "summary", None)
        self._superseded: Callable[[], None] | None = getattr(machine, "superseded", None)

    @property
    def tells_members(self) -> bool:
        """Whether it wants to know the members."""
        return self._members_changed is not None

    def members_changed(self, members: tuple[Address, ...]) -> None:
        """Tell it."""
        if self._members_changed is not None:
            self._members_changed(members)

    def summary(self) -> bytes:
        """What it says of its state.

        Raises:
            InvalidArgument: it is no bytes, or more than `SUMMARY_BYTES_MAX`; and whatever the state machine raises.
        """
        given = b"" if self._summary is None else self._summary()
        if not isinstance(given, _BYTES):
            raise InvalidArgument(f"a summary is bytes, not {type(given).__name__}; encode it first")
        summary = bytes(given)
        if len(summary) > SUMMARY_BYTES_MAX:
            raise InvalidArgument(f"a summary has at most {SUMMARY_BYTES_MAX} bytes; this one has {len(summary)}")
        return summary

    def snapshot(self) -> Iterator[bytes]:
        """The parts of its state; it is asked for them when the first is read.

        Raises:
            SnapshotFailed: when a part is read.
        """
        try:
            snapshot = self.machine.snapshot()
            for part in (snapshot,) if isinstance(snapshot, _BYTES) else snapshot:
                if not isinstance(part, _BYTES):
                    raise TypeError(f"a snapshot is bytes, or parts that are bytes, not {type(part).__name__}")
                yield bytes(part)
        except Exception as error:
            raise SnapshotFailed(repr(error)) from error

    def restore(self, snapshot: bytes, replaces: bool) -> None:
        """Give it a state."""
        if replaces and self._superseded is not None:
            self._superseded()
        self.machine.restore(snapshot)


def read_state(decoder: msgspec.msgpack.Decoder[T], snapshot: bytes, what: str) -> T:
    """The state in a snapshot, for `restore` of the state machines that come with the package.

    Raises:
        IncompatibleState: the group shares something else than *what* this member is.
    """
    try:
        return decode_strictly(decoder, snapshot, f"what this group shares is not the state of a {what}")
    except MalformedMessage as error:
        raise IncompatibleState(str(error)) from None


def require_plain(name: str, function: object) -> None:
    """What a replica calls it does not await.

    Raises:
        InvalidArgument: *function*, known to the program as *name*, is made by `async def` and would do nothing.
    """
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidArgument(f"{name} is called and not awaited: make it with `def`, not with `async def`")


def _format(given: object) -> int:
    if not isinstance(given, int) or not 0 <= given <= UINT64_MAX:
        raise InvalidArgument(f"the format of a snapshot is a whole number of 64 bits, at least 0, not {given!r}")
    return given


SUMMARY_BYTES_MAX = 4096
"""A summary travels with every answer to a census."""

_CALLED = ("apply", "snapshot", "restore", "members_changed", "summary", "superseded")

_BYTES = (bytes, bytearray, memoryview)
