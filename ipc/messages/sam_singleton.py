"""sam.sock: a sam-run whose application runs on one node of the cluster at a time, and the sam process that leads it.

It says hello with role `singleton`, then `Enlist`.  From there on it stands by until it is sent `Promoted`; it starts
its application, and asks for more time with `Renew`, which `Extended` answers once a quorum of the cluster has agreed.
Nobody tells it to stop: it must have ended everything before its lease does.  Times are seconds of CLOCK_BOOTTIME of
the machine on which both run.  docs/singleton.md explains it at length.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from .common import Wire
from .sam import AppName, Detail

ROLE = "singleton"
"""The hello's role of such a sam-run."""

YIELD_MS_MAX = 3_600_000
"""The longest time that an application may be given to end by itself: an hour."""

HANDED_BYTES_MAX = 256 * 1024
"""The longest data that goes to the next node."""

Fence = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""The fencing token: the number of a term, higher than those of all earlier ones."""
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


# -- sam-run -> sam


class Enlist(Wire, frozen=True, tag="singleton.enlist"):
    """I want to run it, or do so already.  Answered with `Done`."""

    request: int
    name: AppName
    yield_ms: Annotated[int, msgspec.Meta(ge=0, le=YIELD_MS_MAX)]
    """What my application may take to end after its stop signal, before it is killed; part of the lease."""
    fence: Fence = 0
    """Of the term in which it runs; 0: it does not run."""
    ends_at: Seconds = 0.0
    """The end of that term's lease."""


class Renew(Wire, frozen=True, tag="singleton.renew"):
    """My application lives and is wanted to go on.  Never answered directly."""

    fence: Fence


class Yielded(Wire, frozen=True, tag="singleton.yielded"):
    """Nothing of that term runs any more; I stand by.  Answered with `Done`."""

    request: int
    fence: Fence


class Withdraw(Wire, frozen=True, tag="singleton.withdraw"):
    """Nothing runs any more, and I am no candidate from now on.  Answered with `Done`."""

    request: int


class HandOver(Wire, frozen=True, tag="singleton.store"):
    """The next runner is to be given this.  Never answered."""

    fence: Fence
    data: Annotated[bytes, msgspec.Meta(max_length=HANDED_BYTES_MAX)]


# -- sam -> sam-run


class Promoted(Wire, frozen=True, tag="singleton.promoted"):
    """The lease is yours: start."""

    fence: int
    ends_at: float
    renew_ms: int
    """How often `Renew` is expected."""
    stored: bytes
    """What the last runner has left."""


class Extended(Wire, frozen=True, tag="singleton.extended"):
    """The lease lasts longer."""

    fence: int
    ends_at: float


class StandBy(Wire, frozen=True, tag="singleton.stand-by"):
    """Why you have to wait, whenever that changes."""

    why: Detail


TO_SAM = Enlist | Renew | Yielded | Withdraw | HandOver
FROM_SAM = Promoted | Extended | StandBy
