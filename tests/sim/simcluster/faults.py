"""What can go wrong in a run: each fault is data that knows how to act on the stage; `fault_plan` draws them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from simcluster.faults_local import LocalFault, LocalStage
from simcluster.network import LagRule, LossRule


class Stage(LocalStage, Protocol):
    """What faults act on."""

    def crash(self, node: int, downtime: float) -> None:
        """Kill a node now; its disk survives."""

    def set_trap(self, node: int, event: str, skip: int, fault: Fault) -> None:
        """Let *fault* happen when a node reaches *event* after *skip* times."""

    def leave(self, node: int, downtime: float) -> None:
        """Let a node leave cleanly, and come back."""

    def pause(self, node: int, seconds: float) -> None:
        """Stop a node's process for a while."""

    def ring_of(self, node: int) -> tuple[int, ...]:
        """Members of the node's installed ring; itself if it is down."""


@dataclass(frozen=True, slots=True)
class Partition:
    """Split the network; replaces whatever was cut before."""

    groups: tuple[tuple[int, ...], ...]

    def apply(self, stage: Stage) -> None:
        """Break the network."""
        stage.network.partition(self.groups)


@dataclass(frozen=True, slots=True)
class Isolate:
    """Cut the representative of a node's ring from everybody, in one direction or both."""

    ring_of: int
    inbound: bool
    outbound: bool

    def apply(self, stage: Stage) -> None:
        """Break its links."""
        victim = stage.ring_of(self.ring_of)[0]
        for node in stage.network.nodes:
            if node != victim:
                stage.network.set_cut(node, victim, self.inbound)
                stage.network.set_cut(victim, node, self.outbound)


@dataclass(frozen=True, slots=True)
class CutLinks:
    """Break single directions of links, or mend them (a swizzle does one after the other)."""

    links: tuple[tuple[int, int], ...]
    cut: bool = True

    def apply(self, stage: Stage) -> None:
        """Break or mend."""
        for sender, receiver in self.links:
            stage.network.set_cut(sender, receiver, self.cut)


@dataclass(frozen=True, slots=True)
class CutNeighbours:
    """Break the link that the token takes from a node to its successor; optionally one direction only."""

    node: int
    both: bool

    def apply(self, stage: Stage) -> None:
        """Break the link."""
        members = stage.ring_of(self.node)
        successor = members[(members.index(self.node) + 1) % len(members)]
        if successor != self.node:
            stage.network.set_cut(self.node, successor)
            if self.both:
                stage.network.set_cut(successor, self.node)


@dataclass(frozen=True, slots=True)
class Heal:
    """Mend every link."""

    def apply(self, stage: Stage) -> None:
        """Mend."""
        stage.network.heal()


@dataclass(frozen=True, slots=True)
class Crash:
    """Kill nodes; each is back after its downtime."""

    nodes: tuple[int, ...]
    downtimes: tuple[float, ...]

    def apply(self, stage: Stage) -> None:
        """Kill."""
        for node, downtime in zip(self.nodes, self.downtimes, strict=True):
            stage.crash(node, downtime)


@dataclass(frozen=True, slots=True)
class Trap:
    """Something goes wrong just when a node reaches an event, between two of its effects."""

    node: int
    event: str
    skip: int
    fault: Fault

    def apply(self, stage: Stage) -> None:
        """Set the trap."""
        stage.set_trap(self.node, self.event, self.skip, self.fault)


@dataclass(frozen=True, slots=True)
class Several:
    """Faults that happen together, in this order."""

    faults: tuple[Fault, ...]

    def apply(self, stage: Stage) -> None:
        """All of them."""
        for fault in self.faults:
            fault.apply(stage)


@dataclass(frozen=True, slots=True)
class Leave:
    """A node shuts down cleanly and comes back."""

    node: int
    downtime: float

    def apply(self, stage: Stage) -> None:
        """Leave."""
        stage.leave(self.node, self.downtime)


@dataclass(frozen=True, slots=True)
class Pause:
    """A node's process stands still; its sockets go on filling."""

    node: int
    seconds: float

    def apply(self, stage: Stage) -> None:
        """Stop it."""
        stage.pause(self.node, self.seconds)


@dataclass(frozen=True, slots=True)
class Lossy:
    """Lose more packets for a while: see `LossRule`."""

    types: tuple[str, ...]
    links: tuple[tuple[int, int], ...]
    share: float
    seconds: float
    skip: int = 0
    count: int = -1

    def apply(self, stage: Stage) -> None:
        """Add the rule."""
        until = stage.now() + self.seconds
        stage.network.add_rule(LossRule(self.types, self.links, self.share, until, self.skip, self.count))


@dataclass(frozen=True, slots=True)
class Slow:
    """Delay packets for a while: see `LagRule`."""

    types: tuple[str, ...]
    links: tuple[tuple[int, int], ...]
    lag: float
    seconds: float

    def apply(self, stage: Stage) -> None:
        """Add the rule."""
        stage.network.lags.append(LagRule(self.types, self.links, self.lag, stage.now() + self.seconds))


@dataclass(frozen=True, slots=True)
class Release:
    """What a `Slow` of infinite lag holds for a node arrives now."""

    node: int

    def apply(self, stage: Stage) -> None:
        """Let it arrive."""
        stage.network.release(self.node)


Fault = (
    Partition
    | Isolate
    | CutLinks
    | CutNeighbours
    | Heal
    | Crash
    | Trap
    | Several
    | Leave
    | Pause
    | Lossy
    | Slow
    | Release
    | LocalFault
)


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A fault with its time and its number in the plan."""

    index: int
    time: float
    fault: Fault

    def __str__(self) -> str:
        return f"fault {self.index} at {self.time:.6f}: {self.fault}"
