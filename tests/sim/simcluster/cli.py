"""The command line of the simulator; see `run.py` beside this folder."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Collection
from multiprocessing import get_context

from simcluster import scenario_cli
from simcluster.checker import explain
from simcluster.cluster import Cluster, Outcome
from simcluster.coverage import missing, table
from simcluster.coverage_cells import undeclared
from simcluster.fault_plan import plan
from simcluster.options import NODES_HIGH, NODES_LOW, PROFILES, Options, derive
from simcluster.trace import Trace
from simcluster.violation import Violation

LINE_LENGTH_MAX = 400
"""Longer trace lines are cut: a frame's body says little."""


class Result:
    """What is left of a run that took place in another process."""

    def __init__(self, outcome: Outcome) -> None:
        self.seed = outcome.options.seed
        self.digest = outcome.digest
        self.seconds = outcome.seconds
        self.events = outcome.events
        self.converged_after = outcome.converged_after
        self.coverage = outcome.coverage
        self.violations = outcome.violations


def replay_command(options: Options, nodes: tuple[int, int]) -> str:
    """The one command that repeats a run."""
    command = f"python tests/sim/run.py --seed {options.seed} --profile {options.profile} --trace"
    return command if nodes == (NODES_LOW, NODES_HIGH) else f"{command} --nodes {nodes[0]}..{nodes[1]}"


def numbers(text: str) -> tuple[int, int]:
    """`N` or `A..B`, both ends included."""
    first, _, last = text.partition("..")
    return int(first), int(last or first)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Simulate totem rings; check extended virtual synchrony.")
    parser.add_argument("--seed", type=int, help="run this seed and tell about it")
    parser.add_argument("--seeds", type=numbers, metavar="A..B", help="run all of these")
    parser.add_argument("--nodes", type=numbers, metavar="A..B", default=(NODES_LOW, NODES_HIGH))
    parser.add_argument("--profile", choices=PROFILES, default="mixed")
    parser.add_argument("--jobs", type=int, default=1, help="processes for --seeds")
    parser.add_argument("--trace", action="store_true", help="print what happened around the first violation")
    parser.add_argument("--trace-all", action="store_true", help="print everything that happened")
    parser.add_argument("--without", type=int, nargs="*", default=[], metavar="I", help="leave out faults by index")
    parser.add_argument("--coverage", action="store_true", help="print what the runs exercised")
    parser.add_argument(
        "--complete", action="store_true", help="fail if --seeds leave something unseen that they can see"
    )
    scenario_cli.add_arguments(parser)
    return parser.parse_args(arguments)


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
        print(f"again: {replay_command(outcome.options, nodes)}")


def summary(result: Result) -> str:
    """One line about a run."""
    verdict = "ok" if not result.violations else "VIOLATED " + " ".join(_names(result.violations))
    converged = "never" if result.converged_after is None else f"{result.converged_after:.2f} s"
    return (
        f"seed {result.seed}: {verdict}; {result.seconds:.1f} s simulated, {result.events} events, "
        f"one ring {converged} after the last fault; trace {result.digest}"
    )


def _names(violations: list[Violation]) -> list[str]:
    return list(dict.fromkeys(violation.prop for violation in violations))


def _simulate(task: tuple[int, str, tuple[int, int]]) -> Result:
    seed, profile, nodes = task
    return Result(Cluster(derive(seed, profile, nodes)).run())


def run_many(
    seeds: tuple[int, int], profile: str, nodes: tuple[int, int], jobs: int, *, coverage: bool, complete: bool = False
) -> int:
    """Run a range of seeds; returns how many failed, and with *complete* also how much was not seen as it should be."""
    began = time.monotonic()
    tasks = [(seed, profile, nodes) for seed in range(seeds[0], seeds[1] + 1)]
    total: Counter[str] = Counter()
    converged: list[float] = []
    simulated, failed = 0.0, 0
    with get_context("spawn").Pool(jobs) as pool:
        for result in pool.imap_unordered(_simulate, tasks, chunksize=4):
            total.update(result.coverage)
            simulated += result.seconds
            if result.converged_after is not None:
                converged.append(result.converged_after)
            if result.violations:
                failed += 1
                print(summary(result))
                print(f"    {str(result.violations[0])[:LINE_LENGTH_MAX]}")
                print(f"    again: {replay_command(derive(result.seed, profile, nodes), nodes)}", flush=True)
    took = time.monotonic() - began
    if coverage:
        print(table(total, len(tasks)))
    converged.sort()
    middle, most = (converged[len(converged) // 2], converged[-1]) if converged else (0.0, 0.0)
    print(
        f"{len(tasks)} runs, {failed} failed; {simulated:.0f} s simulated in {took:.0f} s "
        f"({60 * len(tasks) / took:.0f} seeds a minute); one ring after {middle:.2f} s (median), {most:.2f} s (longest)"
    )
    if complete:
        unseen = [*missing(total), *undeclared(total)]
        print(f"incomplete: {', '.join(unseen)}" if unseen else "complete: everything that is required was seen")
        failed += len(unseen)
    return failed


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: no violation; 1: at least one."""
    chosen = parse(arguments)
    code = scenario_cli.dispatch(chosen)
    if code is not None:
        return code
    if chosen.seeds is not None:
        shown, complete = chosen.coverage, chosen.complete or chosen.profile == "nightly"
        failed = run_many(chosen.seeds, chosen.profile, chosen.nodes, chosen.jobs, coverage=shown, complete=complete)
        return 1 if failed else 0
    options = derive(chosen.seed or 0, chosen.profile, chosen.nodes)
    outcome = run_one(options, chosen.without, chosen.nodes, trace=chosen.trace, everything=chosen.trace_all)
    if chosen.coverage:
        print(table(outcome.coverage, 1))
    return 1 if outcome.violations else 0
