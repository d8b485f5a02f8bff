"""Is the simulation strong enough?  Broken protocols must be caught, by the properties that they break.

Each mutant must be caught within its number of seeds, or by its own scenario.  The suite runs the scenarios, and the
seeds of those that are caught soon; `TOTEMD_SIM_MUTANTS=all` runs the seeds of all.  docs/mutants.md has the rates.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from simcluster import scenario_text
from simcluster.cluster import Cluster
from simcluster.mutants import MUTANTS, find
from simcluster.mutants_base import Edit, Mutant, Outrun
from simcluster.mutants_report import measure, report_text
from simcluster.options import derive
from simcluster.scenario_run import broken, mutated_verdict, run
from totemd.executive.totem.core import ordering

QUICK_SEEDS = 10
"""Mutants that may take more seeds are left to their scenario, and to the long run."""

ALL = os.environ.get("TOTEMD_SIM_MUTANTS") == "all"
HERE = Path(__file__).resolve().parent
SCENARIOS = HERE / "scenarios" / "mutants"
REPORT = HERE.parents[1] / "docs" / "mutants.md"

BY_SEEDS = [mutant for mutant in MUTANTS if mutant.seeds and (ALL or mutant.seeds <= QUICK_SEEDS)]
BY_SCENARIO = [mutant for mutant in MUTANTS if mutant.scenario]


def named(mutants: list[Mutant]) -> list[str]:
    return [mutant.name for mutant in mutants]


@pytest.mark.timeout(1800 if ALL else 180)
@pytest.mark.parametrize("mutant", BY_SEEDS, ids=named(BY_SEEDS))
def test_a_broken_protocol_is_caught_within_its_seeds(mutant: Mutant) -> None:
    seen: set[str] = set()
    with mutant.active():
        for seed in range(mutant.seeds):
            seen.update(broken(Cluster(derive(seed)).run()))
            if seen & mutant.expected:
                return
    pytest.fail(f"{mutant.what}: not caught in {mutant.seeds} seeds by {mutant.caught_by}; seen: {sorted(seen)}")


@pytest.mark.parametrize("mutant", BY_SCENARIO, ids=named(BY_SCENARIO))
def test_a_rare_mistake_is_caught_by_its_scenario(mutant: Mutant) -> None:
    scenario = scenario_text.load(SCENARIOS / mutant.scenario)
    assert scenario.mutant == mutant.name
    sound = run(scenario.script)
    assert not sound.violations, f"the sound protocol: {sound.violations[0]}"
    verdict = mutated_verdict(scenario, sound)
    again = f"python tests/sim/run.py --shrink --mutant {mutant.name} --seed N -o {SCENARIOS / mutant.scenario}"
    assert set(verdict) & mutant.expected, f"{mutant.what}: {verdict}; if the protocol has changed: {again}"


def test_every_mutant_is_caught_by_something_and_every_scenario_is_used() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert all(mutant.expected and (mutant.seeds or mutant.scenario) for mutant in MUTANTS)
    assert {path.name for path in SCENARIOS.iterdir()} == {mutant.scenario for mutant in BY_SCENARIO}


def test_mutants_leave_no_trace() -> None:
    """Patches end with their block: the same seed is sound, and the same run, before and after."""
    before = Cluster(derive(1)).run()
    for mutant in MUTANTS:
        with mutant.active():
            pass
    after = Cluster(derive(1)).run()
    assert not before.violations
    assert (after.violations, after.digest) == ([], before.digest)


def test_an_edit_whose_text_is_gone_says_so() -> None:
    mutant = Mutant("outrun", "", 1, "E1", (Edit(ordering.accepts_token, "no such words", ""),))
    with pytest.raises(Outrun, match=r"ordering\.accepts_token: 0 times 'no such words'"), mutant.active():
        pass


def test_the_report_lists_what_there_is() -> None:
    """Rates are measured by hand; names, words, bounds and changes must be those of today."""
    text = REPORT.read_text(encoding="utf-8")
    for mutant in MUTANTS:
        assert f"| {mutant.name} | {mutant.what} |" in text, (
            "python tests/sim/run.py --mutants SEEDS -o docs/mutants.md"
        )
        assert f"- `{mutant.name}`: {mutant.diff()}" in text
    assert text.count("\n| ") == len(MUTANTS) + 2


def test_a_measurement_counts_seeds_and_names_properties() -> None:
    measured = measure(find("not_persisted"), 2)
    assert (measured.caught, measured.first) == (2, 0)
    assert ("W3", 2) in measured.properties
    text = report_text([measured])
    assert "| not_persisted | the ring sequence is never made durable | 5 seeds | 2 of 2 seeds | " in text
    assert "- `not_persisted`: ring.Ring.take_effects: without `Persist`" in text
