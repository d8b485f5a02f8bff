"""Runs that are set up on purpose, from the first boot to the last word, and what is read off them."""

from __future__ import annotations

from collections.abc import Sequence

from simcluster.checker import explain
from simcluster.cluster import Cluster, Outcome
from simcluster.faults import Fault, PlannedFault
from simcluster.history import Delivered, Regular
from simcluster.options import Options
from simcluster.scenario import Request, Script

FORMED = 2.0
"""Seconds after which the ring has formed for certain."""


def load_of(nodes: int, end: float, pause: float = 0.05, start: float = FORMED) -> tuple[Request, ...]:
    """Every node says something in turn until *end*, every third time safe."""
    count = int((end - start) / pause)
    return tuple(
        Request(start + index * pause, 1 + index % nodes, 20 + index % 500, index % 3 == 0) for index in range(count)
    )


def lived(
    options: Options, faults: Sequence[tuple[float, Fault]], requests: Sequence[Request], disk: int = 0
) -> Outcome:
    """Run to the end: the faults, then peace.  Nothing may be violated, and in the end all are one ring.

    *disk*: the ring sequence that the nodes have stored when they boot.
    """
    planned = tuple(PlannedFault(index, time, fault) for index, (time, fault) in enumerate(faults))
    cluster = Cluster(options, script=Script(options, planned, tuple(requests)))
    for node in cluster.nodes:
        node.disk = disk
    outcome = cluster.run()
    assert not outcome.violations, "\n".join(explain(outcome.history, each) for each in outcome.violations[:3])
    return outcome


def configurations(outcome: Outcome, node: int) -> list[tuple[float, Regular]]:
    """The regular configurations of a node, with their times."""
    return [
        (entry.time, entry.event)
        for process, entries in outcome.history.processes.items()
        if process.node == node
        for entry in entries
        if isinstance(entry.event, Regular)
    ]


def changes(outcome: Outcome, node: int, start: float, end: float) -> int:
    """How often the configuration changed for a node in this time."""
    return sum(start < at <= end for at, _ in configurations(outcome, node))


def delivered(outcome: Outcome, node: int) -> list[Delivered]:
    """What a node delivered."""
    return [
        entry.event
        for process, entries in outcome.history.processes.items()
        if process.node == node
        for entry in entries
        if isinstance(entry.event, Delivered)
    ]
