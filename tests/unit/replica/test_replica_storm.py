"""Hundreds of short runs in which everything that can go wrong does."""

from __future__ import annotations

import pytest
from stage import Audience, Journal
from storm import Storm, small_chunks
from totemd.services.replica.policy import Available, Majority

__all__ = ["small_chunks"]

SEEDS = 60


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_whoever_is_there_works(seed: int) -> None:
    Storm(seed, Available(), 2 + seed % 3, Audience if seed % 2 else Journal).run()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_only_a_majority_works(seed: int) -> None:
    nodes = 3 if seed % 3 else 5
    Storm(seed, Majority(nodes), nodes, Audience if seed % 2 else Journal).run()
