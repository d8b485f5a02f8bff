"""Many seeds at once: worker processes, what came out of them in short, and where a failed seed is looked at."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from simcluster.cluster import Cluster, Outcome
from simcluster.options import NODES_HIGH, NODES_LOW, Options, derive
from simcluster.violation import Violation

LINE_LENGTH_MAX = 400
"""Longer lines are cut: a frame's body says little."""

JOBS_MAX = 512
"""Processes; more is a mistyped number."""

CHUNK = 4
"""Seeds that a worker takes at a time."""

_PR_SET_PDEATHSIG = 1


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


@dataclass(frozen=True, slots=True)
class Kind:
    """What is run of each seed."""

    profile: str = "mixed"
    nodes: tuple[int, int] = (NODES_LOW, NODES_HIGH)


@dataclass
class Tally:
    """Sums over a batch."""

    runs: int = 0
    failed: list[int] = field(default_factory=list)
    simulated: float = 0.0
    took: float = 0.0
    converged: list[float] = field(default_factory=list)
    coverage: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        """One more run."""
        self.runs += 1
        self.simulated += result.seconds
        self.coverage.update(result.coverage)
        if result.converged_after is not None:
            self.converged.append(result.converged_after)
        if result.violations:
            self.failed.append(result.seed)

    def merge(self, other: Tally) -> None:
        """The runs of another batch, too."""
        self.runs += other.runs
        self.failed += other.failed
        self.simulated += other.simulated
        self.took += other.took
        self.converged += other.converged
        self.coverage.update(other.coverage)

    def __str__(self) -> str:
        times = sorted(self.converged) or [0.0]
        pace = 60 * self.runs / self.took if self.took else 0.0
        return (
            f"{self.runs} runs, {len(self.failed)} failed; {self.simulated:.0f} s simulated in {self.took:.0f} s "
            f"({pace:.0f} seeds a minute); one ring after {times[len(times) // 2]:.2f} s (median), "
            f"{times[-1]:.2f} s (longest)"
        )


@contextmanager
def workers(jobs: int) -> Iterator[Workers]:
    """Processes that simulate.  They end with the block: at once, if it is left by an exception."""
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_prepare) as pool:
        try:
            yield Workers(pool, jobs)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            raise


class Workers:
    """Runs seeds in a pool, so many chunks of them at a time as it has processes, so that it is known which ones."""

    def __init__(self, pool: Executor, jobs: int) -> None:
        self._pool, self._jobs = pool, jobs

    def results(self, first: int, last: int, kind: Kind) -> Iterator[Result]:
        """What comes of these seeds, in any order.

        Raises:
            WorkerDied: a process has ended before its seeds had.
        """
        chunks = (range(start, min(start + CHUNK, last + 1)) for start in range(first, last + 1, CHUNK))
        under_way: dict[Future[list[Result]], range] = {}
        while True:
            try:
                for chunk in islice(chunks, self._jobs - len(under_way)):
                    under_way[self._pool.submit(_simulate, chunk, kind)] = chunk
                if not under_way:
                    return
                for done in wait(under_way, return_when=FIRST_COMPLETED).done:
                    yield from done.result()
                    del under_way[done]
            except BrokenProcessPool:
                raise WorkerDied(tuple(sorted(under_way.values(), key=lambda chunk: chunk.start))) from None


class WorkerDied(Exception):
    """A process was killed, as the kernel does that has no memory left; says which seeds were under way."""

    def __init__(self, chunks: tuple[range, ...]) -> None:
        seeds = ", ".join(f"{chunk[0]}..{chunk[-1]}" for chunk in chunks) or "none"
        super().__init__(f"a worker process was killed, or has crashed; seeds that were under way: {seeds}")
        self.chunks = chunks


def run_range(pool: Workers, first: int, last: int, kind: Kind) -> Tally:
    """Run these seeds, both ends included; whatever fails is printed at once.

    Raises:
        WorkerDied: not all of them were run.
    """
    began = time.monotonic()
    tally = Tally()
    for result in pool.results(first, last, kind):
        tally.add(result)
        if result.violations:
            print(complaint(result, kind), flush=True)
    tally.failed.sort()
    tally.took = time.monotonic() - began
    return tally


def summary(result: Result) -> str:
    """One line about a run."""
    names = dict.fromkeys(violation.prop for violation in result.violations)
    verdict = "ok" if not names else "VIOLATED " + " ".join(names)
    converged = "never" if result.converged_after is None else f"{result.converged_after:.2f} s"
    return (
        f"seed {result.seed}: {verdict}; {result.seconds:.1f} s simulated, {result.events} events, "
        f"one ring {converged} after the last fault; trace {result.digest}"
    )


def complaint(result: Result, kind: Kind) -> str:
    """What failed, how it is seen again, and how it is made short."""
    first: Violation = result.violations[0]
    return "\n".join(
        (
            summary(result),
            f"    {str(first)[:LINE_LENGTH_MAX]}",
            *(f"    {line}" for line in ways_to_look(derive(result.seed, kind.profile, kind.nodes), kind.nodes)),
        )
    )


def ways_to_look(options: Options, nodes: tuple[int, int]) -> tuple[str, str]:
    """The command that repeats a run, and the one that reduces it to a scenario."""
    command = f"python tests/sim/run.py --seed {options.seed} --profile {options.profile}"
    if nodes != (NODES_LOW, NODES_HIGH):
        command += f" --nodes {nodes[0]}..{nodes[1]}"
    return f"again:   {command} --trace", f"shorter: {command} --shrink -o tests/sim/scenarios/NAME.txt"


def _prepare() -> None:
    """What is there now stays; what a run leaves behind is collected when it is over, not while it goes on.

    Ctrl-C is for the parent, which ends its workers; should it be killed, they go with it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    gc.collect()
    gc.freeze()
    gc.disable()


def _simulate(seeds: range, kind: Kind) -> list[Result]:
    results = []
    for seed in seeds:
        results.append(Result(Cluster(derive(seed, kind.profile, kind.nodes)).run()))
        gc.collect()
    return results
