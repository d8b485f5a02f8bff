"""Links that carry one direction only, for good: what must be true while they do (docs/totem.md §5.8, L7).

A run of the profile `one-way` has its faults first; then everything is mended but some directions of some links, which
stay broken for a few convergence bounds; then there is peace as in any other run.  All that is promised meanwhile is

L7  each node that runs installs a configuration in time, whatever attempts fail, and does not go on for ever changing
    it: what cannot be one ring becomes rings that stand.  (What they deliver is checked as ever.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simcluster.chance import Chance
from simcluster.faults import CutLinks, Fault, Heal
from simcluster.history import History, Regular
from simcluster.node import Node
from simcluster.options import Options
from simcluster.scheduler import Scheduler
from totemd.executive.totem.core.context import RingState

LOOK = 0.05
"""Seconds between two looks at the nodes."""

INSTALLS_SPARE = 18
"""Configurations of one node while the links are broken, besides one for each token timeout with its back-off.

Of 440 seeds none needed more than 15, 19 or 26 in all with the longest, a middle or practically no back-off; the bounds
are 22, 30 and 46.
"""


def broken_for_good(options: Options) -> list[tuple[float, Fault]]:
    """What is broken from `Options.lopsided_from` on, everything else being mended."""
    chance = Chance(options.seed, "lopsided")
    return [(options.lopsided_from, Heal()), (options.lopsided_from, CutLinks(_links(chance, options.nodes)))]


def _links(chance: Chance, nodes: int) -> tuple[tuple[int, int], ...]:
    """Directions whose opposites work: single ones, or all to one node, or all from one."""
    everybody = range(1, nodes + 1)
    one = chance.integer(1, nodes)
    match chance.choice(("some", "some", "deaf", "mute", "round")):
        case "deaf":
            return tuple((other, one) for other in everybody if other != one)
        case "mute":
            return tuple((one, other) for other in everybody if other != one)
        case "round":
            return tuple((node, node % nodes + 1) for node in everybody if nodes > 2)
    pairs = chance.shuffled([(a, b) for a in everybody for b in everybody if a < b])
    chosen = pairs[: chance.integer(1, nodes)]
    return tuple((a, b) if chance.happens(0.5) else (b, a) for a, b in chosen)


def installs_max(options: Options) -> int:
    """Configurations that a node may install while links are one-way: an attempt that fails costs its back-off."""
    pace = options.ring.token + options.backoff_max
    return int((options.fault_seconds - options.lopsided_from) / pace) + INSTALLS_SPARE


@dataclass(slots=True)
class _Standing:
    """What is known of a node."""

    ring: object = None
    since: float = 0.0
    """When it was last in a ring, had just installed one, or did not run."""


class Endurance:
    """Looks at the nodes of a run while its links are lopsided."""

    def __init__(
        self, options: Options, nodes: Sequence[Node], scheduler: Scheduler, violate: Callable[[str, str], None]
    ) -> None:
        self._options, self._nodes, self._scheduler, self._violate = options, nodes, scheduler, violate
        self._standing = {node.id: _Standing() for node in nodes}
        scheduler.at(options.lopsided_from, self._look)

    def _look(self, _: object) -> None:
        now, bound = self._scheduler.now, self._options.convergence_bound
        for node in self._nodes:
            standing, ring = self._standing[node.id], node.ring
            if ring is None or ring.state is RingState.OPERATIONAL or ring.installed != standing.ring:
                standing.since = now
            standing.ring = None if ring is None else ring.installed
            if now - standing.since > bound:
                self._violate("L7", f"node {node.id} has installed nothing for {bound:.1f} s of one-way links")
                return
        if now + LOOK < self._options.fault_seconds:
            self._scheduler.at(now + LOOK, self._look)

    def count(self, history: History) -> None:
        """Once the links are mended: how often the configuration changed."""
        start, end = self._options.lopsided_from, self._options.fault_seconds
        most = installs_max(self._options)
        for process, entries in history.processes.items():
            times = [entry.time for entry in entries if isinstance(entry.event, Regular) and start < entry.time <= end]
            if len(times) > most:
                what = f"{process} has installed {len(times)} configurations in {end - start:.1f} s of one-way links"
                self._violate("L7", what)
