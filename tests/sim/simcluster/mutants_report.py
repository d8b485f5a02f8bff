"""How often each mutant is caught, and by which property: measured, and written down as docs/mutants.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simcluster import scenario_text
from simcluster.cluster import Cluster
from simcluster.mutants_base import Mutant
from simcluster.options import derive
from simcluster.scenario_run import mutated_verdict, run

SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios" / "mutants"

ENOUGH = 3
"""Catches after which a measurement stops."""

PROPERTIES_NAMED = 5
"""Properties that a line of the report names, the most frequent first."""

INTRODUCTION = """\
# Mistakes that the simulation notices

Each row is totemd's ring with one mistake in it: a few words of one function, replaced by others. It was run with
seeds 0, 1, 2 … of the mixed profile until {enough} of them had caught it, or, where random faults show it too seldom,
with its own scenario in `tests/sim/scenarios/mutants`. {caught} of {all} mistakes were caught. *within* is what
`tests/sim/test_sim_mutants.py` insists on: so many seeds, or the scenario, and one of the properties that the mistake
is expected to break. What the properties say is in [simulation.md](simulation.md).

Made by `python tests/sim/run.py --mutants SEEDS -o docs/mutants.md`."""


@dataclass(frozen=True)
class Measured:
    """What became of a mutant in some seeds."""

    mutant: Mutant
    seeds: int
    """That were run; 0: only its scenario."""
    caught: int
    first: int | None
    """The first seed that caught it."""
    properties: tuple[tuple[str, int], ...]
    """Each violated property with the number of seeds in which it was, the most frequent first."""

    def line(self) -> str:
        """For a terminal."""
        by = " ".join(f"{prop}:{times}" for prop, times in self.properties)
        first = "-" if self.first is None else self.first
        of = f"of {self.seeds} seeds, first {first}" if self.seeds else "by its scenario"
        return f"{self.mutant.name:32} {self.caught:4} {of}: {by or 'nothing'}"


def measure(mutant: Mutant, seeds: int, enough: int = ENOUGH) -> Measured:
    """Run a mutant with seeds 0 … of the mixed profile, until *enough* of them have caught it, or with its scenario."""
    if not mutant.seeds:
        return by_scenario(mutant)
    caught: list[int] = []
    properties: Counter[str] = Counter()
    run_seeds = 0
    with mutant.active():
        while run_seeds < seeds and len(caught) < enough:
            found = {violation.prop for violation in Cluster(derive(run_seeds)).run().violations}
            if found & mutant.expected:
                caught.append(run_seeds)
                properties.update(sorted(found))
            run_seeds += 1
    return Measured(mutant, run_seeds, len(caught), caught[0] if caught else None, tuple(properties.most_common()))


def by_scenario(mutant: Mutant) -> Measured:
    """Run a mutant with its scenario, which is one catch or none."""
    scenario = scenario_text.load(SCENARIOS / mutant.scenario)
    verdict = mutated_verdict(scenario, run(scenario.script))
    return Measured(mutant, 0, int(bool(set(verdict) & mutant.expected)), None, tuple((prop, 1) for prop in verdict))


def report_text(measured: Sequence[Measured]) -> str:
    """The report as Markdown."""
    caught = sum(bool(each.caught) for each in measured)
    lines = [
        INTRODUCTION.format(enough=ENOUGH, caught=caught, all=len(measured)),
        "",
        "| mistake | what is wrong | within | caught by | which saw |",
        "| --- | --- | --- | --- | --- |",
        *(_row(each) for each in measured),
        "",
        "## The changes",
        "",
        *(f"- `{each.mutant.name}`: {each.mutant.diff()}" for each in measured),
    ]
    return "\n".join(lines) + "\n"


def _row(each: Measured) -> str:
    mutant = each.mutant
    bounds = (f"{mutant.seeds} seeds" if mutant.seeds else "", "its scenario" if mutant.scenario else "")
    within = " or ".join(filter(None, bounds))
    share = f"{each.caught} of {each.seeds} seeds" if each.seeds else "its scenario" if each.caught else "nothing"
    by = " ".join(prop for prop, _ in each.properties[:PROPERTIES_NAMED])
    return f"| {mutant.name} | {mutant.what} | {within} | {share} | {by} |"
