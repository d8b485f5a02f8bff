#!/usr/bin/env python3
"""Chaos over one application that runs on one of five nodes: `python tests/chaos/singleton.py --minutes 15 --seed 1`.

Nodes are killed and paused, the network is split, sam-runs, sam processes and the application are killed or stopped.
A file that the application writes is the witness: never two at a time, and the fence rises.  How long nobody ran is
counted from the fault, or from the moment when a quorum could form again.  Exit code 1: something is not as promised.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sim"))

from kit.command import SAM_RUN, environment
from kit.witness import Run, complaints, last_run, runs
from simcluster.arguments import number, whole
from totemd.sam.cluster.timing import Timing
from totemd.testing import Cluster, NotInTime, wait_until

WITNESSED = Path(__file__).resolve().parents[1] / "integration" / "kit" / "witnessed.py"
YIELD_MS = 500
MINUTES_MIN = 0.1
NODES_MIN, NODES_MAX = 3, 32
"""With fewer there is no quorum without one of them."""

TOKEN_MS_MIN, TOKEN_MS_MAX = 100, 600_000
STARTS_SECONDS = 1.0
"""What an interpreter may take to start and write its first line on a busy machine; comes on top of the bound."""

GIVES_UP_SECONDS = 120.0
"""If it does not run after so long, it never will."""


class Session:
    """One run of it."""

    def __init__(self, nodes: int, seed: int, token_ms: int, ending: ExitStack) -> None:
        self.random = random.Random(seed)
        self.file = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="singleton-"))) / "witness"
        options = {"quorum.provider": "corosync_votequorum"}
        self.cluster = ending.enter_context(Cluster(nodes, options=options, token=token_ms, token_coefficient=0))
        self.timing = Timing.of_ring(token_ms / 1000, 1.2 * token_ms / 1000)
        self.sam_runs: dict[int, subprocess.Popen[bytes]] = {}
        self.gaps: dict[str, list[float]] = {}
        ending.callback(self.end)

    @property
    def bound(self) -> float:
        return self.timing.failover(YIELD_MS / 1000)

    def start(self, node_id: int) -> None:
        running = self.sam_runs.get(node_id)
        if running is not None and running.poll() is None:
            return
        stubborn = self.random.choice(("0", "0", "30"))
        words = [*SAM_RUN, "-q", "--run-dir", str(self.cluster[node_id].run_dir), "--singleton", "db"]
        words += ["--yield-timeout", str(YIELD_MS), "--max-restarts", "unlimited", "--"]
        command = [*words, sys.executable, str(WITNESSED), str(self.file), str(node_id), stubborn]
        self.sam_runs[node_id] = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)

    def mend(self) -> None:
        """Everything is there again."""
        self.cluster.heal()
        for node in self.cluster:
            if node.is_paused:
                node.resume()
            if not node.is_running:
                node.start()
        for node_id in self.cluster.nodes:
            self.start(node_id)
            self.sam_runs[node_id].send_signal(signal.SIGCONT)

    def wait_until_it_runs(self, since: float) -> float:
        """When the first line after this moment was written."""

        def written() -> bool:
            last = last_run(self.file)
            return last is not None and last.ended > since

        wait_until(written, GIVES_UP_SECONDS, lambda: f"it runs again: {runs(self.file)[-5:]}")
        found = runs(self.file)
        if any(run.began <= since < run.ended for run in found):
            return since
        return min(run.began for run in found if run.began > since)

    def end(self) -> None:
        for process in self.sam_runs.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.sam_runs.values():
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # -- faults: each returns the moment from which the bound counts

    def node_killed(self, run: Run) -> float:
        self.cluster[run.node_id].kill()
        return time.monotonic()

    def cut_off(self, run: Run) -> float:
        rest = [node for node in self.cluster.nodes if node != run.node_id]
        self.cluster.partition([run.node_id], rest)
        return time.monotonic()

    def split(self, run: Run) -> float:
        nodes = list(self.cluster.nodes)
        self.random.shuffle(nodes)
        at = len(nodes) // 2
        self.cluster.partition(nodes[:at], nodes[at:])
        return time.monotonic()

    def quorum_lost(self, run: Run) -> float:
        nodes = list(self.cluster.nodes)
        self.random.shuffle(nodes)
        self.cluster.partition(nodes[:2], nodes[2:4], nodes[4:])
        time.sleep(self.random.uniform(0.5, 2.5) * self.bound)
        self.cluster.heal()
        return time.monotonic()

    def flapping(self, run: Run) -> float:
        for _ in range(self.random.randint(2, 5)):
            self.split(run)
            time.sleep(self.random.uniform(0.1, 0.6) * self.bound)
            self.cluster.heal()
            time.sleep(self.random.uniform(0.1, 0.6) * self.bound)
        return time.monotonic()

    def sam_run_killed(self, run: Run) -> float:
        self.sam_runs[run.node_id].kill()
        self.sam_runs[run.node_id].wait()
        return time.monotonic()

    def sam_run_stopped(self, run: Run) -> float:
        self.sam_runs[run.node_id].send_signal(signal.SIGSTOP)
        return time.monotonic()

    def sam_killed(self, run: Run) -> float:
        self.cluster[run.node_id].kill_process("sam")
        return time.monotonic()

    def node_paused(self, run: Run) -> float:
        self.cluster[run.node_id].pause()
        return time.monotonic()

    def another_killed(self, run: Run) -> float:
        self.cluster[self.random.choice([node for node in self.cluster.nodes if node != run.node_id])].kill()
        return time.monotonic()

    def application_killed(self, run: Run) -> float:
        subprocess.run(["kill", "-KILL", str(run.pid)], check=False)
        return time.monotonic()

    def sam_run_asked_to_end(self, run: Run) -> float:
        self.sam_runs[run.node_id].terminate()
        self.sam_runs[run.node_id].wait(60)
        return time.monotonic()

    def all_at_once(self, run: Run) -> float:
        """The node's sam process and sam-run die together; only the guardian is left."""
        self.sam_runs[run.node_id].kill()
        self.cluster[run.node_id].kill()
        return time.monotonic()

    def one(self) -> None:
        """A fault, and what became of it."""
        kinds: list[Callable[[Run], float]] = [
            *(self.node_killed, self.cut_off, self.split, self.quorum_lost, self.flapping, self.sam_run_killed),
            *(self.sam_run_stopped, self.sam_killed, self.node_paused, self.another_killed, self.application_killed),
            *(self.sam_run_asked_to_end, self.all_at_once),
        ]
        fault = self.random.choice(kinds)
        run = last_run(self.file)
        assert run is not None
        since = fault(run)
        # The runner may go on for a while, and stop then: who runs after the bound is who has taken over.
        time.sleep(self.bound + STARTS_SECONDS)
        self.wait_until_it_runs(time.monotonic() - 0.1)
        self.note(fault.__name__, since)
        self.mend()
        self.cluster.wait_for_ring()
        self.wait_until_it_runs(time.monotonic())

    def note(self, kind: str, since: float) -> None:
        """The longest time after the fault, up to now, in which nobody ran."""
        found, now = runs(self.file), time.monotonic()
        after = [run for run in found if run.ended >= since or run.began >= since]
        times = [since, *(moment for run in after for moment in (max(since, run.began), run.ended)), now]
        gap = max(times[at + 1] - times[at] for at in range(0, len(times) - 1, 2))
        self.gaps.setdefault(kind, []).append(gap)
        print(f"{kind:24} nobody ran for {gap:6.2f} s (bound {self.bound:.2f} s)", flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=number(MINUTES_MIN), default=15.0)
    parser.add_argument("--nodes", type=whole(NODES_MIN, NODES_MAX), default=5)
    parser.add_argument("--seed", type=whole(0), default=1)
    parser.add_argument("--token", type=whole(TOKEN_MS_MIN, TOKEN_MS_MAX), default=1000, help="token timeout in ms")
    given = parser.parse_args(arguments)
    with ExitStack() as ending:
        session = Session(given.nodes, given.seed, given.token, ending)
        for node_id in session.cluster.nodes:
            session.start(node_id)
        session.wait_until_it_runs(0.0)
        until = time.monotonic() + 60 * given.minutes
        problem = ""
        while time.monotonic() < until and not problem:
            try:
                session.one()
            except NotInTime as error:
                problem = str(error)
        found = runs(session.file)
        return report(session, found, problem)


def report(session: Session, found: list[Run], problem: str) -> int:
    """Print the figures, and the *problem* that ended it early, if there was one; return the exit code."""
    wrong = complaints(found)
    gaps = session.gaps
    for kind in sorted(gaps):
        print(f"{kind:24} {len(gaps[kind]):4} times, longest {max(gaps[kind]):6.2f} s")
    longest = max(gap for each in gaps.values() for gap in each) if gaps else 0.0
    late = sum(gap > session.bound + STARTS_SECONDS for each in gaps.values() for gap in each)
    terms, faults = len({run.fence for run in found}), sum(map(len, gaps.values()))
    print(f"{faults} faults, {len(found)} runs in {terms} terms; two at a time, or fences that fell: {len(wrong)}")
    print(f"longest time without a runner {longest:.2f} s, bound {session.bound:.2f} s, above it: {late}")
    for text in (*wrong, *([problem] if problem else [])):
        print(text)
    return 1 if wrong or problem else 0


if __name__ == "__main__":
    sys.exit(main())
