"""Every error that crosses a process boundary, and the one table between exceptions and status codes.

```
TotemdError
 ├─ TryAgain             the ring is being re-formed, or a queue is full; the same call will succeed later
 ├─ ConnectionLost       the service cannot be reached
 ├─ AccessDenied         the uidgid rules do not let this user in
 ├─ InvalidArgument      you passed something that cannot work (also a ValueError)
 │   ├─ GroupNameTooLong
 │   └─ MessageTooLarge
 ├─ NotMember            the group was not joined, or has been left
 ├─ AlreadyMember        this process is in that group already
 ├─ Expelled             this member did not read for too long
 ├─ WrongState           the call does not fit to what was called before (corosync: CS_ERR_BAD_HANDLE)
 ├─ NotFound             no such thing (application, process, key)
 ├─ ProtocolError        the other end speaks another version, or sent what is no message of ours
 │   └─ MalformedMessage
 ├─ ConfigurationError   a file says something that cannot be used
 ├─ KeyFileError         the cluster key is missing, too short, or readable by others
 └─ OperationFailed      the service tried and could not; the text says why
```
"""

from __future__ import annotations

import enum
from typing import ClassVar


class Status(enum.StrEnum):
    """What a reply carries instead of an exception."""

    OK = "ok"
    TRY_AGAIN = "try-again"
    CONNECTION_LOST = "connection-lost"
    ACCESS_DENIED = "access-denied"
    INVALID_ARGUMENT = "invalid-argument"
    NAME_TOO_LONG = "name-too-long"
    TOO_LARGE = "too-large"
    NOT_MEMBER = "not-member"
    ALREADY_MEMBER = "already-member"
    EXPELLED = "expelled"
    WRONG_STATE = "wrong-state"
    NOT_FOUND = "not-found"
    PROTOCOL = "protocol"
    MALFORMED = "malformed"
    CONFIGURATION = "configuration"
    KEY_FILE = "key-file"
    FAILED = "failed"


class TotemdError(Exception):
    """Base of everything that totemd raises on purpose.  Anything else is a bug; please report it."""

    status: ClassVar[Status] = Status.FAILED


class TryAgain(TotemdError):
    """The ring is being re-formed or a queue is full.  Nothing was sent; the same call will succeed later."""

    status = Status.TRY_AGAIN


class ConnectionLost(TotemdError, ConnectionError):
    """The service cannot be reached: it is not running, or not for this run directory."""

    status = Status.CONNECTION_LOST


class AccessDenied(TotemdError, PermissionError):
    """This user may not use the service; see `uidgid` in the configuration reference."""

    status = Status.ACCESS_DENIED


class InvalidArgument(TotemdError, ValueError):
    """An argument that cannot work.  The text says what would."""

    status = Status.INVALID_ARGUMENT


class GroupNameTooLong(InvalidArgument):
    """A group name of more than 128 bytes."""

    status = Status.NAME_TOO_LONG


class MessageTooLarge(InvalidArgument):
    """A message above the limit.  Nothing was sent."""

    status = Status.TOO_LARGE


class NotMember(TotemdError):
    """The group was not joined, or has been left."""

    status = Status.NOT_MEMBER


class AlreadyMember(TotemdError):
    """This process is in that group already; a process is in a group once."""

    status = Status.ALREADY_MEMBER


class Expelled(TotemdError):
    """This member did not read what was delivered to it for too long, and was taken out of its groups."""

    status = Status.EXPELLED


class WrongState(TotemdError):
    """The call does not fit to what was called before; the text says what would come first."""

    status = Status.WRONG_STATE


class NotFound(TotemdError, LookupError):
    """There is no such application, process or key."""

    status = Status.NOT_FOUND


class ProtocolError(TotemdError):
    """The other end speaks another version of the protocol, or broke it."""

    status = Status.PROTOCOL


class MalformedMessage(ProtocolError):
    """Bytes that are no message of this protocol.  Counted and dropped; never more than that."""

    status = Status.MALFORMED


class ConfigurationError(TotemdError):
    """A configuration that cannot be used.  `problems` holds one `FILE:LINE: text` per mistake."""

    status = Status.CONFIGURATION

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class KeyFileError(TotemdError):
    """The cluster key is missing, too short, or readable by others.  The text holds the mending command."""

    status = Status.KEY_FILE


class OperationFailed(TotemdError):
    """The service tried and could not; the text says why."""

    status = Status.FAILED


def _classes(base: type[TotemdError]) -> list[type[TotemdError]]:
    return [base, *(leaf for child in base.__subclasses__() for leaf in _classes(child))]


_BY_STATUS: dict[Status, type[TotemdError]] = {kind.status: kind for kind in _classes(TotemdError)}
"""The table.  `OperationFailed` comes after its base in the walk and so stands for FAILED."""


def to_exception(status: Status, detail: str) -> TotemdError:
    """The exception that a reply with this status raises at the client; `OK`, which no failure is, counts as FAILED."""
    return _BY_STATUS.get(status, OperationFailed)(detail)
