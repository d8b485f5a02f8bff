"""The schedule of faults, and what faults mean for packet filters: pure."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from chaoskit.faults import (
    FINALE,
    FINALE_SECONDS,
    INSTANT,
    KILLS,
    NETWORK,
    PAUSES,
    RESTARTS_MAX,
    RESTARTS_SECONDS,
    WEIGHTS,
    Fault,
    Kind,
    schedule,
)
from chaoskit.weather import Weather, rules, weather
from totemd.testing import family

NODES = (1, 2, 3, 4, 5)
ADDRESSES = {node: f"10.0.0.{node}" for node in NODES}
LONG_SECONDS = 3600.0


def test_the_same_seed_is_the_same_schedule() -> None:
    assert schedule(7, 60, NODES) == schedule(7, 60, NODES)
    assert schedule(7, 60, NODES) != schedule(8, 60, NODES)


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_no_hash_has_a_part_in_it(hash_seed: str) -> None:
    program = "from chaoskit.faults import schedule; print(*schedule(7, 60, (1, 2, 3, 4, 5)), sep='\\n')"
    folders = f"{Path(__file__).parent}:{Path(__file__).parents[1] / 'sim'}"
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": folders, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.splitlines() == [str(fault) for fault in schedule(7, 60, NODES)]


def test_every_kind_comes_and_all_is_over_in_the_end() -> None:
    faults = schedule(1, LONG_SECONDS, NODES)
    assert {fault.kind for fault in faults} == set(Kind)
    assert all(fault.ends <= LONG_SECONDS for fault in faults)
    assert all(one.at <= other.at for one, other in pairwise(faults))
    assert LONG_SECONDS / len(faults) < 5, "every few seconds"


def test_every_process_of_a_node_is_among_the_victims() -> None:
    assert set(KILLS.values()) == set(family.MODULES)
    assert {Kind.KILL_EXECUTIVE, Kind.KILL_KEEPER, Kind.KILL_CLIENT} <= set(WEIGHTS)
    assert all(fault.lasts == 0 for fault in schedule(1, LONG_SECONDS, NODES) if fault.kind in INSTANT)


def test_only_the_kinds_that_are_wanted_come() -> None:
    wanted = {Kind.PARTITION, Kind.KILL_NODE}
    assert {fault.kind for fault in schedule(1, LONG_SECONDS, NODES, wanted)} == wanted


@pytest.mark.parametrize("seed", range(10))
def test_in_the_end_there_is_something_to_be_made_whole(seed: int) -> None:
    *others, last = schedule(seed, 40, NODES)
    assert last.kind in FINALE
    assert (last.at, last.ends) == (40 - FINALE_SECONDS, 40)
    assert all(fault.ends <= last.at for fault in others)


@pytest.mark.parametrize("seed", range(5))
def test_a_node_has_one_trouble_at_a_time_and_keeps_within_the_restart_intensity(seed: int) -> None:
    faults = schedule(seed, LONG_SECONDS, NODES)
    for node in NODES:
        own = [fault for fault in faults if fault.kind not in NETWORK and fault.nodes == (node,)]
        assert all(one.ends <= other.at for one, other in pairwise(own))
        restarts = [fault.at for fault in own if fault.kind in KILLS or PAUSES.get(fault.kind) is not None]
        for first, last in zip(restarts, restarts[RESTARTS_MAX:], strict=False):
            assert last - first > RESTARTS_SECONDS
    for kind in NETWORK:
        assert all(one.ends <= other.at for one, other in pairwise(each for each in faults if each.kind is kind))


@pytest.mark.parametrize("nodes", [(1, 2), (1, 2, 3)])
def test_a_partition_has_two_sides(nodes: tuple[int, ...]) -> None:
    for fault in schedule(3, LONG_SECONDS, nodes, {Kind.PARTITION}):
        assert 0 < len(fault.nodes) < len(nodes)


def test_weather_is_the_sum_of_what_lasts() -> None:
    now = weather(
        NODES,
        [
            Fault(0, 1, Kind.PARTITION, (1, 2)),
            Fault(0, 1, Kind.ONE_WAY, (3, 4)),
            Fault(0, 1, Kind.STORM, (), 0.5),
            Fault(0, 1, Kind.SMALL, (5,), 0.4),
            Fault(0, 1, Kind.LARGE, (5,), 0.3),
            Fault(0, 1, Kind.DELAY, (2,), 20),
            Fault(0, 1, Kind.KILL_NODE, (2,)),
        ],
        loss=0.1,
    )
    assert now.loss == pytest.approx(0.55)
    assert now == Weather(
        loss=now.loss,
        deaf_to={1: {3, 4, 5}, 2: {3, 4, 5}, 3: {1, 2, 4}, 4: {1, 2}, 5: {1, 2}},
        small_lost={5: 0.4},
        large_lost={5: 0.3},
        delay_ms={2: 20},
    )
    assert weather(NODES, [Fault(0, 1, Kind.DEAF, (4,))]).deaf_to == {4: {1, 2, 3, 5}}


def test_rules_say_what_a_node_does_not_get() -> None:
    now = Weather(loss=0.05, deaf_to={1: {2, 3}}, small_lost={1: 0.4})
    dropped = [line.strip() for line in rules(1, now, ADDRESSES).splitlines() if line.endswith("drop")]
    assert dropped == [
        "ip saddr 10.0.0.2 counter drop",
        "ip saddr 10.0.0.3 counter drop",
        "meta l4proto udp meta length <= 500 numgen random mod 10000 < 4000 counter drop",
        "meta l4proto udp numgen random mod 10000 < 500 counter drop",
    ]
    assert "drop" not in rules(2, Weather(), ADDRESSES)
    assert "delete table" in rules(2, Weather(), ADDRESSES), "what was there goes"


def test_most_kinds_are_about_as_frequent_as_they_should_be() -> None:
    counts = Counter(fault.kind for fault in schedule(5, 4 * LONG_SECONDS, NODES))
    assert min(counts.values()) > 10
    assert counts[Kind.PARTITION] > counts[Kind.DEAF]
