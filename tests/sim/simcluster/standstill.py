"""A process that stands still: what it was doing, and what waits for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from simcluster.wire import Received
from totemd.executive.totem.core.effects import Effect


class SlowWrites(NamedTuple):
    """How long a node stands still for each number that it stores, and until when its disk is so slow."""

    write_seconds: float
    until: float


@dataclass(slots=True)
class Standstill:
    """Kept from the begin of a pause until its end; of the last one, if there is none."""

    since: float = 0.0
    unfinished: list[Effect] = field(default_factory=list)
    """What the core had decided and was not carried out: that is done first, however late it is."""
    unread: list[Received] = field(default_factory=list)
    """What had been read and was not handed in."""
    reports: list[int] = field(default_factory=list)
    """Nodes whose port was reported closed meanwhile."""

    flushes: bool = False
    """It was long, and the core does not know yet that the backlog has been read."""

    def next_effects(self, fresh: list[Effect]) -> list[Effect]:
        """What is to be carried out: what was left, and what has come since."""
        unfinished, self.unfinished = self.unfinished, []
        return unfinished + fresh

    def take_unread(self) -> list[Received]:
        """What is to be handed in before anything else."""
        unread, self.unread = self.unread, []
        return unread

    def take_reports(self) -> list[int]:
        """What the network has said."""
        reports, self.reports = self.reports, []
        return reports
