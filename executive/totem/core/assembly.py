"""The receiver's side of packing: parts of messages become messages, at the place of their last part."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..wire.packing import Part


@dataclass(slots=True)
class _Partial:
    incarnation: int
    number: int
    total: int
    received: int
    chunks: list[memoryview] = field(default_factory=list)


class Assembler:
    """At most one incomplete message per sender; dropped for all senders at every regular configuration."""

    def __init__(self, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max
        self._partials: dict[int, _Partial] = {}
        self.dropped = 0
        """Parts that belonged to no message being assembled, or to one that is too long."""

    def feed(self, origin: int, incarnation: int, part: Part) -> bytes | memoryview | None:
        """Take a part; returns the message that it completes, if it does."""
        if part.offset == 0:
            self._partials.pop(origin, None)
            if part.is_last:
                return part.chunk
            if part.total > self._message_bytes_max:
                self.dropped += 1
                return None
            self._partials[origin] = _Partial(incarnation, part.number, part.total, len(part.chunk), [part.chunk])
            return None
        partial = self._partials.get(origin)
        if partial is None or not self._continues(partial, incarnation, part):
            self._partials.pop(origin, None)
            self.dropped += 1
            return None
        partial.chunks.append(part.chunk)
        partial.received += len(part.chunk)
        if partial.received < partial.total:
            return None
        del self._partials[origin]
        return b"".join(partial.chunks)

    def reset(self) -> None:
        """Drop every incomplete message (rule F3)."""
        self._partials.clear()

    @staticmethod
    def _continues(partial: _Partial, incarnation: int, part: Part) -> bool:
        return (partial.incarnation, partial.number, partial.total, partial.received) == (
            incarnation,
            part.number,
            part.total,
            part.offset,
        )
