"""The frames of one ring that a node keeps: for delivery in order, and to send again to who misses them."""

from __future__ import annotations

from collections.abc import Iterator

from ..wire.packets import Mcast


class FrameStore:
    """Sequence number -> frame, with the marks that the protocol reports.

    Invariant: `released <= received <= highest`; every number in released+1 .. received is present.
    """

    def __init__(self, limit: int, start: int = 0) -> None:
        """*limit* frames beyond the released ones are accepted; numbers up to *start* count as released."""
        self._limit = limit
        self._frames: dict[int, Mcast] = {}
        self.held_bytes = 0
        """Of the bodies of all frames that are kept."""
        self.released = start
        """Frames up to here were freed."""
        self.received = start
        """Paper: my_aru.  All up to here were received."""
        self.highest = start
        """Highest number present, or `received`; there may be holes below it."""

    def __len__(self) -> int:
        return len(self._frames)

    def __contains__(self, seq: int) -> bool:
        return seq in self._frames

    def get(self, seq: int) -> Mcast | None:
        """The frame with this number, if it is kept."""
        return self._frames.get(seq)

    def add(self, frame: Mcast) -> bool:
        """Keep *frame*; False if it is known, freed already, or beyond the limit."""
        seq = frame.seq
        if seq <= self.received or seq in self._frames or seq > self.released + self._limit:
            return False
        self._frames[seq] = frame
        self.held_bytes += len(frame.body)
        self.highest = max(self.highest, seq)
        while self.received + 1 in self._frames:
            self.received += 1
        return True

    def release(self, up_to: int) -> None:
        """Free everything up to *up_to*, which must have been received."""
        for seq in range(self.released + 1, min(up_to, self.received) + 1):
            self.held_bytes -= len(self._frames.pop(seq).body)
            self.released = seq

    def holes(self, up_to: int) -> Iterator[int]:
        """Numbers up to *up_to* that were not received, ascending."""
        return (seq for seq in range(self.received + 1, up_to + 1) if seq not in self._frames)

    def above(self, seq: int) -> Iterator[Mcast]:
        """Kept frames with higher numbers than *seq*, ascending."""
        frames = self._frames
        return (frames[each] for each in range(max(seq, self.released) + 1, self.highest + 1) if each in frames)

    def room(self, highest_assigned: int) -> int:
        """How many more numbers may be assigned before the limit is reached here."""
        return self._limit - (highest_assigned - self.released)
