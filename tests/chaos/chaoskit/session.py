"""A whole run: a cluster in namespaces, members, load, rounds of faults with an end to each, and the verdict."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chaoskit.actor import TICK_SECONDS, Actor
from chaoskit.faults import SECONDS_MIN, Kind, schedule
from chaoskit.judge import configurations, judge
from chaoskit.kept import OPTIONS, Applications
from chaoskit.members import Members
from chaoskit.memory import GROWTH_MAX, Memory
from simcluster.violation import Violation
from totemd.testing import Cluster, wait_until
from totemd.testing.namespaces import Namespaces, leftovers, remove_leftovers

PORT = 5405
"""corosync's; the namespaces have nobody else in them."""

ROUND_SECONDS = 45.0
"""Faults for so long, then a rest in which the cluster must become whole."""

SETTLE_SECONDS = 60.0
"""Until all members have got the same last messages; much of a round may still wait to be repeated."""

QUORATE_SECONDS = 30.0
"""From the one ring until every node says that it has a quorum; the quorum process may just have been started again."""

WARM_UP_SECONDS = 10.0
"""Load without faults, after which memory is looked at for the first time."""

MIB = 2**20


@dataclass(frozen=True)
class Options:
    """What a run is made of."""

    nodes: int = 5
    seconds: float = 300.0
    """Of faults, all rounds together."""
    seed: int = 1
    loss: float = 0.05
    """Share of all datagrams that every node loses all the time."""
    rate: float = 25.0
    """Messages per second of each member."""
    token_ms: int = 1000
    round_seconds: float = ROUND_SECONDS
    warm_up_seconds: float = WARM_UP_SECONDS
    keep: bool = False
    """Whether histories and logs stay even if nothing was wrong."""
    growth_max: float = GROWTH_MAX
    """Share by which a process may grow after the warm-up; see `memory`."""
    slack_seconds: float = 0.0
    """What the time until one ring may exceed its limit by, where other work has the processors too."""


@dataclass
class Report:
    """What came out."""

    violations: list[Violation] = field(default_factory=list)
    limit_seconds: float = 0.0
    """2 × (token + consensus), and slack."""
    converged_seconds: list[float] = field(default_factory=list)
    """After each round: from when nothing was in the way any more until all were one ring."""
    settled_seconds: float = 0.0
    """From the last ring until all members had all messages."""
    faults: int = 0
    gave_up: int = 0
    submitted: int = 0
    delivered: int = 0
    lives: int = 0
    configurations: int = 0
    """That the nodes installed, all together, as their logs say."""
    memory: Memory = field(default_factory=Memory)
    left_behind: list[str] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    """Declared applications that are other processes in the end than in the beginning."""

    @property
    def complaints(self) -> list[str]:
        """Everything that is not as promised."""
        found = [f"violation: {each}" for each in self.violations]
        late = [each for each in self.converged_seconds if each > self.limit_seconds]
        found += [f"one ring only after {each:.2f} s; the limit is {self.limit_seconds:.2f} s" for each in late]
        return found + self.restarted + self.memory.complaints() + [f"left behind: {each}" for each in self.left_behind]

    def text(self) -> str:
        """For people."""
        times = ", ".join(f"{each:.2f}" for each in self.converged_seconds)
        return "\n".join(
            [
                f"{self.faults} faults; {self.submitted} messages, {self.delivered} deliveries in {self.lives} lives, "
                f"{self.configurations} configurations",
                f"one ring after each round in {times} s (limit {self.limit_seconds:.2f} s); "
                f"all members had everything {self.settled_seconds:.1f} s after the last",
                *([f"nodes that gave up and were started again: {self.gave_up}"] if self.gave_up else []),
                *self.memory.lines(),
                *(self.complaints or ["no violation, nothing left behind"]),
            ]
        )


class Session:
    """`Session(options, say).run()`."""

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self._options = options
        self._began = time.monotonic()
        self._say_line = say
        self.report = Report(memory=Memory(growth_max=options.growth_max))
        self.directory = Path(tempfile.mkdtemp(prefix=f"totemd-chaos-{os.getpid()}-"))
        """The members' histories, and the nodes' logs if something was wrong; removed otherwise."""

    def run(self) -> Report:
        """Everything.

        Raises:
            AssertionError: the cluster did not become whole in time, or a member broke; `directory` is kept.
        """
        try:
            return self._run()
        finally:
            with contextlib.suppress(OSError):
                self.directory.rmdir()  # only if it is empty: nothing has come of the run

    def _run(self) -> Report:
        for name in remove_leftovers():
            self._say(f"removed what an earlier run had left: {name}")
        with Namespaces(self._options.nodes, one_by_one=True) as network:
            with self._cluster(network) as cluster:
                self._live(cluster, network)
                cluster.stop()
                self.report.left_behind = cluster.leftovers()
            directory = cluster.directory
        self._look_behind(network, directory)
        if not self.report.complaints and not self._options.keep:
            shutil.rmtree(self.directory)
        return self.report

    def _live(self, cluster: Cluster, network: Namespaces) -> None:
        members = Members(cluster, self.directory, self._options.rate, self._say)
        with contextlib.closing(members):
            for node in cluster.nodes:
                members.start(node)
            self._say("load from all nodes")
            status = cluster[1].status()
            timers = 2 * (status.token_ms + status.consensus_ms) / 1000
            self.report.limit_seconds = timers + self._options.slack_seconds
            applications = Applications(cluster)
            applications.look()
            self._warm_up(cluster, members)
            self._rounds(cluster, network, members, applications)
            self.report.restarted = applications.complaints
            # The histories speak of a run whose members are there until the end, so they are read before that.
            whole = time.monotonic()
            members.settle(SETTLE_SECONDS)
            self.report.settled_seconds = time.monotonic() - whole
            self.report.memory.final(cluster)
            self._judge(members, {node.node_id: node.log for node in cluster})
            members.end()

    def _judge(self, members: Members, logs: Mapping[int, str]) -> None:
        self._say("judging")
        # Histories are hundreds of thousands of small objects without cycles: the collector would walk them again and
        # again, and take most of the time.
        gc.disable()
        try:
            records = members.read()
            self.report.lives = len(records.lives)
            self.report.submitted = sum(not each.unsent for each in records.submissions.values())
            self.report.delivered = sum(1 for life in records.lives for _ in life.received())
            self.report.configurations = sum(map(configurations, logs.values()))
            self.report.violations = judge(records, logs)
        finally:
            gc.enable()

    def _warm_up(self, cluster: Cluster, members: Members) -> None:
        warm = time.monotonic() + self._options.warm_up_seconds
        while time.monotonic() < warm:
            _nobody_broke(members)
            time.sleep(TICK_SECONDS)
        self.report.memory.first(cluster)

    def _rounds(self, cluster: Cluster, network: Namespaces, members: Members, applications: Applications) -> None:
        def watch() -> None:
            _nobody_broke(members)
            self.report.memory.look(cluster)

        kinds = set(Kind) if network.can_delay() else set(Kind) - {Kind.DELAY}
        if Kind.DELAY not in kinds:
            self._say("this kernel has no netem: nothing will be delayed")
        left, number = self._options.seconds, 0
        while left >= SECONDS_MIN:  # what is left at last may be too short for a round of its own
            faults = schedule(
                f"{self._options.seed}/{number}", min(left, self._options.round_seconds), list(cluster.nodes), kinds
            )
            actor = Actor(cluster, network, members, applications, loss=self._options.loss, say=self._say, watch=watch)
            self._say(f"round {number}: {len(faults)} faults, {self._options.loss:.1%} loss")
            actor.carry_out(faults)
            self._become_whole(cluster, actor)
            applications.look()
            self.report.faults += len(faults)
            self.report.gave_up += actor.gave_up
            left, number = left - self._options.round_seconds, number + 1

    def _become_whole(self, cluster: Cluster, actor: Actor) -> None:
        healed = actor.heal()
        cluster.wait_for_ring(cluster.nodes)
        self.report.converged_seconds.append(time.monotonic() - healed)
        self._say(f"one ring {self.report.converged_seconds[-1]:.2f} s after the last fault was over")
        wait_until(lambda: not _not_quorate(cluster), QUORATE_SECONDS, lambda: f"quorum; not {_not_quorate(cluster)}")

    @contextlib.contextmanager
    def _cluster(self, network: Namespaces) -> Iterator[Cluster]:
        cluster = Cluster(
            self._options.nodes,
            addresses=list(network.addresses.values()),
            port=PORT,
            launchers={node: network.launcher(node) for node in network.addresses},
            options={"quorum.provider": "corosync_votequorum", **OPTIONS},
            faults=False,
            token=self._options.token_ms,
            token_coefficient=0,
        )
        self._say(f"{self._options.nodes} nodes, seed {self._options.seed}; histories in {self.directory}")
        with cluster:
            try:
                yield cluster
            finally:
                for node in cluster:
                    (self.directory / f"node-{node.node_id}.log").write_text(node.log)

    def _look_behind(self, network: Namespaces, directory: Path) -> None:
        left = self.report.left_behind
        left += [name for name in leftovers() if name.startswith(network.prefix)]
        if directory.exists():
            left.append(str(directory))

    def _say(self, text: str) -> None:
        self._say_line(f"{time.monotonic() - self._began:8.2f}  {text}")


def _not_quorate(cluster: Cluster) -> list[int]:
    """Nodes of the one ring that do not say that it has a quorum."""
    return [node.node_id for node in cluster if not node.status().quorate]


def _nobody_broke(members: Members) -> None:
    broken = members.broken()
    if broken:
        raise AssertionError("\n".join(broken))
