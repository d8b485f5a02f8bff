"""The recorded inputs once more: the same core, the same times and random numbers, so the same effects.

Where the effects, or the state at a checkpoint, are not those of the recording, the replay says so and goes on from
the recorded state.
"""

from __future__ import annotations

import contextlib
import copy
import struct
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from ....ipc.errors import MalformedMessage
from ....ipc.strict import UNDECODABLE
from ..core.context import RingContext
from ..core.effects import Effect
from ..core.reactions import REACTIONS, TIMER_REACTIONS
from ..core.ring import Ring
from ..core.submission import Submission
from ..core.timers import Timer
from ..wire.codec import decode
from ..wire.packets import AnyPacket
from .blanks import BlankFrame, BlankSubmission, filled_frame, filled_submission
from .checkpoint import decode_state, decode_value, encode_state
from .digest import digest
from .format import INPUTS, Header, Kind, Record, Segment, decode_header, decode_records, decode_segments
from .ring import CALLS

_FRAMES = msgspec.msgpack.Decoder(BlankFrame)
_SUBMISSIONS = msgspec.msgpack.Decoder(BlankSubmission)


@dataclass(frozen=True, slots=True)
class Recording:
    """A file, checked as far as can be without running it."""

    header: Header
    segments: tuple[Segment, ...]

    def records(self) -> Iterator[Record]:
        """Everything, in order.

        Raises:
            MalformedMessage: a segment's records do not add up.
        """
        for segment in self.segments:
            yield from decode_records(segment)

    def inputs(self) -> Iterator[Record]:
        """What the core was given, in order; the place of each, from 0, is the number of its step.

        Raises:
            MalformedMessage: as `records`.
        """
        return (record for record in self.records() if record.kind in INPUTS)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a core stands, in the terms of docs/totem.md."""

    state: str
    ring: str
    members: tuple[int, ...]
    """Of the installed ring."""
    candidates: tuple[int, ...]
    failed: tuple[int, ...]
    hop: int
    """Of the last token."""
    highest: int
    received: int
    safe: int
    delivered: int
    waiting_bytes: int
    """Submitted, and without a place in the order."""

    @classmethod
    def of(cls, state: RingContext) -> Standing:
        """Of a core between two inputs.  The fields are checked, since a file says what the state is."""
        found = {
            "state": state.state.value,
            "ring": str(state.ring),
            "members": state.installed.members,
            "candidates": state.episode.candidates,
            "failed": state.episode.failed,
            "hop": state.rotation.hop,
            "highest": state.store.highest,
            "received": state.store.received,
            "safe": state.rotation.safe,
            "delivered": state.installed.delivered,
            "waiting_bytes": state.outbox.waiting_bytes,
        }
        return msgspec.convert(found, cls)


@dataclass(frozen=True, slots=True)
class Step:
    """One input and what the core made of it."""

    number: int
    time: float
    """On the recording node's clock."""
    kind: Kind
    sender: int
    """Of a packet; else 0."""
    given: AnyPacket | Submission | tuple[Timer, ...] | tuple[Any, ...]
    """The packet, the submission, the timers that were due, or (name, arguments …)."""
    reaction: str
    """The function of the table of reactions that decided; empty where the table was not asked."""
    before: Standing
    after: Standing
    counted: tuple[str, ...]
    """Which of its counters the core raised: the rows of the rules that were taken."""
    effects: tuple[Effect, ...]
    problem: str
    """How this differs from the recording; empty if it does not."""
    note: str = ""
    """What else there is to say."""


class _DrewMore(Exception):
    """The core wants more random numbers than it drew when it was recorded."""


class _ReplayedRing(Ring):
    """A core that goes on from a checkpoint."""

    def __init__(self, state: RingContext) -> None:
        self._context = state

    @property
    def context(self) -> RingContext:
        """The whole state."""
        return self._context


def read_recording(data: bytes) -> Recording:
    """The recording in a file's bytes.

    Raises:
        MalformedMessage: it is none, of another format, cut off or damaged; the text says which.
    """
    header, end = decode_header(data)
    return Recording(header, tuple(decode_segments(data, header, end)))


class Replay:
    """Runs a recording; iterate over `steps` once, then look at the rest."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._ring: _ReplayedRing | None = None
        self._jitters: deque[float] = deque()
        self.skipped = 0
        """Inputs before the first checkpoint."""
        self.replayed = 0
        self.different = 0
        """Steps with a problem."""

    def steps(self) -> Iterator[Step]:
        """Each input in turn.

        Raises:
            MalformedMessage: a record cannot be read, or there is no checkpoint to start from.
        """
        drift = ""
        for segment in self._recording.segments:
            for record, drawn in _with_jitter(decode_records(segment)):
                if record.kind is Kind.CHECKPOINT:
                    drift = self._checkpoint(record)
                elif self._ring is None:
                    self.skipped += 1
                else:
                    step = self._step(self._ring, record, drawn, drift)
                    drift = ""
                    self.replayed += 1
                    self.different += bool(step.problem)
                    yield step
        if self._ring is None:
            raise MalformedMessage("the recording holds no checkpoint, so there is no state to replay it from")

    def _checkpoint(self, record: Record) -> str:
        """Start from it, or compare with it; how the state differs."""
        with refusing_nonsense():
            if self._ring is not None and encode_state(self._ring.context) == record.body:
                return ""
        differs = self._ring is not None
        self._ring = _ReplayedRing(decode_state(record.body, self._draw))
        return "the state before it was not the recorded one" if differs else ""

    def _draw(self) -> float:
        if not self._jitters:
            raise _DrewMore
        return self._jitters.popleft()

    def _step(self, ring: _ReplayedRing, record: Record, drawn: tuple[float, ...], drift: str) -> Step:
        with refusing_nonsense():
            given, call = _input(ring, record)
            reaction = _reaction(ring.context, record.kind, given)
            before, counters = Standing.of(ring.context), Counter(ring.counters)
        self._jitters = deque(drawn)
        raised = problem = note = ""
        try:
            call()
        except _DrewMore:
            raised = "it drew more random numbers than when it was recorded"
        except Exception as error:  # whatever a core raises is what a recording of a crash is for
            raised = f"the core raised {type(error).__name__}: {error}"
        with refusing_nonsense():
            effects = tuple(ring.take_effects())
            digested = digest(list(effects))
            after, counted = Standing.of(ring.context), _raised_counters(counters, ring.counters)
        if raised and record.completed:
            problem = raised
        elif not record.completed:
            note = raised or "the process ended here, or in carrying out what was decided before"
        elif digested != record.digest:
            problem = "other effects than recorded"
        elif self._jitters:
            problem = "it drew fewer random numbers than when it was recorded"
        return Step(
            number=self.skipped + self.replayed,
            time=record.time,
            kind=record.kind,
            sender=record.sender,
            given=given,
            reaction=reaction,
            before=before,
            after=after,
            counted=counted,
            effects=effects,
            problem="; ".join(filter(None, (drift, problem))),
            note=note,
        )


@contextlib.contextmanager
def refusing_nonsense() -> Iterator[None]:
    """A file may say that a core's set is a number, or its counter a list: refuse it when looking at that fails.

    Raises:
        MalformedMessage: the state is one that no core has.
    """
    try:
        yield
    except MalformedMessage:
        raise
    except (
        AttributeError, TypeError, ValueError, LookupError, ArithmeticError, RecursionError, msgspec.ValidationError
    ) as error:  # fmt: skip
        raise MalformedMessage(f"recording: a state that no core has: {error}") from None


def _with_jitter(records: Iterator[Record]) -> Iterator[tuple[Record, tuple[float, ...]]]:
    """Each record with the random numbers that stand behind it."""
    waiting: Record | None = None
    drawn: tuple[float, ...] = ()
    for record in records:
        if record.kind is Kind.JITTER:
            if len(record.body) % 8:
                raise MalformedMessage("recording: half a random number")
            drawn += struct.unpack(f"<{len(record.body) // 8}d", record.body)
            continue
        if waiting is not None:
            yield waiting, drawn
        waiting, drawn = record, ()
    if waiting is not None:
        yield waiting, drawn


def _input(ring: _ReplayedRing, record: Record) -> tuple[Any, Callable[[], object]]:
    """What was given, and the call that gives it again."""
    try:
        match record.kind:
            case Kind.FRAME | Kind.PACKET:
                framed = record.kind is Kind.FRAME
                packet = filled_frame(_FRAMES.decode(record.body)) if framed else decode(record.body)
                return packet, lambda: ring.receive(packet, record.sender, record.time)
            case Kind.SUBMISSION:
                submission = filled_submission(_SUBMISSIONS.decode(record.body))
                return submission, lambda: ring.submit(submission, record.time)
            case Kind.EXPIRY:
                return _due(ring.context, record.time), lambda: ring.expire(record.time)
    except UNDECODABLE as error:
        raise MalformedMessage(f"recording: {error}") from None
    called = decode_value(record.body, ring.context.jitter)
    if not isinstance(called, tuple) or not called or called[0] not in CALLS:
        raise MalformedMessage("recording: something was called that the core of this version does not have")
    return called, lambda: getattr(ring, called[0])(*called[1:])


def _due(state: RingContext, now: float) -> tuple[Timer, ...]:
    timers, found = copy.deepcopy(state.timers), list[Timer]()
    while (timer := timers.take_due(now)) is not None:
        found.append(Timer(timer))
    return tuple(found)


def _reaction(state: RingContext, kind: Kind, given: Any) -> str:
    if kind in (Kind.FRAME, Kind.PACKET):
        reaction: Any = REACTIONS.get((state.state, type(given)))
    elif kind is Kind.EXPIRY and given:
        return ", ".join(getattr(TIMER_REACTIONS[timer], "__name__", "") for timer in given)
    else:
        reaction = None
    return getattr(reaction, "__name__", "")


def _raised_counters(before: Counter[str], after: Counter[str]) -> tuple[str, ...]:
    return tuple(
        f"{name}" if times - before[name] == 1 else f"{name} x{times - before[name]}"
        for name, times in after.items()
        if times != before[name]
    )
