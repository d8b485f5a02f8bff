"""The command line of the simulator; see `run.py` beside this folder."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path

from simcluster import campaign, scenario_cli
from simcluster.arguments import number, span, whole
from simcluster.batch import (
    JOBS_MAX,
    LINE_LENGTH_MAX,
    Kind,
    Result,
    WorkerDied,
    run_range,
    summary,
    ways_to_look,
    workers,
)
from simcluster.checker import explain
from simcluster.cluster import Cluster, Outcome
from simcluster.coverage import missing, table
from simcluster.coverage_cells import undeclared
from simcluster.fault_plan import plan
from simcluster.options import NODES_HIGH, NODES_LOW, NODES_MAX, PROFILES, Options, derive
from simcluster.scenario_run import scenario_coverage
from simcluster.trace import Trace

COMMANDS: dict[str, frozenset[str]] = {
    "--scenario": frozenset({"scenario", "record"}),
    "--mutants": frozenset({"mutants", "output"}),
    "--shrink": frozenset({"shrink", "seed", "profile", "nodes", "mutant", "runs", "output"}),
    "--mutant": frozenset({"mutant", "seed", "profile", "nodes"}),
    "--seeds with --progress": frozenset({"seeds", "progress", "profile", "nodes", "jobs", "minutes"}),
    "--seeds": frozenset({"seeds", "profile", "nodes", "jobs", "coverage", "complete"}),
    "--progress": frozenset({"progress"}),
    "--seed": frozenset({"seed", "profile", "nodes", "trace", "trace_all", "without", "coverage"}),
}
"""What can be asked for, and which options mean something with it: the first whose own ones are all given is meant, and
the last one if there is none."""

ALWAYS_COMPLETE = "nightly"
"""The profile whose batches must see everything, with `--complete` or without."""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line; what means nothing ends the program with exit code 2, and with what is accepted."""
    parser = argparse.ArgumentParser(description="Simulate totem rings; check extended virtual synchrony.")
    parser.add_argument("--seed", type=whole(0), help="run this seed and tell about it (default: 0)")
    parser.add_argument("--seeds", type=span(0), metavar="A..B", help="run all of these")
    parser.add_argument("--nodes", type=span(1, NODES_MAX), metavar="A..B", default=(NODES_LOW, NODES_HIGH))
    parser.add_argument("--profile", choices=PROFILES, default="mixed")
    parser.add_argument("--jobs", type=whole(1, JOBS_MAX), default=1, help="processes for --seeds")
    parser.add_argument("--trace", action="store_true", help="print what happened around the first violation")
    parser.add_argument("--trace-all", action="store_true", help="print everything that happened")
    parser.add_argument(
        "--without", type=whole(0), nargs="+", default=[], metavar="I", help="leave out faults by index"
    )
    parser.add_argument("--coverage", action="store_true", help="print what the runs exercised")
    parser.add_argument(
        "--complete", action="store_true", help="fail if --seeds leave something unseen that they can see"
    )
    parser.add_argument(
        "--progress",
        type=Path,
        metavar="FILE",
        help="write down in FILE which of --seeds were run, and leave out those that were; alone: what FILE says",
    )
    parser.add_argument("--minutes", type=number(0), metavar="M", help="with --progress: stop soon after so long")
    scenario_cli.add_arguments(parser)
    chosen = parser.parse_args(arguments)
    _check_together(parser, chosen)
    _check_without(parser, chosen)
    return chosen


def _check_together(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> None:
    """Refuse what would be ignored: whoever asks for a check must not take its absence for success."""
    given = {name for name, value in vars(chosen).items() if value != parser.get_default(name)}
    command = next(
        (name for name in COMMANDS if {word[2:] for word in name.split() if word.startswith("--")} <= given), "--seed"
    )
    for name in sorted(given - COMMANDS[command]):
        others = " or ".join(other for other, options in COMMANDS.items() if name in options)
        parser.error(f"--{name.replace('_', '-')} means nothing with {command}; it goes with {others}")
    if chosen.progress is not None and chosen.profile == ALWAYS_COMPLETE:
        parser.error(f"--progress keeps no counters, and the profile {ALWAYS_COMPLETE} is about them: run it without")


def _check_without(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> None:
    if chosen.without:
        last = len(plan(derive(chosen.seed or 0, chosen.profile, chosen.nodes))) - 1
        for index in chosen.without:
            if index > last:
                has = f"has faults 0 to {last}" if last >= 0 else "has no fault"
                parser.error(f"--without {index}: this seed {has}")


def run_one(
    options: Options, without: Collection[int], nodes: tuple[int, int], *, trace: bool, everything: bool
) -> Outcome:
    """Run one seed and print its story."""
    cluster = Cluster(options, trace=Trace(keep_lines=trace or everything), without=without)
    outcome = cluster.run()
    print("\n".join(options.lines()))
    for planned in plan(options):
        print(planned if planned.index not in without else f"(left out) {planned}")
    if everything:
        print("\n".join(line[:LINE_LENGTH_MAX] for line in cluster.trace.window(0, 0, outcome.seconds)))
    report(outcome, nodes)
    if outcome.violations and trace:
        print("--- around the first violation")
        print("\n".join(line[:LINE_LENGTH_MAX] for line in cluster.trace.window(outcome.violations[0].time)))
    return outcome


def report(outcome: Outcome, nodes: tuple[int, int]) -> None:
    """The result of one run."""
    for violation in outcome.violations:
        print(explain(outcome.history, violation))
    print(summary(Result(outcome)))
    if outcome.violations:
        print("\n".join(ways_to_look(outcome.options, nodes)))


def run_many(seeds: tuple[int, int], kind: Kind, jobs: int, *, coverage: bool, complete: bool = False) -> int:
    """Run a range of seeds; returns how many failed, and with *complete* also how much was not seen as it should be.

    What chance shows seldom is shown by scenarios: they are part of a complete run.
    """
    with workers(jobs) as pool:
        tally = run_range(pool, *seeds, kind)
    if coverage:
        print(table(tally.coverage, tally.runs))
    print(tally)
    if not complete:
        return len(tally.failed)
    directed = scenario_coverage()
    print(f"by scenarios only: {', '.join(sorted(set(missing(tally.coverage)) - set(missing(directed)))) or 'nothing'}")
    seen = tally.coverage + directed
    unseen = [*missing(seen), *undeclared(seen)]
    print(f"incomplete: {', '.join(unseen)}" if unseen else "complete: everything that is required was seen")
    return len(tally.failed) + len(unseen)


def _many(chosen: argparse.Namespace) -> int:
    kind = Kind(chosen.profile, chosen.nodes)
    if chosen.progress is not None:
        return campaign.run(chosen.progress, chosen.seeds, kind, chosen.jobs, chosen.minutes)
    complete = chosen.complete or chosen.profile == ALWAYS_COMPLETE
    return run_many(chosen.seeds, kind, chosen.jobs, coverage=chosen.coverage, complete=complete)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: no violation; 1: at least one; 2: not everything was run."""
    chosen = parse(arguments)
    code = scenario_cli.dispatch(chosen)
    if code is not None:
        return code
    try:
        if chosen.seeds is not None:
            return 1 if _many(chosen) else 0
        if chosen.progress is not None:
            print("\n".join(campaign.told(chosen.progress)))
            return 0
    except (campaign.BadProgress, WorkerDied, OSError) as problem:
        print(problem)
        return 2
    options = derive(chosen.seed or 0, chosen.profile, chosen.nodes)
    outcome = run_one(options, chosen.without, chosen.nodes, trace=chosen.trace, everything=chosen.trace_all)
    if chosen.coverage:
        print(table(outcome.coverage, 1))
    return 1 if outcome.violations else 0
