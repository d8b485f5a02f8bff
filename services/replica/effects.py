"""What a replica's core wants done, in order."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from ...ipc.errors import TotemdError
from ...ipc.ids import Address, Guarantee
from .errors import SnapshotFailed


class Status(enum.Enum):
    """Where a replica stands."""

    JOINING = "joining"
    """It is being found out who has the state."""
    RECEIVING = "receiving"
    """The state is on its way."""
    SUSPENDED = "suspended"
    """This part of the group may not work: see the policy.  Reads show what was, commands wait."""
    ACTIVE = "active"
    """It has the state and follows the order."""
    CLOSED = "closed"
    """It has left, or failed."""


@dataclass(frozen=True, slots=True)
class Send:
    """Multicast this."""

    payload: bytes
    guarantee: Guarantee


@dataclass(frozen=True, slots=True)
class DropUnsent:
    """What has not been handed to the group yet is void."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Let the state machine apply a command; keep the result if it has a ticket."""

    sender: Address
    payload: bytes
    ticket: int | None


@dataclass(frozen=True, slots=True)
class Release:
    """Give out the result of a ticket (a barrier's is None)."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """It is not known whether the command of this ticket was applied."""

    ticket: int


@dataclass(frozen=True, slots=True)
class TellMembers:
    """Tell the state machine who the members are."""

    members: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """Take a snapshot now, and hand it to `Core.snapshot_taken`."""

    transfer: bytes


@dataclass(frozen=True, slots=True)
class Complain:
    """The state machine could not give its state, and why."""

    error: SnapshotFailed


@dataclass(frozen=True, slots=True)
class Restore:
    """Replace the state."""

    snapshot: bytes
    replaces: bool
    """There was a state, which another part of the group did not have."""


@dataclass(frozen=True, slots=True)
class Became:
    """The status changed."""

    status: Status


@dataclass(frozen=True, slots=True)
class Fail:
    """It cannot go on: leave the group, and tell everybody who waits."""

    error: TotemdError


Effect = Send | DropUnsent | Apply | Release | Unknown | TellMembers | TakeSnapshot | Complain | Restore | Became | Fail
Snapshot = bytes | bytearray | memoryview | Iterable[bytes]
"""What a state machine's `snapshot` may return."""
