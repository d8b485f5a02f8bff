"""The commands of `run.py` for scenarios, shrinking and mutants."""

from __future__ import annotations

import argparse
from pathlib import Path

from simcluster import scenario_text
from simcluster.arguments import whole
from simcluster.mutants import MUTANTS
from simcluster.mutants_report import measure, report_text
from simcluster.options import derive
from simcluster.scenario_run import broken, play, problems, record, run_seed
from simcluster.shrink import RUNS_MAX, NothingFails, shrink


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What these commands need."""
    names = [mutant.name for mutant in MUTANTS]
    group = parser.add_argument_group("scenarios, shrinking and mutants")
    group.add_argument("--shrink", action="store_true", help="reduce the failing --seed to a short scenario")
    group.add_argument("--runs", type=whole(1), default=RUNS_MAX, metavar="N", help="runs that --shrink may take")
    group.add_argument("--mutant", choices=names, metavar="NAME", help="run --seed or --shrink with this mistake")
    group.add_argument("-o", "--output", type=Path, metavar="FILE", help="where --shrink and --mutants write")
    group.add_argument("--scenario", type=Path, nargs="+", metavar="FILE", help="run scenario files")
    group.add_argument("--record", action="store_true", help="write what comes out into the --scenario files")
    group.add_argument(
        "--mutants",
        type=whole(1),
        metavar="SEEDS",
        help="measure which mistakes are caught in so many seeds, and by what",
    )


def dispatch(chosen: argparse.Namespace) -> int | None:
    """Run what was chosen; None if it is none of these commands.  Exit code 0: as it should be; 1: not; 2: no input."""
    try:
        if chosen.scenario:
            return max(_scenario(path, recording=chosen.record) for path in chosen.scenario)
        if chosen.mutants is not None:
            return _mutants(chosen.mutants, chosen.output)
        if chosen.shrink:
            return _shrink(chosen)
        if chosen.mutant:
            return _mutated(chosen)
    except (OSError, scenario_text.ScenarioError, NothingFails) as problem:
        print(problem)
        return 2
    return None


def _scenario(path: Path, *, recording: bool) -> int:
    if recording:
        scenario = record(path)
        print(f"{path}: recorded: {' '.join(scenario.golden.verdict) or 'sound'}")
        return 0
    scenario = scenario_text.load(path)
    found = list(problems(scenario))
    print("\n".join((f"{path}: {'as recorded' if not found else 'otherwise than recorded'}", *found)))
    if found:
        golden, _ = play(scenario)
        print("\n".join(scenario_text.golden_lines(golden)))
    return 1 if found else 0


def _mutants(seeds: int, output: Path | None) -> int:
    measured = []
    for mutant in MUTANTS:
        measured.append(measure(mutant, seeds))
        print(measured[-1].line(), flush=True)
    if output is not None:
        output.write_text(report_text(measured), encoding="utf-8")
    return 0 if all(each.caught for each in measured) else 1


def _shrink(chosen: argparse.Namespace) -> int:
    options = derive(chosen.seed or 0, chosen.profile, chosen.nodes)
    scenario = shrink(options, chosen.mutant or "", runs_max=chosen.runs, say=lambda text: print(text, flush=True))
    written = scenario_text.text(scenario)
    if chosen.output is None:
        print(written, end="")
    else:
        chosen.output.write_text(written, encoding="utf-8")
        print(f"again: python tests/sim/run.py --scenario {chosen.output}")
    return 0


def _mutated(chosen: argparse.Namespace) -> int:
    outcome = run_seed(derive(chosen.seed or 0, chosen.profile, chosen.nodes), chosen.mutant)
    print("\n".join(str(violation) for violation in outcome.violations))
    print(f"{chosen.mutant}: {' '.join(broken(outcome)) or 'not noticed'}; trace {outcome.digest}")
    return 1 if outcome.violations else 0
