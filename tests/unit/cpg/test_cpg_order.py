"""Many nodes, any interleaving: all members of a group see the same sequence (docs/totem.md §9)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from bus import Bus
from histories import check
from hypothesis import given, settings
from hypothesis import strategies as st
from totemd.ipc.ids import Guarantee
from totemd.services.cpg import outbox

NODES = (1, 2, 3)
PIDS = (10, 20)
GROUPS = (b"a", b"b")

node_ids = st.sampled_from(NODES)
pids = st.sampled_from(range(len(PIDS)))
groups = st.sampled_from(GROUPS)
small = st.integers(0, 4)

operations = st.one_of(
    st.tuples(st.just("originate"), node_ids),
    st.tuples(st.just("deliver"), node_ids, small),
    st.tuples(st.just("serve"), node_ids, small),
    st.tuples(st.just("join"), node_ids, pids, groups),
    st.tuples(st.just("leave"), node_ids, pids, groups),
    st.tuples(st.just("mcast"), node_ids, pids, groups, st.booleans(), st.sampled_from((0, 10, 2500))),
    st.tuples(st.just("regroup"), st.sets(node_ids, min_size=1), small, small),
    st.tuples(st.just("die"), node_ids, pids),
    st.tuples(st.just("kill"), node_ids),
    st.tuples(st.just("start"), node_ids),
    st.tuples(st.just("attach"), node_ids),
    st.tuples(st.just("crash"), node_ids),
    st.tuples(st.just("boot"), node_ids),
    st.tuples(st.just("settle")),
)


def apply(bus: Bus, operation: tuple[Any, ...]) -> None:
    name, *arguments = operation
    node = bus.nodes[arguments[0]] if name not in ("regroup", "settle") else bus.nodes[NODES[0]]
    match name, arguments:
        case "originate", _:
            node.originate()
        case "deliver", [_, times]:
            for _ in range(times + 1):
                node.deliver()
        case "serve", [_, times]:
            for _ in range(times + 1):
                node.serve()
        case "join", [_, pid, group]:
            node.members[pid].join(group)
        case "leave", [_, pid, group]:
            node.members[pid].leave(group)
        case "mcast", [_, pid, group, safe, size]:
            node.members[pid].mcast(group, Guarantee.SAFE if safe else Guarantee.AGREED, size)
        case "regroup", [component, extra, early]:
            bus.regroup(component, extra, early)
        case "die", [_, pid]:
            node.die(pid)
        case "kill", _:
            node.kill_service()
        case "start", _ if node.engine is None:
            node.start_service()
        case "attach", _:
            node.attach()
        case "crash", _ if node.up:
            node.crash()
        case "boot", _ if not node.up:
            node.boot()
        case "settle", _:
            bus.settle()


def storm(seed: int, ticks: int = 400) -> Bus:
    """Traffic with faults; nodes, lanes and services run at different speeds, so that much is on its way."""
    chance = random.Random(seed)
    bus = Bus(NODES, PIDS)
    bus.heal()
    for node in bus.nodes.values():
        for member in node.members:
            member.join(b"a")
    bus.settle()
    fault_every = chance.choice((15, 40, 100))
    speed = {
        (node, step): chance.choice((0.05, 0.3, 0.9)) for node in NODES for step in ("originate", "deliver", "serve")
    }
    for _ in range(ticks):
        for (node, step), probability in speed.items():
            if chance.random() < probability:
                getattr(bus.nodes[node], step)()
        node_id, pid, group = chance.choice(NODES), chance.randrange(len(PIDS)), chance.choice(GROUPS)
        match chance.randrange(fault_every):
            case 0:
                fault(bus, chance, node_id, pid)
            case 1:
                apply(bus, ("leave", node_id, pid, group))
            case 2:
                apply(bus, ("join", node_id, pid, group))
            case _ if chance.random() < 0.5:
                apply(bus, ("mcast", node_id, pid, group, chance.random() < 0.5, chance.choice((0, 10, 2500))))
        if chance.randrange(20) == 0:
            speed[chance.choice(list(speed))] = chance.choice((0.05, 0.3, 0.9))
    return bus


def fault(bus: Bus, chance: random.Random, node_id: int, pid: int) -> None:
    """Break something, or mend what is broken."""
    node = bus.nodes[node_id]
    if not node.up:
        node.boot()
    elif node.engine is None:
        node.start_service()
    elif not node.attached:
        node.attach()
    else:
        match chance.randrange(8):
            case 0 | 1 | 2:
                component = {each for each in NODES if chance.random() < 0.7} | {node_id}
                bus.regroup(component, chance.randrange(6), chance.randrange(6))
                bus.regroup(set(NODES) - component, chance.randrange(6), chance.randrange(6))
            case 3:
                node.crash()
                bus.regroup(set(NODES), chance.randrange(6), chance.randrange(6))
            case 4 | 5 | 6:
                node.kill_service()
                if chance.random() < 0.7:
                    node.start_service()
                    node.attach()
            case _:
                node.die(pid)


@pytest.fixture(params=["whole", "parts"])
def travel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the longer messages travel."""
    if request.param == "parts":
        monkeypatch.setattr(outbox, "WHOLE_BYTES_MAX", 1_000)
        monkeypatch.setattr(outbox, "PART_BYTES", 700)
    return str(request.param)


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_storms(first: int, travel: str) -> None:
    for seed in range(first, first + 50):
        bus = storm(seed)
        bus.heal()
        try:
            check(bus)
        except AssertionError as error:
            raise AssertionError(f"storm({seed}), {travel}: {error}") from error


@given(st.lists(operations, max_size=60))
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
def test_members_agree_whatever_happens(schedule: list[tuple[Any, ...]]) -> None:
    """Small schedules of single steps, which shrink well."""
    bus = Bus(NODES, PIDS)
    for operation in schedule:
        apply(bus, operation)
    bus.heal()
    check(bus)
