"""How often each mutant is caught, and by which property: measured, and written down as docs/mutants.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from simcluster.cluster import Cluster
from simcluster.mutants_base import Mutant
from simcluster.options import derive

PROPERTIES_NAMED = 5
"""Properties that a line of the report names, the most frequent first."""


@dataclass(frozen=True)
class Measured:
    """What became of a mutant in some seeds."""

    mutant: Mutant
    seeds: int
    caught: int
    first: int | None
    """The first seed that caught it."""
    properties: tuple[tuple[str, int], ...]
    """Each violated property with the number of seeds in which it was, the most frequent first."""

    def line(self) -> str:
        """For a terminal."""
        by = " ".join(f"{prop}:{times}" for prop, times in self.properties)
        first = "-" if self.first is None else self.first
        return f"{self.mutant.name:32} {self.caught:4} of {self.seeds}, first by seed {first}: {by or 'nothing'}"


def measure(mutant: Mutant, seeds: int) -> Measured:
    """Run a mutant with seeds 0 … of the mixed profile."""
    caught: list[int] = []
    properties: Counter[str] = Counter()
    with mutant.active():
        for seed in range(seeds):
            found = {violation.prop for violation in Cluster(derive(seed)).run().violations}
            properties.update(sorted(found))
            if found & mutant.expected:
                caught.append(seed)
    return Measured(mutant, seeds, len(caught), caught[0] if caught else None, tuple(properties.most_common()))


def report_text(measured: Sequence[Measured]) -> str:
    """The report as Markdown."""
    seeds = max(each.seeds for each in measured)
    caught = sum(bool(each.caught) for each in measured)
    lines = [
        "# Mistakes that the simulation notices",
        "",
        f"Each row is totemd's ring with one mistake in it, run with seeds 0 to {seeds - 1} of the mixed profile:",
        f"{caught} of {len(measured)} mistakes were caught by these seeds. Every one must be caught within the number",
        "of seeds in the column *within*, or by its own scenario in `tests/sim/scenarios/mutants`, by one of the",
        "properties that it is expected to break; `tests/sim/test_sim_mutants.py` sees to that.",
        "What the properties say is in [simulation.md](simulation.md).",
        "",
        "Made by `python tests/sim/run.py --mutants SEEDS -o docs/mutants.md`.",
        "",
        "| mistake | what is wrong | within | caught in | by |",
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
    within = f"{mutant.seeds} seeds" if mutant.seeds else ""
    if mutant.scenario:
        within = f"{within}, or its scenario" if within else "its scenario"
    by = ", ".join(f"{prop} {times}" for prop, times in each.properties[:PROPERTIES_NAMED])
    share = f"{100 * each.caught / each.seeds:.0f} %"
    return f"| {mutant.name} | {mutant.what} | {within} | {share} | {by or mutant.caught_by + ' in the scenario'} |"
