"""Frames to datagrams and back: cut below the seal, put together again within bounds.

```
a frame that fits    0 magic  1 version | WHOLE     2 frame …
a fragment of one    0 magic  1 version | FRAGMENT  2 index  4 stride  6 length  10 boot  18 number  26 bytes …
```

Every fragment says the whole geometry: the frame's length, and how many of its bytes each fragment but the last one
carries.  So each can be checked by itself, in any order.  Nothing here is authenticated, the seal is inside: a forged
fragment can cost the frame that it names, never alter it.
"""

from __future__ import annotations

import functools
import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Final, NamedTuple, TypeAlias

from ....ipc.errors import InvalidArgument
from .refusals import MalformedDatagram, Refusal

Source: TypeAlias = tuple[str, int]
"""Where a datagram came from: numeric address and port."""

DATAGRAM_MAGIC: Final = 0x54
"""First byte of every datagram.  corosync's begin with 0xC0 (3.x) or with a small number (2.x)."""

DATAGRAM_VERSION: Final = 1
"""In the upper half of the second byte."""

FRAME_BYTES_MAX: Final = 65_536 + 128
"""Longest frame: 64 kB and what a seal adds."""

FRAGMENT_BYTES_MIN: Final = 128
"""Fewest bytes of a fragment that is not the last one, so that nobody can make us count grains of sand."""

DATAGRAM_BYTES_MAX: Final = 65_507
"""Longest payload of a UDP datagram over IPv4."""

ASSEMBLIES_PER_SOURCE_MAX: Final = 16
"""Frames of one source that may be incomplete; a sender sends its frames one after the other."""

ASSEMBLIES_MAX: Final = 2048
"""Frames that may be incomplete, all sources together."""

ASSEMBLY_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes that may wait for the rest of their frames, all sources together."""

ASSEMBLY_SECONDS: Final = 1.0
"""How long a frame may be incomplete.  The ring asks for what is lost long before that."""

_WHOLE: Final = DATAGRAM_VERSION << 4
_FRAGMENT: Final = _WHOLE | 1
_WHOLE_HEADER: Final = bytes([DATAGRAM_MAGIC, _WHOLE])
_FRAGMENT_HEADER: Final = struct.Struct(">BBHHIQQ")
_GEOMETRY: Final = struct.Struct(">2xHHI")

FRAGMENT_OVERHEAD_BYTES: Final = _FRAGMENT_HEADER.size
"""What each datagram of a cut frame carries besides the frame."""

_HEADS: Final = tuple(
    struct.pack(">BBH", DATAGRAM_MAGIC, _FRAGMENT, index) for index in range(-(-FRAME_BYTES_MAX // FRAGMENT_BYTES_MIN))
)
"""How the fragments of the longest frame begin; the rest of their headers is the same for all."""

_HEAD_BYTES: Final = 4

DATAGRAM_BYTES_MIN: Final = FRAGMENT_BYTES_MIN + _FRAGMENT_HEADER.size
"""Smallest datagram that frames can be cut to."""


class Frame(NamedTuple):
    """How a sender names a frame, so that the fragments of two never mix."""

    boot: int
    """64 bits that differ between the sender's boots."""
    number: int
    """Differs between the frames of a boot; 64 bits."""


@dataclass(frozen=True, slots=True)
class Run:
    """Datagrams one behind the other in one buffer, as Linux sends (UDP_SEGMENT) and receives (UDP_GRO) them."""

    data: bytes
    size: int
    """Bytes of each but the last, which may be shorter."""

    @classmethod
    def of(cls, datagram: bytes) -> Run:
        """A run of one."""
        return cls(datagram, len(datagram))

    def __len__(self) -> int:
        """How many datagrams."""
        return -(-len(self.data) // self.size) if self.data else 1

    def __iter__(self) -> Iterator[bytes]:
        """The datagrams."""
        data, size = self.data, self.size
        return (data[at : at + size] for at in range(0, len(data) or 1, size or 1))


def cut(sealed: bytes, datagram_bytes: int, frame: Frame) -> Run:
    """The datagrams of a frame, each of at most *datagram_bytes*.

    Raises:
        InvalidArgument: *datagram_bytes* is below `DATAGRAM_BYTES_MIN`, or the frame above `FRAME_BYTES_MAX`.
    """
    if len(sealed) + len(_WHOLE_HEADER) <= datagram_bytes:
        return Run.of(_WHOLE_HEADER + sealed)
    if datagram_bytes < DATAGRAM_BYTES_MIN or len(sealed) > FRAME_BYTES_MAX:
        raise InvalidArgument(
            f"a frame of {len(sealed)} bytes cannot be cut to {datagram_bytes}: at most {FRAME_BYTES_MAX} bytes "
            f"are cut, to at least {DATAGRAM_BYTES_MIN}"
        )
    stride = datagram_bytes - _FRAGMENT_HEADER.size
    total = len(sealed)
    name = _FRAGMENT_HEADER.pack(DATAGRAM_MAGIC, _FRAGMENT, 0, stride, total, frame.boot, frame.number)[_HEAD_BYTES:]
    chunks = [sealed[at : at + stride] for at in range(0, total, stride)]
    return Run(b"".join(chain.from_iterable(zip(_HEADS, repeat(name), chunks, strict=False))), datagram_bytes)


def leading_frame(run: Run, start: int) -> tuple[bytes, int] | None:
    """The frame all of whose fragments stand in *run* from *start* on, in their order, and where they end.

    None if something else stands there, which may be anything: then it is for `Reassembler.receive`, datagram by
    datagram.  The same checks, but one for all fragments: so a frame costs little more than one of them.
    """
    data, size = run.data, run.size
    if not DATAGRAM_BYTES_MIN <= size < len(data) - start or data[start : start + _HEAD_BYTES] != _HEADS[0]:
        return None
    _, stride, total = _GEOMETRY.unpack_from(data, start)
    if stride != size - _FRAGMENT_HEADER.size or not FRAGMENT_BYTES_MIN <= stride < total <= FRAME_BYTES_MAX:
        return None
    count = -(-total // stride)
    end = start + total + count * _FRAGMENT_HEADER.size
    if end > len(data):
        return None
    last = start + (count - 1) * size
    heads, names, chunks = zip(*_pieces(stride).iter_unpack(memoryview(data)[start:last]), strict=True)
    head, name = data[last : last + _HEAD_BYTES], data[last + _HEAD_BYTES : last + _FRAGMENT_HEADER.size]
    if (*heads, head) != _HEADS[:count] or names.count(name) != count - 1:
        return None
    return b"".join((*chunks, data[last + _FRAGMENT_HEADER.size : end])), end


@functools.lru_cache(maxsize=64)
def _pieces(stride: int) -> struct.Struct:
    """A fragment that is not the last: what tells it apart, what it shares with the others, and its bytes."""
    return struct.Struct(f"{_HEAD_BYTES}s{_FRAGMENT_HEADER.size - _HEAD_BYTES}s{stride}s")


def quoted_frame(datagram: bytes) -> Frame | bytes | None:
    """Of a datagram that somebody quotes, maybe cut short: the name of the frame that it is a fragment of, or how the
    frame begins that it is; None if it is neither."""
    if datagram.startswith(_WHOLE_HEADER):
        return datagram[len(_WHOLE_HEADER) :]
    if len(datagram) < _FRAGMENT_HEADER.size or datagram[:2] != bytes([DATAGRAM_MAGIC, _FRAGMENT]):
        return None
    *_, boot, number = _FRAGMENT_HEADER.unpack_from(datagram)
    return Frame(boot, number)


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
        self.parts: list[bytes | None] = [None] * self.missing


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
        if len(datagram) < len(_WHOLE_HEADER):
            raise MalformedDatagram(Refusal.BAD_DATAGRAM)
        if datagram[0] != DATAGRAM_MAGIC:
            raise MalformedDatagram(Refusal.BAD_MAGIC)
        form = datagram[1]
        if form == _WHOLE:
            if len(datagram) > FRAME_BYTES_MAX:
                raise MalformedDatagram(Refusal.BAD_DATAGRAM)
            return datagram[len(_WHOLE_HEADER) :]
        if form != _FRAGMENT:
            raise MalformedDatagram(Refusal.BAD_VERSION if form >> 4 != DATAGRAM_VERSION else Refusal.BAD_DATAGRAM)
        return self._fragment(datagram, source, now)

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

    def _fragment(self, datagram: bytes, source: Source, now: float) -> bytes | None:
        if len(datagram) <= _FRAGMENT_HEADER.size:
            raise MalformedDatagram(Refusal.BAD_DATAGRAM)
        index, stride, total = _GEOMETRY.unpack_from(datagram)
        chunk = datagram[_FRAGMENT_HEADER.size :]
        if not FRAGMENT_BYTES_MIN <= stride < total <= FRAME_BYTES_MAX:
            raise MalformedDatagram(Refusal.BAD_DATAGRAM)
        # For an index beyond the end this is not positive, and no chunk is that short.
        if len(chunk) != min(stride, total - index * stride):
            raise MalformedDatagram(Refusal.BAD_DATAGRAM)
        key = (source, datagram[_GEOMETRY.size : _FRAGMENT_HEADER.size])
        assembly = self._assemblies.get(key)
        if assembly is None:
            assembly = self._begin(key, total, stride, now)
        elif (assembly.total, assembly.stride) != (total, stride):
            raise MalformedDatagram(Refusal.BAD_DATAGRAM)
        elif assembly.parts[index] is not None:
            raise MalformedDatagram(Refusal.DUPLICATE_FRAGMENT)
        assembly.parts[index] = chunk
        assembly.missing -= 1
        if assembly.missing == 0:
            self._forget(key)
            return b"".join(part for part in assembly.parts if part is not None)
        assembly.held += len(chunk)
        self._held += len(chunk)
        while self._held > ASSEMBLY_BYTES_MAX:
            self._abandon(self._oldest_of(self._heaviest()))
        return None

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
