"""Hundreds of short runs in which everything that can go wrong does."""

from __future__ import annotations

import pytest
from linestorm import LineStorm
from stage import Audience, Journal
from storm import Storm, small_chunks
from totemd.services.replica.policy import Available, Majority

__all__ = ["small_chunks"]

SEEDS = 60

LOST_ONCE = (3437, 51)
"""Where something acknowledged was lost, when safe delivery was taken for application by the replicas; and where
something was applied twice, which had been held when its sender was cut off.
"""


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_whoever_is_there_works(seed: int) -> None:
    Storm(seed, Available(), 2 + seed % 3, Audience if seed % 2 else Journal).run()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("seed", sorted({*range(SEEDS), *LOST_ONCE}))
def test_only_a_majority_works(seed: int) -> None:
    nodes = 3 if seed % 3 else 5
    Storm(seed, Majority(nodes), nodes, Audience if seed % 2 else Journal).run()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("majority", [False, True], ids=["available", "majority"])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_lock_has_one_holder_in_each_component(seed: int, majority: bool) -> None:
    nodes = (3 if seed % 3 else 5) if majority else 2 + seed % 3
    storm = LineStorm(seed, Majority(nodes) if majority else Available(), nodes)
    storm.run()
    assert len(storm.grants) >= nodes, "a storm in which nobody gets the lock shows nothing"
