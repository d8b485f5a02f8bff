"""Links that carry one direction only, for good: drawn as such, lived through, and what is wrong meanwhile noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from simcluster.cluster import Cluster
from simcluster.fault_plan import plan
from simcluster.faults import CutLinks
from simcluster.history import History, Incarnation, Regular, RingKey
from simcluster.lopsided import Endurance, installs_max
from simcluster.mutants import find
from simcluster.options import ENDURED_BOUNDS, ONE_WAY, Options, derive
from simcluster.scheduler import Scheduler
from totemd.executive.totem.core.context import RingState

OPTIONS = replace(derive(0, ONE_WAY), nodes=2)


@pytest.mark.parametrize("seed", range(40))
def test_what_stays_broken_is_one_way_and_the_last_that_happens(seed: int) -> None:
    options = derive(seed, ONE_WAY)
    *_, heal, last = plan(options)
    assert isinstance(last.fault, CutLinks) and heal.time == last.time == options.lopsided_from
    links = set(last.fault.links)
    assert links and all((b, a) not in links and a != b for a, b in links)
    lasts = options.fault_seconds - options.lopsided_from
    assert lasts == pytest.approx(ENDURED_BOUNDS * options.convergence_bound)


def told(options: Options, state: Callable[[float], tuple[RingState, int]]) -> list[tuple[str, str]]:
    """What is found wrong with a node that is in this state, and has this ring, at each time."""
    scheduler, found = Scheduler(1_000_000), []
    node: Any = SimpleNamespace(id=1, ring=SimpleNamespace(state=RingState.OPERATIONAL, installed=0))

    def look(_: object) -> None:
        node.ring.state, node.ring.installed = state(scheduler.now - options.lopsided_from)
        scheduler.at(scheduler.now + 0.01, look)

    Endurance(options, [node], scheduler, lambda *violation: found.append(violation))
    look(None)
    scheduler.run_until(options.fault_seconds)
    return found


def test_a_node_that_never_comes_to_an_end_is_noticed() -> None:
    ((prop, what),) = told(OPTIONS, lambda since: (RingState.GATHER if since > 0.5 else RingState.OPERATIONAL, 0))
    assert prop == "L7" and "node 1 has installed nothing for" in what


def test_attempts_may_fail_for_a_time_and_rings_may_be_left_again() -> None:
    bound = OPTIONS.convergence_bound
    assert told(OPTIONS, lambda since: (RingState.RECOVERY, int(since / (0.9 * bound)))) == []
    assert (
        told(OPTIONS, lambda since: ((RingState.GATHER, RingState.OPERATIONAL)[int(since / bound * 1.1) % 2], 0)) == []
    )


@pytest.mark.parametrize("more", [0, 1])
def test_changes_without_end_are_noticed(more: int) -> None:
    history, found = History(), []
    for number in range(installs_max(OPTIONS) + more):
        installed = Regular(RingKey(4 * number, 1), (1,), (1,), ())
        history.record(Incarnation(1, 1), installed, OPTIONS.lopsided_from + 0.01 * (number + 1))
    Endurance(OPTIONS, [], Scheduler(1), lambda *violation: found.append(violation)).count(history)
    assert [prop for prop, _ in found] == ["L7"] * more


@pytest.mark.parametrize(("mutant", "seed"), [("consensus_excludes_nobody", 6), ("hopeless_merges", 13)])
def test_a_protocol_without_an_end_to_it_is_caught(mutant: str, seed: int) -> None:
    """One that repeats an attempt that cannot succeed (rule A), and one that merges what cannot be one (rule B)."""
    assert not Cluster(derive(seed, ONE_WAY)).run().violations
    with find(mutant).active():
        assert "L7" in {violation.prop for violation in Cluster(derive(seed, ONE_WAY)).run().violations}
