"""sam-run's own socket: a supervised application and the sam-run that keeps it.

Its address is in the application's environment (`TOTEMD_SAM_SOCKET`; a leading `@` means the abstract name space of
unix(7), as libzmq writes it: `ipc://@…`).  A process of the application says hello with role `sam-app`; sam-run
believes the kernel's word about who that is, and lets in its own descendants only.  Every request has a number and gets
`Done`, the answer named below, or `Refused`.  docs/sam.md explains the order of calls.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from .common import Wire

ROLE = "sam-app"
"""The hello's role of an application."""

STORED_BYTES_MAX = 1024 * 1024
"""What an application may leave to its next instances."""

INTERVAL_MS_MAX = 2**31 - 1
"""The longest interval: 24 days."""

POLICY_LENGTH_MAX = 32

Request = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
IntervalMs = Annotated[int, msgspec.Meta(ge=0, le=INTERVAL_MS_MAX)]
PolicyWords = Annotated[str, msgspec.Meta(min_length=1, max_length=POLICY_LENGTH_MAX)]
Data = Annotated[bytes, msgspec.Meta(max_length=STORED_BYTES_MAX)]
SignalNumber = Annotated[int, msgspec.Meta(ge=1, le=64)]


# -- application -> sam-run


class Enrol(Wire, frozen=True, tag="sam.enrol"):
    """This instance will say itself how it is (corosync: sam_initialize, sam_register).  Answered with `Enrolled`.

    From now on its end is a failure only between `StartWatch` and `StopWatch`; before and after, it is the
    application's own will, and final.  What is None stays as it is.
    """

    interval_ms: IntervalMs | None = None
    policy: PolicyWords | None = None
    """`restart` or `quit`, then any of `+quorum`, `+cmap`."""
    request: Request = 0


class StartWatch(Wire, frozen=True, tag="sam.start"):
    """Watch me from now on (sam_start).  Answered with `Done`; under a quorum policy not before the node is quorate."""

    request: Request = 0


class StopWatch(Wire, frozen=True, tag="sam.stop"):
    """Do not watch me (sam_stop).  Answered with `Done`."""

    request: Request = 0


class Beat(Wire, frozen=True, tag="sam.beat"):
    """I am well (sam_hc_send).  Never answered; ignored unless watched.  Every other message counts as one, too."""


class AskMe(Wire, frozen=True, tag="sam.ask-me"):
    """Send `Check` while watched (sam_hc_callback_register); needs an interval.  Answered with `Done`."""

    request: Request = 0


class SetWarnSignal(Wire, frozen=True, tag="sam.warn-signal"):
    """The signal by which this application is warned (sam_warn_signal_set).  Answered with `Done`."""

    signal: SignalNumber
    request: Request = 0


class Store(Wire, frozen=True, tag="sam.store"):
    """Keep this for this instance and later ones; empty: forget (sam_data_store).  Answered with `Done`."""

    data: Data
    request: Request = 0


class Restore(Wire, frozen=True, tag="sam.restore"):
    """What is kept (sam_data_restore)?  Answered with `Stored`."""

    request: Request = 0


class MarkFailed(Wire, frozen=True, tag="sam.mark-failed"):
    """Kill me, and do not start me again (sam_mark_failed); needs `+cmap`.  Answered with `Done`, if time permits."""

    request: Request = 0


# -- sam-run -> application


class Enrolled(Wire, frozen=True, tag="sam.enrolled"):
    """The instance is enrolled, on these terms."""

    request: int
    instance: int
    """1 for the first."""
    interval_ms: int
    policy: str


class Check(Wire, frozen=True, tag="sam.check"):
    """Are you well?  Then answer with `Beat`.  Comes four times in an interval."""

    full: bool
    """Every fourth: look at yourself before you answer."""


class Stored(Wire, frozen=True, tag="sam.stored"):
    """What is kept; empty if there is nothing."""

    request: int
    data: bytes


FROM_APP = Enrol | StartWatch | StopWatch | Beat | AskMe | SetWarnSignal | Store | Restore | MarkFailed
TO_APP = Enrolled | Check | Stored
