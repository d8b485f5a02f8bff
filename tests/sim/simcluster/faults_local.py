"""Faults of what runs on a node, of its disk and clocks, and bytes that nobody should believe; see `faults`.

Those of processes above the ring do nothing in runs without process groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from simcluster.machine import Machine
from simcluster.network import LossRule, Network


class LocalStage(Protocol):
    """What these faults act on."""

    network: Network

    def now(self) -> float:
        """Seconds since the start of the run."""

    def wipe(self, node: int, downtime: float) -> None:
        """Kill a node now; it comes back without anything on its disk."""

    def slow_disk(self, node: int, write_seconds: float, seconds: float) -> None:
        """Let a node's writes take so long, for a while."""

    def reload(self, node: int, factor: float, heartbeat: float) -> None:
        """Give a node other timeouts."""

    def kill_totem(self, node: int, downtime: float) -> None:
        """Kill the totem process only."""

    def machine(self, node: int) -> Machine | None:
        """What runs on a node besides the totem process."""

    def forge_reports(self, at: int, about: int, count: int) -> None:
        """Let reports of a closed port arrive that the network never made."""

    def step_wall_clock(self, seconds: float) -> None:
        """Somebody sets the time of day."""

    def start_namesake(self, node: int, seconds: float) -> None:
        """Start a second process with the id of *node* elsewhere, for so long."""


@dataclass(frozen=True, slots=True)
class Wipe:
    """A machine is replaced by another of the same node id: its ring sequence is lost."""

    node: int
    downtime: float

    def apply(self, stage: LocalStage) -> None:
        """Replace it."""
        stage.wipe(self.node, self.downtime)


@dataclass(frozen=True, slots=True)
class SlowDisk:
    """Each number that a node stores takes so long, for a while."""

    node: int
    write_seconds: float
    seconds: float

    def apply(self, stage: LocalStage) -> None:
        """Wear it out."""
        stage.slow_disk(self.node, self.write_seconds, self.seconds)


@dataclass(frozen=True, slots=True)
class Reload:
    """Somebody changes the timeouts of a node: all of them by *factor*, and the heartbeat, 0 to switch it off."""

    node: int
    factor: float
    heartbeat: float

    def apply(self, stage: LocalStage) -> None:
        """Have it take them over."""
        stage.reload(self.node, self.factor, self.heartbeat)


@dataclass(frozen=True, slots=True)
class KillTotem:
    """The totem process dies; cpg and its clients live on."""

    node: int
    downtime: float

    def apply(self, stage: LocalStage) -> None:
        """Kill it."""
        stage.kill_totem(self.node, self.downtime)


@dataclass(frozen=True, slots=True)
class KillService:
    """The cpg process dies, and is started again."""

    node: int
    downtime: float

    def apply(self, stage: LocalStage) -> None:
        """Kill it."""
        machine = stage.machine(self.node)
        if machine is not None:
            machine.kill_service(self.downtime)


@dataclass(frozen=True, slots=True)
class StopService:
    """The cpg process stands still."""

    node: int
    seconds: float

    def apply(self, stage: LocalStage) -> None:
        """Stop it."""
        machine = stage.machine(self.node)
        if machine is not None:
            machine.stop_service(self.seconds)


@dataclass(frozen=True, slots=True)
class KillClient:
    """A client dies; another takes its place, with the same process id."""

    node: int
    client: int
    downtime: float

    def apply(self, stage: LocalStage) -> None:
        """Kill it."""
        machine = stage.machine(self.node)
        if machine is not None:
            machine.kill_client(self.client, self.downtime)


@dataclass(frozen=True, slots=True)
class StopClient:
    """A client stands still: it does not read, and may be expelled for that."""

    node: int
    client: int
    seconds: float

    def apply(self, stage: LocalStage) -> None:
        """Stop it."""
        machine = stage.machine(self.node)
        if machine is not None:
            machine.stop_client(self.client, self.seconds)


@dataclass(frozen=True, slots=True)
class JoinGroup:
    """No fault: a client asks to be in a group."""

    node: int
    client: int
    group: int

    def apply(self, stage: LocalStage) -> None:
        """Ask."""
        machine = stage.machine(self.node)
        if machine is not None:
            machine.join(self.client, self.group)


@dataclass(frozen=True, slots=True)
class LeaveGroup:
    """No fault: a client asks to be out of a group."""

    node: int
    client: int
    group: int

    def apply(self, stage: LocalStage) -> None:
        """Ask."""
        machine = stage.machine(self.node)
        if machine is not None:
            machine.leave(self.client, self.group)


@dataclass(frozen=True, slots=True)
class StepWallClock:
    """Somebody sets the time of day; nothing may depend on it."""

    seconds: float

    def apply(self, stage: LocalStage) -> None:
        """Set it."""
        stage.step_wall_clock(self.seconds)


@dataclass(frozen=True, slots=True)
class Corrupt:
    """Packets arrive with flipped bits, or without their end."""

    types: tuple[str, ...]
    links: tuple[tuple[int, int], ...]
    share: float
    seconds: float

    def apply(self, stage: LocalStage) -> None:
        """Add the rule."""
        until = stage.now() + self.seconds
        stage.network.add_rule(LossRule(self.types, self.links, self.share, until, damages=True))


@dataclass(frozen=True, slots=True)
class Record:
    """From now on somebody on the network keeps the datagrams that pass."""

    def apply(self, stage: LocalStage) -> None:
        """Begin."""
        stage.network.keep()


@dataclass(frozen=True, slots=True)
class Replay:
    """Somebody on the network plays datagrams again that passed before."""

    count: int
    key: int

    def apply(self, stage: LocalStage) -> None:
        """Send them."""
        stage.network.replay(self.count, self.key)


@dataclass(frozen=True, slots=True)
class Forge:
    """Somebody without the key sends bytes that look like ours."""

    node: int
    count: int
    key: int

    def apply(self, stage: LocalStage) -> None:
        """Send them."""
        stage.network.forge(self.node, self.count, self.key)


@dataclass(frozen=True, slots=True)
class ForgeReports:
    """Somebody without the key tells a node that nobody listens at another one."""

    at: int
    about: int
    count: int

    def apply(self, stage: LocalStage) -> None:
        """Tell it."""
        stage.forge_reports(self.at, self.about, self.count)


@dataclass(frozen=True, slots=True)
class StartNamesake:
    """Somebody gives a second machine the id of a node, and sees after a while that this was wrong."""

    node: int
    seconds: float

    def apply(self, stage: LocalStage) -> None:
        """Start it."""
        stage.start_namesake(self.node, self.seconds)


LocalFault = (
    Wipe
    | SlowDisk
    | Reload
    | KillTotem
    | KillService
    | StopService
    | KillClient
    | StopClient
    | JoinGroup
    | LeaveGroup
    | StepWallClock
    | Corrupt
    | Record
    | Replay
    | Forge
    | ForgeReports
    | StartNamesake
)
