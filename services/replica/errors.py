"""What a replica raises, besides the errors of the group itself."""

from __future__ import annotations

from ...ipc.errors import OperationFailed


class Rejected(Exception):
    """Raised by `apply`: the command is refused, the same on every replica, and nothing was changed.

    `submit` raises it at the member that proposed the command; the other replicas go on.  Any other exception of
    `apply` is a mistake in the state machine and ends the replica.
    """


class OutcomeUnknown(OperationFailed):
    """The command was sent, and then this member was away or lost its place: it was applied once, or never.

    It will not be applied later.  Read the state before you propose it again.
    """


class SnapshotFailed(Exception):
    """Inside the package only: the state machine of a donor could not give its state, which is no fault of the donor.

    Its transfer ends, its receivers are told and ask another one, and the donor goes on: if one joiner could end all
    who have the state, it would be the last one, with nothing.
    """


class IncompatibleState(OperationFailed):
    """No replica of the group can give a snapshot that this state machine accepts: theirs have another format, or the
    group shares something else, a dictionary where this is a lock."""


class TransferFailed(OperationFailed):
    """The state could not be had: nobody who has it could give it, or more was written during each transfer than a
    joiner keeps.  The text says which, and what the donors' state machines raised."""
