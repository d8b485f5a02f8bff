"""What the council and a tenure want done, in order."""

from __future__ import annotations

from dataclasses import dataclass

from .messages import Message
from .promises import Record


@dataclass(frozen=True, slots=True)
class Send:
    """Multicast this to the group."""

    message: Message


@dataclass(frozen=True, slots=True)
class Keep:
    """Put the record on disk; only if that succeeds, multicast the vote that rests on it."""

    record: Record
    then: Message | None = None


@dataclass(frozen=True, slots=True)
class Promote:
    """Tell a candidate to run."""

    candidate: int
    fence: int
    ends_at: float
    """On this machine's clock; the application must be gone by then, unless the lease is extended."""
    stored: bytes
    """What its predecessor has left."""


@dataclass(frozen=True, slots=True)
class Extend:
    """Tell the runner that it may go on."""

    candidate: int
    fence: int
    ends_at: float


CouncilEffect = Send | Keep | Promote | Extend


# -- of a tenure


@dataclass(frozen=True, slots=True)
class BeginTerm:
    """Start the application."""

    fence: int
    stored: bytes


@dataclass(frozen=True, slots=True)
class Leash:
    """Whatever happens, the application is killed at this time, unless another one is named before."""

    kill_at: float


@dataclass(frozen=True, slots=True)
class Unleash:
    """Nothing is left to be killed."""


@dataclass(frozen=True, slots=True)
class Yield:
    """End the application: the stop signal now, SIGKILL for all that is left at the time."""

    kill_at: float


@dataclass(frozen=True, slots=True)
class AskRenewal:
    """Tell the sam process that the application is wanted to go on."""

    fence: int


@dataclass(frozen=True, slots=True)
class TellYielded:
    """Tell the sam process that nothing of that term runs."""

    fence: int


TenureEffect = BeginTerm | Leash | Unleash | Yield | AskRenewal | TellYielded
