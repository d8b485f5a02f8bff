"""A recording while it grows: segments in a buffer, the oldest overwritten by the newest.

The buffer may be a mapped file: at each moment it holds a recording that can be read, so one that lost its process
(`kill -9`, out of memory) is as good as a dump.
"""

from __future__ import annotations

from collections.abc import Callable
from mmap import mmap
from typing import Final

from .format import (
    COMMITTED,
    COMMITTED_OFFSET,
    HEADER_ROOM,
    RECORD,
    RESULT,
    RESULT_OFFSET,
    SEGMENT_HEADER_BYTES,
    SLOTS,
    Kind,
    Segment,
    segment_header,
)

SLOT_BYTES_MIN: Final = 4 * 1024
"""Of any use only to tests."""

JITTER_ROOM: Final = RECORD.size + 8 * 16
"""Kept at the end of a segment, so that the random numbers of an input stand behind it in the same segment."""

_SPARE: Final = RECORD.size + JITTER_ROOM


class Tape:
    """Takes records; asks for a checkpoint whenever it begins a segment."""

    def __init__(self, buffer: mmap | bytearray, checkpoint: Callable[[], bytes | None]) -> None:
        """*buffer*: zeros, `HEADER_ROOM` and `SLOTS` slots long.  *checkpoint* returns the core's state, if it can."""
        self._buffer = buffer
        self._checkpoint = checkpoint
        self.slot_bytes = slot_bytes(len(buffer))
        self._half = (self.slot_bytes - SEGMENT_HEADER_BYTES - JITTER_ROOM) // 2
        """A checkpoint and an input, each no longer than this, fit a segment."""
        self.generation = 0
        """Number of the current segment, from 1."""
        self.without_checkpoint = 0
        """Segments whose checkpoint had no room, or could not be made; replay starts at another one."""
        self._start = self._at = self._end = 0

    def append(self, kind: int, time: float, sender: int, body: bytes) -> int:
        """Add a record; returns where, for `complete`.

        One that is longer than half a slot is left out (-1), and the next record begins a segment, so that what is
        recorded from then on can be replayed.
        """
        at = self._at
        if at + len(body) + _SPARE > self._end:
            if kind == Kind.JITTER and at + RECORD.size + len(body) <= self._end:
                return self._write(kind, time, sender, body)
            if kind == Kind.JITTER or RECORD.size + len(body) > self._half:
                self._end = 0
                return -1
            self._next_segment(time)
        return self._write(kind, time, sender, body)

    def complete(self, at: int, digest: int) -> None:
        """The input whose record is *at* was handled, with effects of this *digest*."""
        if at >= 0:
            RESULT.pack_into(self._buffer, at + RESULT_OFFSET, 1, digest)

    def segments(self) -> list[Segment]:
        """A copy of what is there, oldest first."""
        found = []
        for generation in range(max(1, self.generation - SLOTS + 1), self.generation + 1):
            start = self._slot(generation) + SEGMENT_HEADER_BYTES
            (length,) = COMMITTED.unpack_from(self._buffer, self._slot(generation) + COMMITTED_OFFSET)
            found.append(Segment(generation, bytes(self._buffer[start : start + length])))
        return found

    def _write(self, kind: int, time: float, sender: int, body: bytes) -> int:
        buffer, at, length = self._buffer, self._at, RECORD.size + len(body)
        RECORD.pack_into(buffer, at, length, kind, 0, 0, time, sender)
        self._at = end = at + length
        buffer[at + RECORD.size : end] = body
        COMMITTED.pack_into(buffer, self._start + COMMITTED_OFFSET, end - self._start - SEGMENT_HEADER_BYTES)
        return at

    def _next_segment(self, time: float) -> None:
        state = self._checkpoint()
        self.generation += 1
        start = self._start = self._slot(self.generation)
        self._buffer[start : start + SEGMENT_HEADER_BYTES] = segment_header(self.generation, 0)
        self._at, self._end = start + SEGMENT_HEADER_BYTES, start + self.slot_bytes
        if state is not None and RECORD.size + len(state) <= self._half:
            self._write(Kind.CHECKPOINT, time, 0, state)
        else:
            self.without_checkpoint += 1

    def _slot(self, generation: int) -> int:
        return HEADER_ROOM + (generation - 1) % SLOTS * self.slot_bytes


def slot_bytes(buffer_bytes: int) -> int:
    """How large the slots of a buffer are."""
    return (buffer_bytes - HEADER_ROOM) // SLOTS


def buffer_bytes(recording_bytes: int) -> int:
    """How large a buffer must be for a recording of about this size."""
    return HEADER_ROOM + SLOTS * max(SLOT_BYTES_MIN, recording_bytes // SLOTS)
