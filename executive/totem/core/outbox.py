"""The sender's side of packing: submissions wait here, and become frames when the token is here.

docs/totem.md §7: the parts of one message are consecutive among this node's frames; AGREED
and SAFE never share a frame; a message cut by a membership change is put back whole.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from ....ipc.ids import Guarantee
from ....ipc.messages.stream import Lane
from ..wire.packing import BODY_OVERHEAD_BYTES, PART_OVERHEAD_BYTES, Part, pack
from .submission import Submission

TAIL_SHARE: Final = 1 / 4
"""Share of a frame that may stay empty so that the next message need not be cut."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A submission whose last part went into a frame."""

    number: int
    channel: int
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class Frame:
    """What the next sequence number is for."""

    guarantee: Guarantee
    body: bytes
    completed: tuple[Completed, ...]


@dataclass(slots=True)
class _Waiting:
    number: int
    submission: Submission
    view: memoryview
    sent: int = 0


def _better_whole(size: int, room: int, frame_bytes: int) -> bool:
    """Whether a message of *size* bytes is left to the next frame, since only a part of it would fit into the *room*
    that this one has: who receives it need not put it together then."""
    return room < size <= frame_bytes - BODY_OVERHEAD_BYTES and room <= frame_bytes * TAIL_SHARE


class Outbox:
    """Two queues, one per lane; at most one message of both is partly sent."""

    def __init__(self, incarnation: int) -> None:
        self._incarnation = incarnation
        self._queues: dict[Lane, deque[_Waiting]] = {Lane.SYNC: deque(), Lane.APPLICATION: deque()}
        self._cut: Lane | None = None
        """Lane whose first message is partly sent."""
        self._last_number = 0
        self._bytes = {Lane.SYNC: 0, Lane.APPLICATION: 0}

    def add(self, submission: Submission) -> int:
        """Queue a submission; returns its number."""
        self._last_number += 1
        view = memoryview(submission.payload)
        self._queues[submission.lane].append(_Waiting(self._last_number, submission, view))
        self._bytes[submission.lane] += len(view) + PART_OVERHEAD_BYTES
        return self._last_number

    def pending_bytes(self, *, application: bool) -> int:
        """Bytes that could be sent now; *application* says whether that lane is open."""
        return self._bytes[Lane.SYNC] + (self._bytes[Lane.APPLICATION] if application else 0)

    @property
    def waiting_bytes(self) -> int:
        """All bytes that wait, whether their lane is open or not."""
        return self._bytes[Lane.SYNC] + self._bytes[Lane.APPLICATION]

    def next_frame(self, frame_bytes: int, *, application: bool) -> Frame | None:
        """Fill one frame of at most *frame_bytes* from the first lane that has something; None if nothing may be sent.

        None also if *frame_bytes* leave nothing beside `BODY_OVERHEAD_BYTES` and `PART_OVERHEAD_BYTES`.
        """
        lane = self._lane(application)
        if lane is None or frame_bytes <= BODY_OVERHEAD_BYTES + PART_OVERHEAD_BYTES:
            return None
        queue = self._queues[lane]
        guarantee = queue[0].submission.guarantee
        room, parts, completed = frame_bytes - BODY_OVERHEAD_BYTES, list[Part](), list[Completed]()
        while queue and room > PART_OVERHEAD_BYTES and queue[0].submission.guarantee is guarantee:
            waiting = queue[0]
            if parts and _better_whole(len(waiting.view) + PART_OVERHEAD_BYTES, room, frame_bytes):
                break
            chunk = waiting.view[waiting.sent : waiting.sent + room - PART_OVERHEAD_BYTES]
            total = len(waiting.view)
            parts.append(Part(waiting.submission.channel, waiting.number, waiting.sent, total, chunk))
            waiting.sent += len(chunk)
            room -= len(chunk) + PART_OVERHEAD_BYTES
            self._bytes[lane] -= len(chunk)
            if waiting.sent < total:
                self._cut = lane
                break
            self._cut = None
            self._bytes[lane] -= PART_OVERHEAD_BYTES
            completed.append(Completed(waiting.number, waiting.submission.channel, total))
            queue.popleft()
        return Frame(guarantee, pack(self._incarnation, parts), tuple(completed))

    def new_ring(self) -> list[Completed]:
        """A regular configuration was delivered: the cut message starts over, the old ring's state exchange is void.

        Returns the submissions of the exchange that will never be sent.
        """
        void = [
            Completed(waiting.number, waiting.submission.channel, len(waiting.view))
            for waiting in self._queues[Lane.SYNC]
        ]
        for lane, queue in self._queues.items():
            if queue and queue[0].sent:
                self._bytes[lane] += queue[0].sent
                queue[0].sent = 0
        self._cut = None
        self._queues[Lane.SYNC].clear()
        self._bytes[Lane.SYNC] = 0
        return void

    def _lane(self, application: bool) -> Lane | None:
        if self._cut is not None:
            return self._cut
        if self._queues[Lane.SYNC]:
            return Lane.SYNC
        return Lane.APPLICATION if application and self._queues[Lane.APPLICATION] else None
