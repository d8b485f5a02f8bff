"""Datagrams to frames: puts the frames of all sources together, within bounds.  Their format is that of `datagrams`."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from .datagrams import Fragments, Source, fragment_name, frame_or_fragment
from .refusals import MalformedDatagram, Refusal

ASSEMBLIES_PER_SOURCE_MAX: Final = 128
"""Frames of one source that may be incomplete: on a bad network those of a visit of the token."""

ASSEMBLIES_MAX: Final = 2048
"""Frames that may be incomplete, all sources together."""

ASSEMBLY_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes that may wait for the rest of their frames, all sources together."""

SOURCE_BYTES_SHARE_MAX: Final = 1 / 2
"""Of these, how many may be of one source."""

ASSEMBLY_SECONDS: Final = 1.0
"""How long a frame may be incomplete.  The ring asks for what is lost long before that."""

REPAIR_SECONDS: Final = 0.003
"""How long nothing more of an incomplete frame has come when the rest is asked for; each time it is twice as long."""

REPAIRS_MAX: Final = 4
"""How often the rest of a frame is asked for: after that, what its sender had of it is gone, or the sender is."""

REPAIRED_SHARE_MAX: Final = 1 / 2
"""Of a frame's datagrams, how many may be missing for that.  Who lacks more had no room for it: then the ring sends it
again, and slows down."""

SLOT_BYTES: Final = 8
"""What an incomplete frame costs for each of its datagrams before any has come: a stranger may announce thousands."""

_Key: TypeAlias = tuple[str, bytes]
"""An incomplete frame: the address that it comes from, and boot and number as they stand in the header.

Not the port: whoever may send from one address has all its ports.
"""


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

    __slots__ = ("ask_at", "asked", "began", "held", "missing", "parts", "source", "stride", "total")

    def __init__(self, source: Source, total: int, stride: int, began: float) -> None:
        self.source = source
        self.total = total
        self.stride = stride
        self.began = began
        self.missing = -(-total // stride)
        self.held = SLOT_BYTES * self.missing
        """Bytes of memory."""
        self.parts = [b""] * self.missing
        """Empty: missing."""
        self.asked = 0
        """How often its sender was asked for the rest."""
        self.ask_at = began + REPAIR_SECONDS
        """When it is next; infinite: not any more."""

    @property
    def repairable(self) -> bool:
        """So little is missing that its sender is asked for it."""
        return self.missing <= len(self.parts) * REPAIRED_SHARE_MAX

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


class _Sender:
    """What comes from one address."""

    __slots__ = ("assemblies", "held")

    def __init__(self) -> None:
        self.assemblies: dict[bytes, _Assembly] = {}
        """By the name of their frames, oldest first."""
        self.held = 0


class Reassembler:
    """Puts the frames of all addresses together.

    A lost fragment costs its own frame only, and of a frame that lacks little the rest is `wanted`.  Who has its share
    of the room makes room with its own oldest frame, so that one address cannot crowd out the others; else the oldest
    of all goes.  Either is found without a search, however many addresses a stranger pretends to have.
    """

    def __init__(self, known: Callable[[bytes], bool] = lambda _: False) -> None:
        """*known*: whether the frame of that name has been received already."""
        self._known = known
        self._assemblies: OrderedDict[_Key, _Assembly] = OrderedDict()
        """Oldest first."""
        self._senders: dict[str, _Sender] = {}
        """The same, by address."""
        self._looks: list[tuple[float, int, _Key]] = []
        """A heap: when to look whether the rest of a frame is to be asked for; too early at worst."""
        self._serial = itertools.count()
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
        return self.take(found, source, now) if isinstance(found, Fragments) else found

    def take(self, fragments: Fragments, source: Source, now: float) -> bytes | None:
        """The frame that they complete; None while others are missing.  What is there already is not taken again.

        Raises:
            MalformedDatagram: they contradict what came before, or are all there already, or belong to no frame that
                can still be completed.
        """
        name, first, stride, total, chunks, again = fragments
        key = (source[0], name)
        assembly = self._assemblies.get(key)
        if assembly is None:
            # An answer that came too late must not begin its frame anew: the rest would be asked for, for ever.
            if again or self._known(name):
                raise MalformedDatagram(Refusal.DUPLICATE_FRAGMENT)
            if sum(map(len, chunks)) == total:
                return b"".join(chunks)
            assembly = self._begin(key, _Assembly(source, total, stride, now))
        elif (assembly.total, assembly.stride) != (total, stride):
            raise MalformedDatagram(Refusal.BAD_DATAGRAM)
        was_repairable = assembly.repairable
        added = assembly.add(first, chunks)
        if not added:
            raise MalformedDatagram(Refusal.DUPLICATE_FRAGMENT)
        self._hold(key, added)
        if assembly.missing == 0:
            self._forget(key)
            return b"".join(assembly.parts)
        if assembly.asked and assembly.repairable and not was_repairable:
            # The ring has sent it again, and some of that was lost, too.
            assembly.asked = 0
            self._look_at(key, now)
        assembly.wait(now)
        self._make_room(source[0])
        return None

    def overtaken(self, source: Source, boot: bytes, number: int, now: float) -> None:
        """A frame that is proven to be of this *boot* is here: what is missing of its earlier ones is lost."""
        sender = self._senders.get(source[0])
        if sender is None:
            return
        first, name = fragment_name(boot, 0), fragment_name(boot, number)
        for other, assembly in sender.assemblies.items():
            if not assembly.asked and assembly.ask_at > now and first <= other < name:
                assembly.ask_at = now
                self._look_at((source[0], other), now)

    def wanted(self, now: float) -> list[Wanted]:
        """What is to be asked for now."""
        found = []
        while self._looks and self._looks[0][0] <= now:
            key = heapq.heappop(self._looks)[2]
            assembly = self._assemblies.get(key)
            if assembly is None or assembly.ask_at == math.inf:
                continue
            if assembly.ask_at <= now:
                assembly.asked += 1
                assembly.wait(now)
                if assembly.repairable:
                    missing = tuple(index for index, part in enumerate(assembly.parts) if not part)
                    found.append(Wanted(assembly.source, key[1], len(assembly.parts), missing))
            if assembly.ask_at != math.inf:
                self._look_at(key, assembly.ask_at)
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
        end = next(iter(self._assemblies.values())).began + ASSEMBLY_SECONDS
        return min(end, self._looks[0][0]) if self._looks else end

    def _begin(self, key: _Key, assembly: _Assembly) -> _Assembly:
        address, name = key
        sender = self._senders.get(address)
        if sender is not None and len(sender.assemblies) >= ASSEMBLIES_PER_SOURCE_MAX:
            self._abandon(self._oldest_of(address))
        elif len(self._assemblies) >= ASSEMBLIES_MAX:
            self._abandon(next(iter(self._assemblies)))
        self._assemblies[key] = assembly
        self._senders.setdefault(address, _Sender()).assemblies[name] = assembly
        self._hold(key, assembly.held)
        self._look_at(key, assembly.ask_at)
        return assembly

    def _make_room(self, address: str) -> None:
        """Something came from *address*: if that is too much, give frames up until it is not."""
        while address in self._senders and self._senders[address].held > ASSEMBLY_BYTES_MAX * SOURCE_BYTES_SHARE_MAX:
            self._abandon(self._oldest_of(address))
        while self._held > ASSEMBLY_BYTES_MAX:
            self._abandon(next(iter(self._assemblies)))

    def _hold(self, key: _Key, size: int) -> None:
        self._held += size
        self._senders[key[0]].held += size

    def _look_at(self, key: _Key, when: float) -> None:
        heapq.heappush(self._looks, (when, next(self._serial), key))

    def _oldest_of(self, address: str) -> _Key:
        return address, next(iter(self._senders[address].assemblies))

    def _abandon(self, key: _Key) -> None:
        self._forget(key)
        self.abandoned += 1

    def _forget(self, key: _Key) -> None:
        assembly = self._assemblies.pop(key)
        self._hold(key, -assembly.held)
        address, name = key
        del self._senders[address].assemblies[name]
        if not self._senders[address].assemblies:
            del self._senders[address]
        if not self._assemblies:
            self._looks.clear()
