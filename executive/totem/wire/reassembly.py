"""Datagrams to frames: puts the frames of all sources together, within bounds.  Their format is that of `datagrams`."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeAlias

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

_Key: TypeAlias = tuple[Source, bytes]
"""An incomplete frame: its source, and boot and number as they stand in the header."""


class _Assembly:
    """A frame of which fragments are missing."""

    __slots__ = ("began", "held", "missing", "parts", "stride", "total")

    def __init__(self, total: int, stride: int, began: float) -> None:
        self.total = total
        self.stride = stride
        self.began = began
        self.held = 0
        self.missing = -(-total // stride)
        self.parts = [b""] * self.missing
        """Empty: missing."""

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


class Reassembler:
    """Puts the frames of all sources together.

    A lost fragment costs its own frame only.  When there is no room, the oldest incomplete frame of the source that
    has most of them goes, so that one source cannot crowd out the others.
    """

    def __init__(self) -> None:
        self._assemblies: OrderedDict[_Key, _Assembly] = OrderedDict()
        """Oldest first."""
        self._per_source: dict[Source, int] = {}
        self._held = 0
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
        return found if isinstance(found, bytes) else self.take(found, source, now)

    def take(self, fragments: Fragments, source: Source, now: float) -> bytes | None:
        """The frame that they complete; None while others are missing.  What is there already is not taken again.

        Raises:
            MalformedDatagram: they contradict what came before, or are all there already.
        """
        name, first, stride, total, chunks = fragments
        key = (source, name)
        assembly = self._assemblies.get(key)
        if assembly is None:
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
        while self._held > ASSEMBLY_BYTES_MAX:
            self._abandon(self._oldest_of(self._heaviest()))
        return None

    def expire(self, now: float) -> None:
        """Give up what has been incomplete for `ASSEMBLY_SECONDS`."""
        while self._assemblies:
            key, oldest = next(iter(self._assemblies.items()))
            if now < oldest.began + ASSEMBLY_SECONDS:
                return
            self._abandon(key)

    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        if not self._assemblies:
            return None
        return next(iter(self._assemblies.values())).began + ASSEMBLY_SECONDS

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
