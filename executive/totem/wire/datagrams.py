"""Frames to datagrams and back: cut below the seal; `reassembly` puts them together again.

```
a frame that fits    0 magic  1 version | WHOLE     2 frame …
a fragment of one    0 magic  1 version | FRAGMENT  2 index  4 stride  6 length  10 boot  18 number  26 bytes …
the same, repaired   0 magic  1 version | AGAIN     …
```

Every fragment says the whole geometry: the frame's length, and how many of its bytes each fragment but the last one
carries.  So each can be checked by itself, in any order.  Nothing here is authenticated, the seal is inside: a forged
fragment can cost the frame that it names, never alter it.
"""

from __future__ import annotations

import functools
import struct
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

FRAME_BYTES_MAX: Final = 256 * 1024 + 128
"""Longest frame: 256 KiB and what a seal adds."""

FRAGMENT_BYTES_MIN: Final = 128
"""Fewest bytes of a fragment that is not the last one, so that nobody can make us count grains of sand."""

DATAGRAM_BYTES_MAX: Final = 65_507
"""Longest payload of a UDP datagram over IPv4."""

_WHOLE: Final = DATAGRAM_VERSION << 4
_FRAGMENT: Final = _WHOLE | 1
_AGAIN: Final = _WHOLE | 2
_WHOLE_HEADER: Final = bytes([DATAGRAM_MAGIC, _WHOLE])
_FRAGMENT_HEADER: Final = struct.Struct(">BBHHIQQ")
_GEOMETRY: Final = struct.Struct(">2xHHI")

FRAGMENT_OVERHEAD_BYTES: Final = _FRAGMENT_HEADER.size
"""What each datagram of a cut frame carries besides the frame."""

FRAGMENTS_MAX: Final = -(-FRAME_BYTES_MAX // FRAGMENT_BYTES_MIN)
"""Most fragments that a frame can have."""

_HEADS: Final = tuple(struct.pack(">BBH", DATAGRAM_MAGIC, _FRAGMENT, index) for index in range(FRAGMENTS_MAX))
"""How the fragments of the longest frame begin; the rest of their headers is the same for all."""

_HEAD_BYTES: Final = 4
_FRAGMENT_START: Final = _HEADS[0][:2]
_AGAIN_FORM: Final = bytes([_AGAIN])
_PART_STARTS: Final = frozenset({_FRAGMENT_START, bytes([DATAGRAM_MAGIC, _AGAIN])})
_NAME_AT: Final = _GEOMETRY.size

DATAGRAM_BYTES_MIN: Final = FRAGMENT_BYTES_MIN + _FRAGMENT_HEADER.size
"""Smallest datagram that frames can be cut to."""


class Frame(NamedTuple):
    """How a sender names a frame, so that the fragments of two never mix."""

    boot: int
    """64 bits that differ between the sender's boots."""
    number: int
    """Differs between the frames of a boot; 64 bits."""


NAMED_BOOT_BYTES: Final = 8
"""How much of a boot's random bytes the name of a frame holds."""


def fragment_name(boot: bytes, number: int) -> bytes:
    """How the fragments of a frame name it, in their headers."""
    return boot[:NAMED_BOOT_BYTES] + number.to_bytes(8, "big")


def split_name(name: bytes) -> tuple[bytes, int]:
    """How the boot begins of which a `fragment_name` speaks, and the frame's number."""
    return name[:NAMED_BOOT_BYTES], int.from_bytes(name[NAMED_BOOT_BYTES:], "big")


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
    full, rest = divmod(total, stride)
    chunks = _chunks(stride, full).unpack_from(sealed)
    if rest:
        chunks += (sealed[-rest:],)
    return Run(b"".join(chain.from_iterable(zip(_HEADS, repeat(name), chunks, strict=False))), datagram_bytes)


class Fragments(NamedTuple):
    """Consecutive fragments of one frame."""

    name: bytes
    """Boot and number of the frame, as they stand in the header."""
    first: int
    """Index of the first of them."""
    stride: int
    total: int
    """Bytes of the whole frame."""
    chunks: tuple[bytes, ...]
    """At least one; each is as long as it has to be at its place."""
    again: bool = False
    """They were asked for (see `repair`)."""


def frame_or_fragment(datagram: bytes) -> bytes | Fragments:
    """The frame that *datagram* is, or what it holds of one.

    Raises:
        MalformedDatagram: no datagram of ours, or one that contradicts itself.
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
    if form not in (_FRAGMENT, _AGAIN):
        raise MalformedDatagram(Refusal.BAD_VERSION if form >> 4 != DATAGRAM_VERSION else Refusal.BAD_DATAGRAM)
    return _single_fragment(datagram)


def _single_fragment(datagram: bytes) -> Fragments:
    if len(datagram) <= _FRAGMENT_HEADER.size:
        raise MalformedDatagram(Refusal.BAD_DATAGRAM)
    index, stride, total = _GEOMETRY.unpack_from(datagram)
    chunk = datagram[_FRAGMENT_HEADER.size :]
    # For an index beyond the end the rest of the frame is not positive, and no chunk is that short.
    if not _is_plausible(stride, total) or len(chunk) != min(stride, total - index * stride):
        raise MalformedDatagram(Refusal.BAD_DATAGRAM)
    name = datagram[_NAME_AT : _FRAGMENT_HEADER.size]
    return Fragments(name, index, stride, total, (chunk,), datagram[1] == _AGAIN)


def holds_fragments(run: Run) -> bool:
    """Whether any of the datagrams is a part of a frame."""
    data, size = run.data, run.size
    return any(data[at : at + 2] in _PART_STARTS for at in range(0, len(data), size or 1))


def as_repair(fragment: bytes) -> bytes:
    """The datagram as it goes to who asked for it."""
    return fragment[:1] + _AGAIN_FORM + fragment[2:]


def leading_fragments(run: Run, start: int) -> tuple[Fragments, int] | None:
    """The fragments of one frame that stand in *run* from *start* on, in their order, and where they end.

    None if something else stands there, which may be anything, or one datagram alone: then that is to be taken by
    itself.  The same checks, but one for all fragments: so many of them cost little more than one.  Where some are
    lost those before and those behind the gap are taken one after the other.
    """
    data, size = run.data, run.size
    if not DATAGRAM_BYTES_MIN <= size < len(data) - start or data[start : start + 2] != _FRAGMENT_START:
        return None
    index, stride, total = _GEOMETRY.unpack_from(data, start)
    if stride != size - _FRAGMENT_HEADER.size or not _is_plausible(stride, total):
        return None
    last = -(-total // stride) - 1
    full = min(last - index, (len(data) - start) // size)
    if full < 1:
        return None
    common = data[start + _HEAD_BYTES : start + _FRAGMENT_HEADER.size]
    headers = _headers(stride, full).unpack_from(data, start)
    if b"".join(headers) != common.join((*_HEADS[index : index + full], b"")):
        # Some are lost, or another frame begins here: up to there.
        heads = zip(headers, _HEADS[index : index + full], strict=True)
        full = next(count for count, (header, head) in enumerate(heads) if header != head + common)
    end = start + full * size
    chunks = _chunks_behind_headers(stride, full).unpack_from(data, start)
    found = Fragments(common[_NAME_AT - _HEAD_BYTES :], index, stride, total, chunks)
    if index + full == last:
        datagram = data[end : end + size]
        chunk = datagram[_FRAGMENT_HEADER.size :]
        if datagram.startswith(_HEADS[last] + common) and len(chunk) == total - last * stride:
            return found._replace(chunks=(*found.chunks, chunk)), end + len(datagram)
    return found, end


def _is_plausible(stride: int, total: int) -> bool:
    return FRAGMENT_BYTES_MIN <= stride < total <= FRAME_BYTES_MAX


@functools.lru_cache(maxsize=128)
def _chunks(stride: int, count: int) -> struct.Struct:
    """Of a frame: so many chunks."""
    return struct.Struct(f"{stride}s" * count)


@functools.lru_cache(maxsize=128)
def _headers(stride: int, count: int) -> struct.Struct:
    """Of so many fragments in a row: their headers."""
    return struct.Struct(f"{_FRAGMENT_HEADER.size}s{stride}x" * count)


@functools.lru_cache(maxsize=128)
def _chunks_behind_headers(stride: int, count: int) -> struct.Struct:
    """Of so many fragments in a row: their chunks."""
    return struct.Struct(f"{_FRAGMENT_HEADER.size}x{stride}s" * count)


def quoted_frame(datagram: bytes) -> Frame | bytes | None:
    """Of a datagram that somebody quotes, maybe cut short: the name of the frame that it is a fragment of, or how the
    frame begins that it is; None if it is neither."""
    if datagram.startswith(_WHOLE_HEADER):
        return datagram[len(_WHOLE_HEADER) :]
    if len(datagram) < _FRAGMENT_HEADER.size or datagram[0] != DATAGRAM_MAGIC or datagram[1] not in (_FRAGMENT, _AGAIN):
        return None
    *_, boot, number = _FRAGMENT_HEADER.unpack_from(datagram)
    return Frame(boot, number)
