"""The members' files, read back: lives in a group, and what was handed in.

A member's life goes from its own join to its end: it is killed, or its node was away, after which another life begins.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from simcluster.history import RingKey

TAIL_BYTES = 512 * 1024
"""What `tail` reads: thousands of records; a member that was held up may send many after everybody else's last one."""


class Process(NamedTuple):
    """A process that is or was a member, as members name it."""

    node: int
    pid: int


class MessageKey(NamedTuple):
    """A message, named for ever by its sender."""

    node: int
    incarnation: int
    number: int

    def __str__(self) -> str:
        return f"m{self.node}.{self.incarnation}.{self.number}"


class Move(NamedTuple):
    """Somebody came or went; reasons are `totemd.Reason` as numbers."""

    process: Process
    reason: int


class Received(NamedTuple):
    """A message was delivered."""

    message: MessageKey
    sender: Process
    guarantee: int
    digest: int
    sent_in: RingKey | None

    def __str__(self) -> str:
        return f"{'safe ' if self.guarantee == 3 else ''}{self.message}"


class Changed(NamedTuple):
    """The membership of the group changed."""

    members: tuple[Process, ...]
    joined: tuple[Move, ...]
    left: tuple[Move, ...]

    def __str__(self) -> str:
        moves = [f"{sign}{move.process.node}:{move.process.pid}({move.reason})" for sign, move in self.moves()]
        return f"members {' '.join(f'{each.node}:{each.pid}' for each in self.members)}; {' '.join(moves)}"

    def moves(self) -> Iterator[tuple[str, Move]]:
        """Those who came, `+`, and those who went, `-`."""
        for sign, moves in (("+", self.joined), ("-", self.left)):
            for move in moves:
                yield sign, move


class OnRing(NamedTuple):
    """The ring changed; the membership changes that follow from it have come before."""

    ring: RingKey
    nodes: tuple[int, ...]

    def __str__(self) -> str:
        return f"ring {self.ring} of {','.join(map(str, self.nodes))}"


Happening = Received | Changed | OnRing


class Seen(NamedTuple):
    """Something that happened to a member, and when (monotonic, one clock for all)."""

    time: float
    what: Happening


class Submission(NamedTuple):
    """A message was handed in."""

    time: float
    guarantee: int
    digest: int
    before: MessageKey | None
    """What its sender had received last."""
    unsent: bool = False
    """It was refused, and its number used again."""


class Ending(enum.Enum):
    """How a life ended."""

    OPEN = "open"
    """It did not: it was there at the end of the run."""
    AWAY = "away"
    KILLED = "killed"


@dataclass
class Life:
    """One member from its join on."""

    process: Process
    incarnation: int
    part: int
    """How often the same process has been away before."""
    seen: list[Seen] = field(default_factory=list)
    ending: Ending = Ending.OPEN

    def __str__(self) -> str:
        again = f", back {self.part} times" if self.part else ""
        return f"member {self.process.node}:{self.process.pid} (#{self.incarnation}{again})"

    def received(self) -> Iterator[tuple[float, Received]]:
        """The messages, in order."""
        for time, what in self.seen:
            if isinstance(what, Received):
                yield time, what


@dataclass
class Records:
    """Everything that the members of a run have written."""

    lives: list[Life] = field(default_factory=list)
    submissions: dict[MessageKey, Submission] = field(default_factory=dict)

    def add(self, lines: Iterable[str], survived: bool) -> None:
        """One member's file; *survived*: it was running at the end."""
        _Reader(self).read(lines, survived)


def read(path: Path) -> list[str]:
    """The whole lines of a file; the last one may have been cut by the end of its writer."""
    text = path.read_text() if path.exists() else ""
    return text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]


def tail(path: Path) -> list[str]:
    """Whole lines from the end of a file."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL_BYTES))
        lines = file.read().decode().split("\n")
    return lines[1 if size > TAIL_BYTES else 0 : -1]


class _Reader:
    def __init__(self, records: Records) -> None:
        self._records = records
        self._life: Life | None = None
        self._last: MessageKey | None = None

    def read(self, lines: Iterable[str], survived: bool) -> None:
        for line in lines:
            kind, time, *fields = json.loads(line)
            self._take(kind, time, fields)
        if self._life is not None and not survived:
            self._life.ending = Ending.KILLED

    def _take(self, kind: str, time: float, fields: list[Any]) -> None:
        if kind == "hello":
            _, incarnation, address = fields
            self._begin(Life(Process(*address), incarnation, 0))
            return
        life = self._life
        assert life is not None, "a history begins with who writes it"
        me = (life.process.node, life.incarnation)
        match kind:
            case "rejoined":
                life.ending = Ending.AWAY
                self._begin(Life(life.process, life.incarnation, life.part + 1))
            case "send":
                number, guarantee, digest = fields
                self._records.submissions[MessageKey(*me, number)] = Submission(time, guarantee, digest, self._last)
            case "unsent":
                message = MessageKey(*me, *fields)
                self._records.submissions[message] = self._records.submissions[message]._replace(unsent=True)
            case "last":
                pass  # for those who wait for it; the message has been recorded
            case _:
                life.seen.append(Seen(time, _happening(kind, fields)))
                last = life.seen[-1].what
                self._last = last.message if isinstance(last, Received) else self._last

    def _begin(self, life: Life) -> None:
        self._life = life
        self._records.lives.append(life)


def _happening(kind: str, fields: list[Any]) -> Happening:
    match kind:
        case "message":
            message, sender, guarantee, digest, ring = fields
            sent_in = None if ring is None else RingKey(*ring)
            return Received(MessageKey(*message), Process(*sender), guarantee, digest, sent_in)
        case "change":
            members, joined, left = fields
            return Changed(tuple(Process(*each) for each in members), _moves(joined), _moves(left))
        case "ring":
            ring, nodes = fields
            return OnRing(RingKey(*ring), tuple(nodes))
    raise ValueError(f"a record of an unknown kind: {kind!r}")


def _moves(wire: list[list[int]]) -> tuple[Move, ...]:
    return tuple(Move(Process(node, pid), reason) for node, pid, reason in wire)
