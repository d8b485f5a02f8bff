"""What members of process groups saw: the histories that the group properties (docs/simulation.md, G1 …) speak of.

Every event has a cause: a place of a ring's order, a state exchange, or none that all nodes share.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from simcluster.history import RingKey
from simcluster.violation import Violation


class Place(NamedTuple):
    """A place of the total order."""

    ring: RingKey
    position: int
    """Sequence number of the frame."""
    part: int = 0
    """Of several messages of one frame."""

    def __str__(self) -> str:
        return f"{self.ring}:{self.position}.{self.part}"


class Exchange(NamedTuple):
    """A completed state exchange, and the way the node came to it."""

    ring: RingKey
    position: int
    """0 for that of a new ring, else where a service came up."""
    path: str
    """What the node went through since the exchange that it completed before."""

    def __str__(self) -> str:
        return f"exchange {self.ring}:{self.position}"


Cause = Place | Exchange | None


class Who(NamedTuple):
    """A member: node and process id."""

    node: int
    pid: int

    def __str__(self) -> str:
        return f"{self.node}/{self.pid}"


class Came(NamedTuple):
    """The membership of the group changed."""

    members: tuple[Who, ...]
    joined: tuple[Who, ...]
    left: tuple[Who, ...]
    reasons: tuple[str, ...] = ()
    """Of those that joined, then of those that left."""


class Said(NamedTuple):
    """A message."""

    sender: Who
    name: str
    """What the sender called it; unique."""
    digest: int


class RingSeen(NamedTuple):
    """The ring changed."""

    ring: RingKey
    members: tuple[int, ...]


class Back(NamedTuple):
    """The member had been away; so many own messages are unconfirmed."""

    unconfirmed: int


GroupEvent = Came | Said | RingSeen | Back


class Seen(NamedTuple):
    """An event of one member, and what caused it."""

    time: float
    event: GroupEvent
    cause: Cause


@dataclass
class Membership:
    """One client's subscription to one group, from asking to join to the end."""

    who: Who
    group: str
    seen: list[Seen] = field(default_factory=list)
    stage: str = "joining"
    """As the client library names it, at the end of the run; `dead` if the process died."""
    why: str = ""
    """The error that ended it."""
    sent: int = 0
    """Own messages handed over since the last (re)join."""
    delivered_back: int = 0

    @property
    def open(self) -> bool:
        """Still a member at the end of the run."""
        return self.stage == "joined"

    def __str__(self) -> str:
        return f"{self.who} in {self.group!r}"


@dataclass
class GroupHistory:
    """All memberships of a run, and where exchanges were completed."""

    memberships: list[Membership] = field(default_factory=list)
    said: dict[str, int] = field(default_factory=dict)
    """Name of each submitted message -> checksum of its bytes."""
    completions: dict[tuple[RingKey, int], dict[Place | None, int]] = field(default_factory=dict)
    """Exchange -> places where it was complete, each with one of the nodes."""
    news: dict[tuple[RingKey, int], int] = field(default_factory=dict)
    """A ring's first, second … start or end of a service, while it stands -> sequence number of the frame of it."""
    violations: list[Violation] = field(default_factory=list)
    """What was seen to be wrong while it happened."""

    def complain(self, prop: str, time: float, what: str) -> None:
        """Something is wrong at once."""
        self.violations.append(Violation(prop, time, what))
