"""One run: nodes, network, faults and load on one queue; first the faults, then the peace in which all converge."""

from __future__ import annotations

import traceback
import zlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from unittest.mock import patch

from simcluster import liveness
from simcluster.analysis import Analysis
from simcluster.chance import Chance
from simcluster.checker import check
from simcluster.coverage import count_history
from simcluster.coverage_cells import reactions_counted
from simcluster.endings import Endings
from simcluster.fault_plan import plan
from simcluster.faults import Fault, PlannedFault
from simcluster.faults_local import StepWallClock
from simcluster.group_history import GroupHistory
from simcluster.group_properties import check_groups, count_groups
from simcluster.history import Boots, History
from simcluster.lopsided import Endurance
from simcluster.machine import Machine
from simcluster.namesake import SEALS, NamesakeNode
from simcluster.network import Network
from simcluster.node import Node
from simcluster.options import MANY, ONE_WAY, Options, scaled
from simcluster.scenario import Request, Script
from simcluster.scheduler import Livelock, Scheduler
from simcluster.trace import Trace
from simcluster.violation import Violation
from simcluster.wire_watch import WireWatch, flow_max
from simcluster.workload import ScriptedLoad, Workload
from simcluster.world import Tripwire, World
from totemd.executive.totem.wire.packets import Token
from totemd.ipc.ids import RingId

EVENTS_MAX = 2_000_000
"""Events of one run with up to eight nodes; more is a livelock."""

WALL_START = 1.6e9
"""The time of day at which runs begin, for whoever looks."""

LOAD_AFTER_FAULTS = 0.3
"""Seconds for which applications go on submitting once the faults have stopped."""

POLL = 0.05
"""Seconds between two looks at whether the cluster has converged."""


@dataclass
class Outcome:
    """What came out of a run."""

    options: Options
    violations: list[Violation]
    digest: str
    seconds: float
    """Simulated."""
    events: int
    converged_after: float | None
    """Seconds from the last fault to the ring of all nodes; None if it was never formed."""
    coverage: Counter[str]
    history: History = field(repr=False)
    requests: list[Request] = field(repr=False)
    """What the applications submitted."""


class Cluster:
    """All of one run; also the stage that faults act on."""

    def __init__(
        self,
        options: Options,
        *,
        trace: Trace | None = None,
        without: Collection[int] = (),
        script: Script | None = None,
    ) -> None:
        """*without*: indices of faults to leave out; *script*: faults and load, instead of those of the seed."""
        self.options = options
        self.trace = trace or Trace()
        self.history = History()
        self.groups = GroupHistory()
        self.coverage: Counter[str] = Counter()
        self.scheduler = Scheduler(EVENTS_MAX * max(1, options.nodes // MANY))
        self.network = Network(options.seed, options.nodes, options.weather, self.scheduler, self._arrive)
        self.watch = WireWatch(flow_max(options.ring, options.nodes))
        self._violations: list[Violation] = []
        self._converged_after: float | None = None
        self._wall_offset = WALL_START
        self._boots = Boots()
        world = World(
            options, self.scheduler, self.history, self.trace, self.watch, self.coverage, self.groups, self._boots
        )
        self.nodes = [Node(world, self.network, number) for number in range(1, options.nodes + 1)]
        self.namesake: NamesakeNode | None = None
        """A second process with the id of one of them."""
        self._endings = Endings(world, self.network, self.nodes)
        for node in self.nodes:
            start = Chance(options.seed, "start", node.id).between(0, options.start_spread)
            self.scheduler.at(start, node.boot)
        self._components = [self.nodes]
        """Parts of the network that are connected once the faults have stopped."""
        faults = plan(options) if script is None else script.faults
        for planned in (each for each in faults if each.index not in without):
            self.scheduler.at(planned.time, self._strike, planned)
        self._load = self._start_load(faults, script)
        one_way = options.profile == ONE_WAY
        self._endurance = Endurance(options, self.nodes, self.scheduler, self._violate) if one_way else None

    def _start_load(self, faults: Sequence[PlannedFault], script: Script | None) -> Workload | ScriptedLoad:
        if script is not None:
            return ScriptedLoad(self.scheduler, self.nodes, script.requests)
        end = self.options.fault_seconds + LOAD_AFTER_FAULTS
        return Workload(self.options, self.scheduler, self.nodes, [planned.time for planned in faults], end)

    def run(self) -> Outcome:
        """Run to the end and check everything."""
        try:
            # Nothing in here may ask for the time of day; if something does, it is at least the simulated one.
            with patch("time.time", self._time_of_day), reactions_counted(self.coverage):
                self.scheduler.run_until(self.options.fault_seconds)
                if self._endurance is not None:
                    self._endurance.count(self.history)
                self._make_peace()
                self._settle()
        except Livelock as endless:
            self._violate("livelock", str(endless))
        except Exception:  # whatever a core raises is what this harness is for: it is reported with its seed
            self._violate("crash", traceback.format_exc())
        return self._outcome()

    def _outcome(self) -> Outcome:
        for node in self.nodes:
            node.harvest()
        analysis = Analysis(self.history)
        violations = [*self._violations, *self.watch.violations, *check(analysis)]
        violations.extend(check_groups(analysis, self.groups))
        count_groups(self.groups, self.coverage)
        violations.extend(
            Violation("bug", self.scheduler.now, f"the core counted {name}")
            for name in sorted(self.coverage)
            if name.startswith("bug.")
        )
        count_history(analysis, self.coverage)
        self.coverage.update({f"network.{name}": times for name, times in self.network.dropped.items()})
        self.coverage["load.submitted"] += self._load.submitted
        return Outcome(
            self.options,
            sorted(violations, key=lambda violation: violation.time),
            self.trace.digest,
            self.scheduler.now,
            self.scheduler.events,
            self._converged_after,
            self.coverage,
            self.history,
            self._load.requests,
        )

    # ------------------------------------------------------------------- stage

    def now(self) -> float:
        """Seconds since the start of the run."""
        return self.scheduler.now

    def crash(self, node: int, downtime: float) -> None:
        """Kill a node now; its disk survives."""
        victim = self._node(node)
        if victim.ring is not None:
            victim.crash()
            self._endings.ended(node)
            self._boot_later(victim, downtime)

    def wipe(self, node: int, downtime: float) -> None:
        """Kill a node now; it comes back without anything on its disk."""
        self.crash(node, downtime)
        self._node(node).disk = 0
        self._boots.lose_disk(node)

    def kill_totem(self, node: int, downtime: float) -> None:
        """Kill the totem process only."""
        victim = self._node(node)
        if victim.ring is not None:
            victim.crash(machine=False)
            self._endings.ended(node)
            self._boot_later(victim, downtime)

    def machine(self, node: int) -> Machine | None:
        """What runs on a node besides the totem process."""
        return self._node(node).machine

    def forge_reports(self, at: int, about: int, count: int) -> None:
        """Let reports of a closed port arrive that the network never made."""
        self._endings.forge(at, about, count)

    def start_namesake(self, node: int, seconds: float) -> None:
        """Start a second process with the id of *node* elsewhere, for so long."""
        if self.namesake is None and self.options.wire in SEALS:
            address = len(self.nodes) + 1
            self.network.set_namesake(node, address)
            self.namesake = NamesakeNode(self.options, self.scheduler, self.network, node, address)
            self.namesake.boot()
            self.scheduler.at(self.now() + seconds, self._end_namesake, self.namesake)

    def _end_namesake(self, namesake: object) -> None:
        """Somebody has seen the mistake; if it was the real node that had stopped for it, it is started again."""
        if self.namesake is not None and self.namesake is namesake:
            self.network.remove_namesake()
            self.namesake.crash()
            self._node(self.namesake.id).boot()
            self.namesake = None

    def step_wall_clock(self, seconds: float) -> None:
        """Somebody sets the time of day."""
        self._wall_offset += seconds

    def set_trap(self, node: int, event: str, skip: int, fault: Fault) -> None:
        """Let *fault* happen when a node reaches *event* after *skip* times."""
        if self._node(node).ring is not None:
            self._node(node).traps.append(Tripwire(event, skip, partial(self._spring, event, fault)))

    def leave(self, node: int, downtime: float) -> None:
        """Let a node leave cleanly, and come back."""
        leaver = self._node(node)
        if leaver.ring is not None and not leaver.paused:
            leaver.leave()
            self._endings.ended(node)
            self._boot_later(leaver, downtime)

    def slow_disk(self, node: int, write_seconds: float, seconds: float) -> None:
        """Let a node's writes take so long, for a while."""
        self._node(node).slow_disk(write_seconds, self.now() + seconds)

    def reload(self, node: int, factor: float, heartbeat: float) -> None:
        """Give a node other timeouts, until there is peace."""
        timeouts = scaled(replace(self.options.ring, heartbeat=heartbeat), factor)
        self._node(node).reload(replace(timeouts, options_digest=zlib.crc32(repr((factor, heartbeat)).encode())))

    def pause(self, node: int, seconds: float) -> None:
        """Stop a node's process for a while."""
        sleeper = self._node(node)
        if sleeper.ring is not None and not sleeper.paused:
            sleeper.pause()
            self.scheduler.at(self.now() + seconds, sleeper.resume)

    def ring_of(self, node: int) -> tuple[int, ...]:
        """Members of the node's installed ring; itself if it is down."""
        ring = self._node(node).ring
        return ring.members if ring is not None else (node,)

    # ------------------------------------------------------------------ events

    def _node(self, number: int) -> Node:
        return self.nodes[number - 1]

    def _arrive(self, receiver: int, sender: int, content: object) -> None:
        if self.namesake is not None and receiver > len(self.nodes):
            self.namesake.arrive(sender, content)
        elif receiver <= len(self.nodes):
            if sender <= len(self.nodes):
                self._endings.arrived_at(receiver, sender)
            self._node(receiver).arrive(sender, content)

    def _boot_later(self, node: Node, downtime: float) -> None:
        self.scheduler.at(self.now() + downtime, node.boot)

    def _time_of_day(self) -> float:
        self.coverage["wall_clock.read"] += 1
        return self.now() + self._wall_offset

    def _strike(self, planned: object) -> None:
        assert isinstance(planned, PlannedFault)
        if not isinstance(planned.fault, StepWallClock):  # It is no event: nobody may notice.
            self.trace.say(self.now(), str(planned))
        self.coverage[f"fault.{type(planned.fault).__name__}"] += 1
        planned.fault.apply(self)

    def _spring(self, event: str, fault: Fault) -> None:
        self.trace.say(self.now(), f"trap at {event}: {fault}")
        self.coverage[f"trap.{event}.{type(fault).__name__}"] += 1
        fault.apply(self)

    def _make_peace(self) -> None:
        self.trace.say(self.now(), "peace")
        self._end_namesake(self.namesake)
        self.network.calm()
        if self.options.divided:
            self._divide()
        for node in self.nodes:
            node.traps.clear()
            node.reload(self.options.ring)
            node.resume()
            node.boot()
            if node.machine is not None:
                node.machine.make_peace()

    def _divide(self) -> None:
        chance = Chance(self.options.seed, "pieces")
        pieces: list[list[Node]] = [[] for _ in range(chance.integer(2, 3))]
        for node in self.nodes:
            chance.choice(pieces).append(node)
        self._components = [piece for piece in pieces if piece]
        self.network.partition(tuple(tuple(node.id for node in piece) for piece in self._components))

    def _problem(self) -> tuple[str, str] | None:
        """What is not as it should be in some component of the network."""
        for component in self._components:
            problem = liveness.problem(component)
            if problem is not None:
                return problem
        return None

    def _settle(self) -> None:
        start = self.now()
        bound = start + self.options.convergence_bound
        if not self._converge(start, bound):
            return
        rings = self._rings()
        self._last_words()
        if self._converge(start, bound) and not self._stays(rings):
            self._violate("L4", f"the configuration changed again within {self._settled_seconds():.1f} s")

    def _last_words(self) -> None:
        """Every member says something: whatever anybody missed before it would show."""
        for node in self.nodes:
            if node.machine is not None:
                node.machine.last_words()
        self.scheduler.run_until(self.now() + POLL)

    def _converge(self, start: float, bound: float) -> bool:
        """Run until L1 to L3 hold; False, with the violation noted, if they do not in time."""
        placed, placed_at = liveness.originated(self.nodes), max(bound, self.now())
        while (unsettled := self._problem()) is not None:
            prop, what = unsettled
            if prop not in {"L1", "L2"} and self._converged_after is None:
                self._converged_after = self.now() - start
            # The states of many nodes may be many frames, and a window may be one.
            drains = prop != "L1" and (prop != "L2" or self.options.nodes > MANY)
            if liveness.originated(self.nodes) != placed:
                placed, placed_at = liveness.originated(self.nodes), max(bound, self.now())
            if self.now() > (placed_at + liveness.DRAIN_SECONDS_MAX if drains else bound):
                self._violate(prop, f"{self.now() - start:.1f} s after the last fault: {what}")
                return False
            self.scheduler.run_until(self.now() + POLL)
        if self._converged_after is None:
            self._converged_after = self.now() - start
        return True

    def _stays(self, rings: list[RingId | None]) -> bool:
        """Whether these are the rings for the time of L4; checks the idle traffic of L5 in its second half."""
        half = self._settled_seconds() / 2
        self.scheduler.run_until(self.now() + half)
        tokens = self.network.carried[Token]
        self.scheduler.run_until(self.now() + half)
        if self._problem() is not None or self._rings() != rings:
            return False
        tokens = self.network.carried[Token] - tokens
        most = liveness.IDLE_TRAFFIC_FACTOR * len(self.nodes) * (half / self.options.ring.hold + 1)
        if tokens > most:
            self._violate("L5", f"{tokens} tokens in {half:.1f} idle seconds; at most {most:.0f} are in order")
        return True

    def _rings(self) -> list[RingId | None]:
        return [node.ring.installed if node.ring is not None else None for node in self.nodes]

    def _settled_seconds(self) -> float:
        return liveness.SETTLED_TOKEN_TIMEOUTS * self.options.ring.token

    def _violate(self, prop: str, what: str) -> None:
        self._violations.append(Violation(prop, self.now(), what))
