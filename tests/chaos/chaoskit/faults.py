"""The faults of a run: drawn from a seed, pure, so that the same seed gives the same schedule."""

from __future__ import annotations

import enum
import random
from collections import deque
from collections.abc import Collection, Sequence
from typing import NamedTuple


class Kind(enum.StrEnum):
    """What can happen."""

    PARTITION = "partition"
    """The nodes fall into two sides that do not hear each other."""
    ONE_WAY = "one way"
    """One node does not hear another, which hears it."""
    DEAF = "deaf"
    """A node hears nobody; everybody hears it."""
    STORM = "storm"
    """Everybody loses a large share of what arrives."""
    SMALL = "small lost"
    """One node loses a share of the small datagrams: tokens, joins.  What they are is sealed; only their size shows."""
    LARGE = "large lost"
    """One node loses a share of the large datagrams: messages."""
    DELAY = "delay"
    """What one node sends arrives late."""
    PAUSE_NODE = "pause node"
    PAUSE_TOTEM = "pause totem"
    PAUSE_CPG = "pause cpg"
    KILL_NODE = "kill node"
    KILL_EXECUTIVE = "kill executive"
    KILL_TOTEM = "kill totem"
    KILL_CPG = "kill cpg"
    KILL_SAM = "kill sam"
    KILL_QUORUM = "kill quorum"
    KILL_KEEPER = "kill keeper"
    """The sam process starts another, which takes the applications over."""
    KILL_CLIENT = "kill client"


NETWORK = frozenset({Kind.PARTITION, Kind.ONE_WAY, Kind.DEAF, Kind.STORM, Kind.SMALL, Kind.LARGE, Kind.DELAY})
PAUSES = {Kind.PAUSE_NODE: None, Kind.PAUSE_TOTEM: "totem", Kind.PAUSE_CPG: "cpg"}
"""Kind -> the process that is paused; None: all of the node's."""
KILLS = {Kind.KILL_TOTEM: "totem", Kind.KILL_CPG: "cpg", Kind.KILL_SAM: "sam", Kind.KILL_QUORUM: "quorum"}
"""Kind -> the process that the executive starts again."""
INSTANT = frozenset({*KILLS, Kind.KILL_KEEPER})
"""What mends by itself."""

WEIGHTS = {
    Kind.PARTITION: 6,
    Kind.ONE_WAY: 3,
    Kind.DEAF: 2,
    Kind.STORM: 2,
    Kind.SMALL: 2,
    Kind.LARGE: 2,
    Kind.DELAY: 2,
    Kind.PAUSE_NODE: 3,
    Kind.PAUSE_TOTEM: 3,
    Kind.PAUSE_CPG: 2,
    Kind.KILL_NODE: 4,
    Kind.KILL_EXECUTIVE: 2,
    Kind.KILL_TOTEM: 4,
    Kind.KILL_CPG: 3,
    Kind.KILL_SAM: 1,
    Kind.KILL_QUORUM: 2,
    Kind.KILL_KEEPER: 1,
    Kind.KILL_CLIENT: 3,
}
"""How often each kind is drawn."""

FIRST_SECONDS = 0.5
"""The first fault comes after this much of quiet."""

GAP_SECONDS = 2.0
"""Mean time between two faults; the gaps are exponentially distributed, so some come in clusters."""

NETWORK_SECONDS = (1.0, 8.0)
PAUSE_SECONDS = (0.2, 7.0)
"""Beyond the deadline of the executive's heartbeat, so that some paused children are killed as hung."""
DEAD_SECONDS = (0.1, 5.0)
"""From the end of a node or client until it is started again."""

FINALE = (Kind.PARTITION, Kind.PAUSE_NODE, Kind.DEAF)
FINALE_SECONDS = 5.0
"""The last fault is one of these and lasts until the end, with nothing beside it: long enough for rings to form that
do not hold everybody, so that there is something to be made whole."""

SECONDS_MIN = 6.0
"""Shortest schedule: a moment of faults, and the last one."""

RESTARTS_MAX, RESTARTS_SECONDS = 4, 40.0
"""Children that are killed on one node in this time: with more, an executive gives up as it should."""

STORM_SHARES = (0.1, 0.4)
SIZED_SHARES = (0.2, 0.9)
DELAY_MS = (2.0, 60.0)


class Fault(NamedTuple):
    """One fault; times are seconds from the beginning of the schedule."""

    at: float
    lasts: float
    """0 for what mends by itself."""
    kind: Kind
    nodes: tuple[int, ...] = ()
    """Whom it befalls; the one side of a partition; for `ONE_WAY` (the deaf one, whom it does not hear)."""
    share: float = 0.0
    """Of the datagrams that are lost; for `DELAY` milliseconds."""

    @property
    def ends(self) -> float:
        """When it is over."""
        return self.at + self.lasts

    def __str__(self) -> str:
        share = {Kind.DELAY: f" {self.share:.0f} ms"}.get(self.kind, f" {self.share:.0%}" if self.share else "")
        nodes = f" {','.join(map(str, self.nodes))}" if self.nodes else ""
        return f"{self.kind}{nodes}{share}" + (f" for {self.lasts:.1f} s" if self.lasts else "")


def schedule(
    seed: int | str, seconds: float, nodes: Sequence[int], kinds: Collection[Kind] = frozenset(Kind)
) -> tuple[Fault, ...]:
    """The faults of *seconds* on *nodes*, in order of time; all are over at the end.

    At most one of the faults of processes befalls a node at a time, and at most one of each kind of the network's
    lasts at a time.  The last fault lasts until the end and has nothing beside it (see `FINALE`).

    Raises:
        ValueError: fewer than `SECONDS_MIN` seconds, or no nodes.
    """
    if seconds < SECONDS_MIN or not nodes:
        raise ValueError(f"a schedule needs nodes, and {SECONDS_MIN:g} s or more; not {nodes!r} and {seconds:g} s")
    # A string seeds the same on every version and under every PYTHONHASHSEED.
    return _Draw(random.Random(f"chaos {seed}"), nodes, [kind for kind in Kind if kind in kinds]).until(seconds)


class _Draw:
    def __init__(self, chance: random.Random, nodes: Sequence[int], kinds: Sequence[Kind]) -> None:
        self._chance = chance
        self._nodes = list(nodes)
        self._kinds = list(kinds)
        self._weights = [WEIGHTS[kind] for kind in kinds]
        self._busy: dict[int, float] = dict.fromkeys(nodes, 0.0)
        """Node -> when the last fault of its processes is over."""
        self._lasting: dict[Kind, float] = {}
        self._restarts: dict[int, deque[float]] = {node: deque() for node in nodes}

    def until(self, seconds: float) -> tuple[Fault, ...]:
        faults: list[Fault] = []
        now = FIRST_SECONDS
        end = max(FIRST_SECONDS, seconds - FINALE_SECONDS)
        while now < end:
            (kind,) = self._chance.choices(self._kinds, self._weights)
            fault = self._network(kind, now, end) if kind in NETWORK else self._process(kind, now, end)
            if fault is not None:
                faults.append(fault)
            now = round(now + self._chance.expovariate(1 / GAP_SECONDS), 3)
        if finales := [kind for kind in FINALE if kind in self._kinds]:
            kind = self._chance.choice(finales)
            faults.append(Fault(end, round(seconds - end, 3), kind, self._some(kind)))
        return tuple(faults)

    def _lasts(self, bounds: tuple[float, float], now: float, end: float) -> float:
        low, high = bounds
        # Short ones are more frequent than long ones.
        return round(min(low + (high - low) * self._chance.random() ** 2, end - now), 3)

    def _network(self, kind: Kind, now: float, end: float) -> Fault | None:
        lasts = self._lasts(NETWORK_SECONDS, now, end)
        share = round(self._chance.uniform(*_SHARES.get(kind, (0.0, 0.0))), 3)
        nodes = self._some(kind)
        if self._lasting.get(kind, 0.0) > now:
            return None
        self._lasting[kind] = now + lasts
        return Fault(now, lasts, kind, nodes, share)

    def _some(self, kind: Kind) -> tuple[int, ...]:
        match kind:
            case Kind.PARTITION:
                count = self._chance.randint(1, max(1, len(self._nodes) - 1))
                return tuple(sorted(self._chance.sample(self._nodes, count)))
            case Kind.ONE_WAY:
                return tuple(self._chance.sample(self._nodes, min(2, len(self._nodes))))
            case Kind.STORM:
                return ()
            case _:
                return (self._chance.choice(self._nodes),)

    def _process(self, kind: Kind, now: float, end: float) -> Fault | None:
        node = self._chance.choice(self._nodes)
        lasts = 0.0 if kind in INSTANT else self._lasts(PAUSE_SECONDS if kind in PAUSES else DEAD_SECONDS, now, end)
        if self._busy[node] > now:
            return None
        if (kind in KILLS or PAUSES.get(kind) is not None) and not self._may_restart(node, now):
            return None
        self._busy[node] = now + lasts
        return Fault(now, lasts, kind, (node,))

    def _may_restart(self, node: int, now: float) -> bool:
        times = self._restarts[node]
        while times and now - times[0] > RESTARTS_SECONDS:
            times.popleft()
        if len(times) >= RESTARTS_MAX:
            return False
        times.append(now)
        return True


_SHARES = {
    Kind.STORM: STORM_SHARES,
    Kind.SMALL: SIZED_SHARES,
    Kind.LARGE: SIZED_SHARES,
    Kind.DELAY: DELAY_MS,
}
