"""Is the simulation strong enough?  Broken protocols must be caught.

The rare ones need hundreds of seeds; they run with `TOTEMD_SIM_MUTANTS=all`.
"""

from __future__ import annotations

import os

import pytest
from simcluster.cluster import Cluster
from simcluster.mutants import MUTANTS, Mutant
from simcluster.options import derive

QUICK_SEEDS = 40
"""Mutants that may take more seeds are left to the long run."""

ALL = os.environ.get("TOTEMD_SIM_MUTANTS") == "all"


@pytest.mark.timeout(1800 if ALL else 180)
@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_broken_protocol_is_caught(mutant: Mutant) -> None:
    if mutant.seeds > QUICK_SEEDS and not ALL:
        pytest.skip(f"takes up to {mutant.seeds} seeds; TOTEMD_SIM_MUTANTS=all runs it")
    with mutant.active():
        caught = any(Cluster(derive(seed)).run().violations for seed in range(mutant.seeds))
    assert caught, f"{mutant.what}: not noticed in {mutant.seeds} seeds"


def test_mutants_leave_no_trace() -> None:
    """Patches end with their block: the same seed is sound, and the same run, before and after."""
    before = Cluster(derive(1)).run()
    for mutant in MUTANTS:
        with mutant.active():
            pass
    after = Cluster(derive(1)).run()
    assert not before.violations
    assert (after.violations, after.digest) == ([], before.digest)
