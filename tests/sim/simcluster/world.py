"""What the nodes of a run share, and what waits for them to reach some point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from simcluster.group_history import GroupHistory
from simcluster.history import Boots, History
from simcluster.options import Options
from simcluster.scheduler import Scheduler
from simcluster.trace import Trace
from simcluster.wire_watch import WireWatch


@dataclass(slots=True)
class World:
    """What all nodes of a run share."""

    options: Options
    scheduler: Scheduler
    history: History
    trace: Trace
    watch: WireWatch
    coverage: Counter[str]
    groups: GroupHistory
    boots: Boots


@dataclass(slots=True)
class Tripwire:
    """Where something is to go wrong: a state's or an effect's name."""

    event: str
    skip: int
    spring: Callable[[], None]
