"""How long nobody runs: each kind of loss on its own, in a cluster that is otherwise in order."""

from __future__ import annotations

import itertools

import pytest
from judge import complaints
from world import YIELD_SECONDS, Machine, World

SEEDS = range(3)


def settled(seed: int, nodes: int = 5) -> tuple[World, Machine]:
    """A cluster in which the application has run for a while, and the machine that runs it."""
    world = World(nodes, seed)
    world.run(8.0 + world.rng.random())
    (stay,) = world.running
    return world, world.machines[stay.node_id]


def downtime(world: World, limit: float) -> float:
    """Until it runs again, or *limit*."""
    began, known = world.time, len(world.stays)
    while len(world.stays) == known and world.time - began < limit:
        world.run(0.01)
    assert complaints(world.stays) == []
    return world.time - began


@pytest.mark.parametrize("seed", SEEDS)
def test_a_machine_that_is_lost_is_replaced_within_the_bound(seed: int) -> None:
    world, machine = settled(seed)
    bound = world.timing.failover(YIELD_SECONDS)
    machine.crash()
    assert downtime(world, 60.0) <= bound


@pytest.mark.parametrize("seed", SEEDS)
def test_a_machine_that_is_cut_off_is_replaced_within_the_bound(seed: int) -> None:
    world, machine = settled(seed)
    world.bus.cut([set(world.machines) - {machine.node_id}])
    assert downtime(world, 60.0) <= world.timing.failover(YIELD_SECONDS)
    assert machine.stay is None


@pytest.mark.parametrize("seed", SEEDS)
def test_a_paused_machine_is_replaced_within_the_bound(seed: int) -> None:
    world, machine = settled(seed)
    machine.pause(30.0)
    assert downtime(world, 60.0) <= world.timing.failover(YIELD_SECONDS)
    world.run(40.0)
    assert complaints(world.stays) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_an_application_that_gives_up_is_replaced_at_once(seed: int) -> None:
    world, machine = settled(seed)
    machine.app_fails()
    assert downtime(world, 60.0) < 0.2


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_sam_run_is_replaced_within_the_bound(seed: int) -> None:
    world, machine = settled(seed)
    machine.kill_runner()
    assert downtime(world, 60.0) <= world.timing.failover(YIELD_SECONDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_losing_others_does_not_stop_it(seed: int) -> None:
    """As long as a quorum is left: that is what patience is for."""
    world, machine = settled(seed)
    others = [each for each in world.machines.values() if each is not machine]
    others[0].crash()
    world.run(4.0)
    others[1].crash()
    world.run(4.0)
    assert [stay.node_id for stay in world.running] == [machine.node_id] and len(world.stays) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restart_of_the_sam_process_does_not_stop_it(seed: int) -> None:
    world, machine = settled(seed)
    machine.kill_sam()
    world.run(1.0)
    machine.start_sam()
    world.run(20.0)
    assert len(world.stays) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_restarts_of_all_sam_processes_stop_nothing_and_repeat_no_fence(seed: int) -> None:
    world, _ = settled(seed)
    for machine in world.machines.values():
        machine.kill_sam()
    world.run(0.5)
    for machine in world.machines.values():
        machine.start_sam()
    world.run(20.0)
    (stay,) = world.running
    world.machines[stay.node_id].crash()
    world.run(20.0)
    assert complaints(world.stays) == [] and len({each.fence for each in world.stays}) == len(world.stays)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_oldest_runs_and_the_next_in_line_follows(seed: int) -> None:
    """A node that comes back is the youngest."""
    world = World(3, seed, starts=(3, 1, 2))
    world.run(10.0)
    for _ in world.machines:
        (stay,) = world.running
        world.machines[stay.node_id].crash()
        world.run(8.0)
        world.machines[stay.node_id].boot()
        world.run(4.0)
    assert [stay.node_id for stay in world.stays] == [3, 1, 2, 3]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_whole_cluster_that_was_off_goes_on_with_higher_fences(seed: int) -> None:
    world, _ = settled(seed, 3)
    for machine in world.machines.values():
        machine.crash()
    world.run(1.0)
    for machine in world.machines.values():
        machine.boot()
    world.run(20.0)
    assert len(world.running) == 1 and complaints(world.stays) == []
    assert world.stays[-1].fence > world.stays[0].fence


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_stored_is_handed_over(seed: int) -> None:
    """Each stores its fence; each finds that of the one before it."""
    world, machine = settled(seed)
    machine.crash()
    world.run(12.0)
    machine.boot()
    world.run(3.0)
    world.machines[world.running[0].node_id].crash()
    world.run(12.0)
    assert len(world.stays) == 3
    for before, after in itertools.pairwise(world.stays):
        assert after.handed == b"%d" % before.fence
