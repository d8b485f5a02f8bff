"""What an application has said to its keeper so far, and may say next; shared by both clients.  Pure.

Times are seconds here and milliseconds on the wire.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ..ipc.errors import InvalidArgument, NotFound, WrongState
from ..ipc.messages.sam_app import INTERVAL_MS_MAX, STORED_BYTES_MAX, AskMe, Enrol, SetWarnSignal, StartWatch
from . import environment
from .policy import Words

CONNECT_SECONDS = 5.0
"""How long registering waits by default until sam-run has answered."""

ANSWER_SECONDS = 5.0
"""How long every other call waits by default; all but `start` are answered at once."""

SERVICE_NAME = "the sam-run of this application"
"""What error texts call the other end."""

Healthy = Callable[[], Any]
"""A check of one's own health: returns False, or raises, if something is wrong.  Anything else is fine."""


class Said(enum.Enum):
    """How far an application has gone, as it knows itself (corosync: SAM's states)."""

    NOTHING = "nothing yet"
    REGISTERED = "registered"
    STARTED = "started"
    FINALIZED = "finalized"


class Conduct:
    """Which call is allowed now, and what has to be said again to a keeper that has taken over."""

    def __init__(self) -> None:
        self.said = Said.NOTHING
        self.instance = 0
        """Number of this instance; 0 before it has registered."""
        self.is_well = True
        """No health check has failed so far; one that has is never taken back."""
        self.check: Healthy | None = None
        self._enrol = Enrol()
        self._warn_signal: int | None = None

    def enrol(self, interval: float | None, policy: str | None) -> Enrol:
        """The message that registers.

        Raises:
            WrongState: it has registered already, or has said that it is over.
            InvalidArgument: no interval, or no policy.
        """
        if self.said is not Said.NOTHING:
            raise WrongState(f"this process cannot register: it has {_ALREADY[self.said]}")
        if interval is not None and not 0 <= interval * 1000 <= INTERVAL_MS_MAX:
            raise InvalidArgument(f"the interval is 0 to {INTERVAL_MS_MAX // 1000} s, not {interval:g}")
        if policy is not None:
            Words.parse(policy)
        self._enrol = Enrol(None if interval is None else round(interval * 1000), policy)
        return self._enrol

    def require(self, *allowed: Said) -> None:
        """
        Raises:
            WrongState: the call that asks does not fit to what was said before.
        """
        if self.said not in allowed:
            raise WrongState(f"{_FIRST[allowed]}; this process has {_ALREADY[self.said]}")

    def watch_for(self, check: Healthy | None) -> bool:
        """Take a check of health; returns whether sam-run has to be told that it shall ask.

        Raises:
            InvalidArgument: there is none.
            WrongState: the first one came too late.
        """
        if self.check is None:
            self.require(Said.REGISTERED)
        else:
            self.require(Said.REGISTERED, Said.STARTED)
        if check is None and self.check is None:
            raise InvalidArgument("a health check is something that can be called, not None")
        is_first = self.check is None
        self.check = check or self.check
        return is_first

    def warn_by(self, number: int) -> SetWarnSignal:
        """The message that sets the warn signal."""
        self.require(Said.REGISTERED, Said.STARTED)
        if not 1 <= number <= 64:
            raise InvalidArgument(f"{number} is no signal")
        self._warn_signal = number
        return SetWarnSignal(number)

    def once_more(self) -> list[msgspec.Struct]:
        """What to tell a keeper that does not know it yet."""
        if self.said not in (Said.REGISTERED, Said.STARTED):
            return []
        told: list[msgspec.Struct] = [self._enrol]
        if self._warn_signal is not None:
            told.append(SetWarnSignal(self._warn_signal))
        if self.check is not None:
            told.append(AskMe())
        if self.said is Said.STARTED:
            told.append(StartWatch())
        return told


def storable(data: bytes | bytearray | memoryview | None) -> bytes:
    """What is sent to be stored; nothing is stored as no bytes.

    Raises:
        InvalidArgument: it is too long.
    """
    taken = b"" if data is None else bytes(data)
    if len(taken) > STORED_BYTES_MAX:
        raise InvalidArgument(f"{len(taken)} bytes are too many; at most {STORED_BYTES_MAX} can be stored")
    return taken


def address(variables: Mapping[str, str], command: str) -> str:
    """Where this process's sam-run can be reached.

    Raises:
        NotFound: there is none.
    """
    if found := variables.get(environment.SOCKET, ""):
        return found
    raise NotFound(
        f"this program does not run under sam-run: start it as `sam-run -- {command}`, or call `sam.supervise()` first"
    )


_ALREADY = {
    Said.NOTHING: "not registered yet",
    Said.REGISTERED: "registered already, and is not watched",
    Said.STARTED: "been started already",
    Said.FINALIZED: "called `finalize`, after which nothing can be called any more",
}

_FIRST = {
    (Said.REGISTERED,): "`register` comes first, and `stop` after `start`",
    (Said.STARTED,): "`start` comes first",
    (Said.REGISTERED, Said.STARTED): "`register` comes first",
}
