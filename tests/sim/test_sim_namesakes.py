"""Two living processes with one node id: both find out, one of them stops, and nobody else is the worse for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simcluster.checker import explain
from simcluster.cluster import Cluster
from simcluster.faults import PlannedFault
from simcluster.faults_local import StartNamesake
from simcluster.history import Regular
from simcluster.namesake import NamesakeNode
from simcluster.node import Node
from simcluster.options import TOKEN
from simcluster.scenario import Request, Script, plain

BEGIN, SECONDS = 2.0, 6.0


def lived(seed: int, node: int, wire: str) -> tuple[Cluster, NamesakeNode, list[tuple[float, tuple[int, ...]]]]:
    """A run in which *node* has a namesake for a while; what the lowest of the others saw of it."""
    options = replace(plain(seed, 4), fault_seconds=BEGIN + SECONDS + 2.0, wire=wire)
    faults = (PlannedFault(0, BEGIN, StartNamesake(node, SECONDS)),)
    load = tuple(Request(1.0 + index * 0.02, 1 + index % 4, 50, index % 3 == 0) for index in range(400))
    cluster = Cluster(options, script=Script(options, faults, load))
    cluster.scheduler.run_until(BEGIN + 0.1)
    assert cluster.namesake is not None
    namesake = cluster.namesake
    outcome = cluster.run()
    assert not outcome.violations, "\n".join(explain(outcome.history, each) for each in outcome.violations[:3])
    other = 1 if node != 1 else 2
    seen = [
        (entry.time, entry.event.members)
        for process, entries in outcome.history.processes.items()
        if process.node == other
        for entry in entries
        if isinstance(entry.event, Regular)
    ]
    return cluster, namesake, seen


@pytest.mark.parametrize("wire", ["sealed", "unsealed"])
@pytest.mark.parametrize("node", [1, 4])
def test_both_find_out_one_stops_and_the_others_go_on(wire: str, node: int) -> None:
    stopped = set()
    for seed in range(6):
        cluster, namesake, seen = lived(seed, node, wire)
        real: Node = cluster.nodes[node - 1]
        assert real.namesakes_met and namesake.namesakes_met, "both have been told"
        during = [members for time, members in seen if BEGIN < time < BEGIN + SECONDS]
        without = tuple(each for each in range(1, 5) if each != node)
        if real.life == 1:
            stopped.add("namesake")
            assert not during, "nobody else has noticed"
        else:
            stopped.add("real")
            assert during == [without], "it is gone as after a crash, once, and the others stay together"
            back = [time for time, members in seen if time > BEGIN + SECONDS and members == (1, 2, 3, 4)]
            assert back and back[0] < BEGIN + SECONDS + 5 * TOKEN
    assert stopped == {"namesake", "real"}, "which one it is depends on their boots"


def test_where_nothing_tells_boots_apart_there_is_none() -> None:
    options = replace(plain(1, 3), wire="objects")
    cluster = Cluster(options, script=Script(options, (PlannedFault(0, 1.0, StartNamesake(2, 1.0)),), ()))
    cluster.scheduler.run_until(1.5)
    assert cluster.namesake is None
