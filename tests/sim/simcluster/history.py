"""What each process saw: the histories that extended virtual synchrony is a statement about (docs/totem.md §9).

One history per process incarnation, named (node, boot ring sequence).  Entries carry a global serial, so that
"earlier" means something between histories.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class RingKey(NamedTuple):
    """A ring's name as a plain tuple: cheap to hash, ordered as ring ids are."""

    sequence: int
    representative: int

    def __str__(self) -> str:
        return f"{self.representative}.{self.sequence:x}"


class Incarnation(NamedTuple):
    """One life of a node, from boot to crash."""

    node: int
    boot: int

    def __str__(self) -> str:
        return f"node {self.node} (boot {self.boot})"


class MessageId(NamedTuple):
    """A submission, named for ever."""

    node: int
    boot: int
    number: int

    def __str__(self) -> str:
        return f"m{self.node}.{self.boot}.{self.number}"


class Lane(enum.Enum):
    """Which of a node's queues a submission took."""

    SYNC = "sync"
    APPLICATION = "application"


class Regular(NamedTuple):
    """A regular configuration was delivered."""

    ring: RingKey
    members: tuple[int, ...]
    survivors: tuple[int, ...]
    joined: tuple[int, ...]

    def __str__(self) -> str:
        return f"R({self.ring}) = {set_text(self.members)}"


class Transitional(NamedTuple):
    """A transitional configuration was delivered."""

    old: RingKey
    new: RingKey
    members: tuple[int, ...]
    left: tuple[int, ...]

    def __str__(self) -> str:
        return f"T({self.old}, {self.new}) = {set_text(self.members)}, left {set_text(self.left)}"


class Submitted(NamedTuple):
    """The application handed a message in."""

    message: MessageId
    lane: Lane
    safe: bool
    digest: int

    def __str__(self) -> str:
        return f"submit {self.message}{' safe' if self.safe else ''}{' sync' if self.lane is Lane.SYNC else ''}"


class Sent(NamedTuple):
    """The last part of a message got its sequence number (EVS: send)."""

    message: MessageId
    ring: RingKey
    position: int

    def __str__(self) -> str:
        return f"send {self.message} at {self.ring}:{self.position}"


class Delivered(NamedTuple):
    """A message was handed to the application, or held back for it, at its place of the order."""

    message: MessageId
    ring: RingKey
    position: int
    safe: bool
    digest: int
    in_transitional: bool

    def __str__(self) -> str:
        kind = "safe " if self.safe else ""
        return f"deliver {kind}{self.message} at {self.ring}:{self.position}{' (T)' if self.in_transitional else ''}"


class Synchronised(NamedTuple):
    """The state exchange of a ring is complete here; *message* is the one whose delivery completed it."""

    ring: RingKey
    message: MessageId

    def __str__(self) -> str:
        return f"sync of {self.ring} done by {self.message}"


class Failed(NamedTuple):
    """The process is no more."""

    def __str__(self) -> str:
        return "fail"


Event = Regular | Transitional | Submitted | Sent | Delivered | Synchronised | Failed


class Entry(NamedTuple):
    """An event with its place in the histories."""

    serial: int
    time: float
    event: Event


class History:
    """All histories of a run; events are recorded as they happen."""

    def __init__(self) -> None:
        self.processes: dict[Incarnation, list[Entry]] = {}
        self._serial = 0

    def record(self, process: Incarnation, event: Event, time: float) -> Entry:
        """Append *event* to the history of *process*."""
        self._serial += 1
        entry = Entry(self._serial, time, event)
        self.processes.setdefault(process, []).append(entry)
        return entry

    def excerpt(self, process: Incarnation, serial: int, around: int = 5) -> Iterator[str]:
        """The lines of one history around an entry, which is marked."""
        entries = self.processes.get(process, [])
        here = next((index for index, entry in enumerate(entries) if entry.serial >= serial), len(entries))
        yield f"  {process}:"
        for entry in entries[max(0, here - around) : here + around + 1]:
            mark = ">" if entry.serial == serial else " "
            yield f"  {mark} {entry.time:10.6f}  #{entry.serial:<6} {entry.event}"


def set_text(members: Iterable[int]) -> str:
    """`{1,2,3}`."""
    return "{" + ",".join(str(member) for member in members) + "}"


REBORN = 1_000_000
"""Added to the boot sequences of a node's lives for each disk that a fault has taken from it."""


def as_worn(ring: RingKey) -> RingKey:
    """The name that a ring had for its members, whatever `Boots.ring` has made of it."""
    return RingKey(ring.sequence % REBORN, ring.representative) if ring.sequence < 0 else ring


class Boots:
    """Tells lives apart that the ring cannot: those of a node whose disk was lost begin with the same numbers again.

    Only faults lose disks.  A node that begins again with old numbers for any other reason is told as what it seems to
    be, one life that goes on, and breaks E6.
    """

    def __init__(self) -> None:
        self._lost: Counter[int] = Counter()
        """Disks that each node has lost."""
        self._first: dict[tuple[int, RingKey], int] = {}
        """The life of a node that installed a ring first."""
        self._last: dict[tuple[int, RingKey], int] = {}

    def lose_disk(self, node: int) -> None:
        """A fault takes the node's disk; its next life is the first with another."""
        self._lost[node] += 1

    def claim(self, node: int, boot_sequence: int) -> Incarnation:
        """The name of a life that begins."""
        return Incarnation(node, boot_sequence + REBORN * self._lost[node])

    def ring(self, process: Incarnation, ring: RingKey) -> RingKey:
        """The ring as the process's history names it.

        A reborn node is alone in some rings before it meets the others; of those names an earlier life had some, too.
        """
        lost = self._lost[process.node]
        if lost and self._first.get((process.node, ring), process.boot) != process.boot:
            return RingKey(ring.sequence - lost * REBORN, ring.representative)
        return ring

    def installed(self, process: Incarnation, ring: RingKey) -> None:
        """The process is a member of the ring."""
        self._first.setdefault((process.node, ring), process.boot)
        self._last[process.node, ring] = process.boot

    def message(self, origin: int, boot_sequence: int, number: int, ring: RingKey) -> MessageId:
        """The name of a message that *origin* sent on *ring*."""
        if self._lost:
            boot = self._last.get((origin, ring), boot_sequence)
            if boot % REBORN == boot_sequence:
                return MessageId(origin, boot, number)
        return MessageId(origin, boot_sequence, number)
