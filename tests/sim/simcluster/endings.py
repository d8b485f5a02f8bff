"""What the world does when a process has ended: its executive speaks for it, and its port is reported closed.

Both can be late, lost, doubled, and about a node that is back already; reports can also be made up, about anybody.
How much of it a run has is derived from its seed (`options.Endings`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from simcluster.chance import Chance
from simcluster.network import CONTROL, Network
from simcluster.scheduler import Scheduler
from simcluster.world import World

OBITUARY_REPEATED_AFTER = (0.0, 0.02, 0.2)
"""Seconds after a death at which its executive says so."""
OBITUARY_LATE_MAX = 3.0
"""An executive that stands still itself says it up to this much later: in another ring, or when the node is back."""
REPORTS_HELD_MAX = 1.0
"""A report takes up to this much longer than its way."""
REPORTS_AT_ONCE = 6
"""Reports that one node gets about another in a row; a kernel limits their rate."""
REPORT_GAP = 0.001


class Subject(Protocol):
    """A node, as far as it matters here."""

    @property
    def life(self) -> int:
        """Counts boots."""

    @property
    def is_up(self) -> bool:
        """Whether its process lives."""

    def epitaph(self) -> object:
        """What its executive sends when the process has ended."""

    def port_closed(self, about: int) -> None:
        """The network says that nobody listens at another node."""


@dataclass(frozen=True, slots=True)
class _Obituary:
    of: int
    epitaph: object


@dataclass(frozen=True, slots=True)
class _Report:
    at: int
    life: int
    about: int


class Endings:
    """Of all nodes of a run."""

    def __init__(self, world: World, network: Network, nodes: Sequence[Subject]) -> None:
        self._world = world
        self._scheduler: Scheduler = world.scheduler
        self._network = network
        self._nodes = nodes
        self._options = world.options.endings
        self._reported: dict[tuple[int, int, int], int] = {}
        """Reports so far by (receiver, about, its life)."""

    def ended(self, node: int) -> None:
        """A node's process has just ended; it may be about to start again."""
        subject = self._nodes[node - 1]
        chance = Chance(self._world.options.seed, "ending", node, subject.life)
        if not chance.happens(self._options.obituaries):
            return
        late = chance.spread(0.001, OBITUARY_LATE_MAX) if chance.happens(self._options.late) else 0.0
        epitaph = subject.epitaph()
        for after in OBITUARY_REPEATED_AFTER:
            self._scheduler.at(self._scheduler.now + late + after, self._speak, _Obituary(node, epitaph))

    def _speak(self, said: object) -> None:
        assert isinstance(said, _Obituary)
        self._world.coverage["endings.obituary"] += 1
        for other in self._network.nodes:
            if other != said.of:
                self._network.send(said.of, other, CONTROL, said.epitaph)

    def arrived_at(self, receiver: int, sender: int) -> None:
        """A datagram has reached *receiver*'s machine: if nobody listens there, the sender may be told."""
        subject, other = self._nodes[receiver - 1], self._nodes[sender - 1]
        if subject.is_up or not other.is_up or self._network.is_cut(receiver, sender):
            return
        name = (sender, receiver, subject.life)
        count = self._reported[name] = self._reported.get(name, 0) + 1
        chance = Chance(self._world.options.seed, "report", *name, count)
        # A machine that is dead as a whole reports nothing.
        machine_is_up = Chance(self._world.options.seed, "machine", receiver, subject.life).happens(0.8)
        if count > REPORTS_AT_ONCE or not machine_is_up or not chance.happens(self._options.reports):
            return
        held = chance.spread(0.001, REPORTS_HELD_MAX) if chance.happens(self._options.late) else 0.0
        delay = self._world.options.weather.latency + held
        self._scheduler.at(self._scheduler.now + delay, self._report, _Report(sender, other.life, receiver))

    def forge(self, at: int, about: int, count: int) -> None:
        """Somebody makes reports up."""
        life = self._nodes[at - 1].life
        for index in range(count):
            self._scheduler.at(self._scheduler.now + index * REPORT_GAP, self._report, _Report(at, life, about))

    def _report(self, report: object) -> None:
        assert isinstance(report, _Report)
        told = self._nodes[report.at - 1]
        if told.is_up and told.life == report.life:  # a report quotes what this life has sent
            self._world.coverage["endings.report"] += 1
            told.port_closed(report.about)
