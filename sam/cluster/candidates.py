"""The candidates of this node: where each stands between standing by and running, and the votes on its claims."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

CLAIMS_OUTSTANDING_MAX = 8
"""Claims of one candidate on which votes may still come; older ones are given up."""


class Stage(enum.Enum):
    """Where a candidate of this node stands."""

    WAITING = "waiting"
    """Its sam-run stands by."""
    CLAIMING = "claiming"
    """Votes are being collected for a term that has not begun."""
    RUNNING = "running"
    """It has the lease."""
    ENDING = "ending"
    """Its lease is over, or it was told to end; its sam-run has not said yet that nothing runs any more."""


@dataclass(slots=True)
class Poll:
    """A claim, and the votes on it."""

    ends_at: float
    """The end of the lease that the claim asked for."""
    votes: dict[int, bool] = field(default_factory=dict)
    """How each node voted."""


@dataclass(slots=True)
class Own:
    """A sam-run of this node that wants to run a singleton."""

    candidate: int
    """Number of it on this node."""
    name: str
    yield_seconds: float
    rank: int | None = None
    """Its place in line; None until the others have been heard."""
    stage: Stage = Stage.WAITING
    fence: int = 0
    """Of its term; 0 while it waits."""
    ends_at: float = 0.0
    retry_at: float = 0.0
    """It does not claim before."""
    give_up_at: float = 0.0
    """CLAIMING: votes that are not there by then do not come."""
    renewed_at: float = 0.0
    """When its sam-run was heard last."""
    wants_more: bool = False
    """Its sam-run has asked for a renewal that could not be claimed yet."""
    claims: dict[int, Poll] = field(default_factory=dict)
    """By number."""

    def claimed(self, number: int, ends_at: float) -> None:
        """A claim is on its way."""
        self.claims[number] = Poll(ends_at)
        while len(self.claims) > CLAIMS_OUTSTANDING_MAX:
            del self.claims[next(iter(self.claims))]

    def wait(self, retry_at: float) -> None:
        """Back in line."""
        self.stage, self.fence, self.retry_at, self.wants_more = Stage.WAITING, 0, retry_at, False
        self.claims.clear()


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in line: who has the lower rank has stood there for longer; nodes that came together go by node id."""

    rank: int
    node_id: int
    number: int
