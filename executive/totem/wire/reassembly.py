"""Datagrams to frames: puts the frames of all sources together, within bounds.  Their format is that of `datagrams`."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

from .datagrams import Fragments, Source, frame_or_fragment
from .refusals import MalformedDatagram, Refusal

ASSEMBLIES_PER_SOURCE_MAX: Final = 16
"""Frames of one source that may be incomplete; a sender sends its frames one after the other."""

ASSEMBLIES_MAX: Final = 2048
"""Frames that may be incomplete, all sources together."""

ASSEMBLY_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes that may wait for the rest of their frames, all sources together."""

ASSEMBLY_SECONDS: Final = 1.0
"""How long a frame may be incomplete.  The ring asks for what is lost long before that."""

REPAIR_SECONDS: Final = 0.003
"""How long nothing more of an incomplete frame has come when the rest is asked for; each time it is twice as long."""

REPAIRS_MAX: Final = 4
"""How often the rest of a frame is asked for: after that, what its sender had of it is gone, or the sender is."""

REPAIRED_SHARE_MAX: Final = 1 / 2
"""Of a frame's datagrams, how many may be missing for that.  Who lacks more had no room for it: then the ring sends it
again, and slows down."""

_Key: TypeAlias = tuple[Source, bytes]
"""An incomplete frame: its source, and boot and number as they stand in the header."""


class Wanted(NamedTuple):
    """Missing datagrams of a frame."""

    source: Source
    name: bytes
    """Boot and number of the frame, as they stand in the header."""
    datagrams: int
    """Of the whole frame."""
    missing: tuple[int, ...]


class _Assembly:
    """A frame of which fragments are missing."""

    __slots__ = ("ask_at", "asked", "began", "held", "missing", "parts", "stride", "total")

    def __init__(self, total: int, stride: int, began: float) -> None:
        self.total = total
        self.stride = stride
        self.began = began
        self.held = 0
        self.missing = -(-total // stride)
        self.parts = [b""] * self.missing
        """Empty: missing."""
        self.asked = 0
        self.ask_at = began

    def add(self, first: int, chunks: tuple[bytes, ...]) -> int:
        """Keep what is not here yet of the consecutive *chunks*; how many bytes that is."""
        end = first + len(chunks)
        known = self.parts[first:end]
        fresh = chunks
        if any(known):
            fresh = tuple(chunk for chunk, here in zip(chunks, known, strict=True) if not here)
            chunks = tuple(here or chunk for chunk, here in zip(chunks, known, strict=True))
        self.parts[first:end] = chunks
        self.missing -= len(fresh)
        size = sum(map(len, fresh))
        self.held += size
        return size

    def wait(self, now: float) -> None:
        """Something has come, or was asked for: more may be on its way."""
        self.ask_at = now + REPAIR_SECONDS * 2**self.asked if self.asked < REPAIRS_MAX else math.inf


class Reassembler:
    """Puts the frames of all sources together.

    A lost fragment costs its own frame only, and of a frame that lacks little the rest is `wanted`.  When there is no
    room, the oldest incomplete frame of the source that has most of them goes, so that one source cannot crowd out the
    others.
    """

    def __init__(self, known: Callable[[bytes], bool] = lambda _: False) -> None:
        """*known*: whether the frame of that name has been received already."""
        self._known = known
        self._assemblies: OrderedDict[_Key, _Assembly] = OrderedDict()
        """Oldest first."""
        self._per_source: dict[Source, int] = {}
        self._held = 0
        self._ask_at = math.inf
        """No frame is asked for before."""
        self.abandoned = 0
        """Frames given up since the start."""

    @property
    def held_bytes(self) -> int:
        """Bytes that wait for the rest of their frames."""
        return self._held

    def receive(self, datagram: bytes, source: Source, now: float) -> bytes | None:
        """The frame that *datagram* is, or that it completes; None while fragments are missing.

        Raises:
            MalformedDatagram: no datagram of ours, or one that contradicts itself or what came before.
        """
        found = frame_or_fragment(datagram)
        if isinstance(found, Fragments):
            return self.take(found, source, now)
        self._overtaken(source, now)
        return found

    def take(self, fragments: Fragments, source: Source, now: float) -> bytes | None:
        """The frame that they complete; None while others are missing.  What is there already is not taken again.

        Raises:
            MalformedDatagram: they contradict what came before, or are all there already, or their frame is known.
        """
        name, first, stride, total, chunks = fragments
        key = (source, name)
        assembly = self._assemblies.get(key)
        if assembly is None:
            if self._known(name):
                raise MalformedDatagram(Refusal.DUPLICATE_FRAGMENT)
            self._overtaken(source, now)
            if sum(map(len, chunks)) == total:
                return b"".join(chunks)
            assembly = self._begin(key, total, stride, now)
        elif (assembly.total, assembly.stride) != (total, stride):
            raise MalformedDatagram(Refusal.BAD_DATAGRAM)
        added = assembly.add(first, chunks)
        if not added:
            raise MalformedDatagram(Refusal.DUPLICATE_FRAGMENT)
        self._held += added
        if assembly.missing == 0:
            self._forget(key)
            return b"".join(assembly.parts)
        assembly.wait(now)
        self._ask_at = min(self._ask_at, assembly.ask_at)
        while self._held > ASSEMBLY_BYTES_MAX:
            self._abandon(self._oldest_of(self._heaviest()))
        return None

    def wanted(self, now: float) -> list[Wanted]:
        """What is to be asked for now."""
        if now < self._ask_at:
            return []
        found = [
            Wanted(source, name, len(assembly.parts), missing)
            for (source, name), assembly in self._assemblies.items()
            if assembly.ask_at <= now and (missing := tuple(self._ask(assembly, now)))
        ]
        self._ask_at = min((each.ask_at for each in self._assemblies.values()), default=math.inf)
        return found

    def expire(self, now: float) -> None:
        """Give up what has been incomplete for `ASSEMBLY_SECONDS`."""
        while self._assemblies:
            key, oldest = next(iter(self._assemblies.items()))
            if now < oldest.began + ASSEMBLY_SECONDS:
                return
            self._abandon(key)

    def next_deadline(self) -> float | None:
        """When `expire` or `wanted` have something to do."""
        if not self._assemblies:
            return None
        return min(self._ask_at, next(iter(self._assemblies.values())).began + ASSEMBLY_SECONDS)

    def _overtaken(self, source: Source, now: float) -> None:
        """Something else comes from there: what is missing of earlier frames is lost."""
        if source in self._per_source:
            for key, assembly in self._assemblies.items():
                if key[0] == source and not assembly.asked:
                    assembly.ask_at = self._ask_at = now

    def _ask(self, assembly: _Assembly, now: float) -> Iterator[int]:
        """Indices of what it lacks, if that is still worth a question."""
        assembly.asked += 1
        assembly.wait(now)
        if assembly.missing <= len(assembly.parts) * REPAIRED_SHARE_MAX:
            yield from (index for index, part in enumerate(assembly.parts) if not part)

    def _begin(self, key: _Key, total: int, stride: int, now: float) -> _Assembly:
        source, _ = key
        if self._per_source.get(source, 0) >= ASSEMBLIES_PER_SOURCE_MAX:
            self._abandon(self._oldest_of(source))
        elif len(self._assemblies) >= ASSEMBLIES_MAX:
            self._abandon(self._oldest_of(self._heaviest()))
        assembly = _Assembly(total, stride, now)
        self._assemblies[key] = assembly
        self._per_source[source] = self._per_source.get(source, 0) + 1
        return assembly

    def _heaviest(self) -> Source:
        return max(self._per_source, key=self._per_source.__getitem__)

    def _oldest_of(self, source: Source) -> _Key:
        return next(key for key in self._assemblies if key[0] == source)

    def _abandon(self, key: _Key) -> None:
        self._forget(key)
        self.abandoned += 1

    def _forget(self, key: _Key) -> None:
        assembly = self._assemblies.pop(key)
        self._held -= assembly.held
        source, _ = key
        self._per_source[source] -= 1
        if not self._per_source[source]:
            del self._per_source[source]
