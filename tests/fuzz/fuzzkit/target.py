"""What is fuzzed: a decoder, what it promises about any bytes, and examples of bytes that it accepts."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

INPUT_BYTES_MAX = 4096
"""Longest input that the coverage-guided fuzzer tries; every form of every format is shorter."""

_LENGTH = struct.Struct("<H")


@dataclass(frozen=True, slots=True)
class Target:
    """One decoder.

    `check` is given any bytes.  It returns whether they were accepted, and raises if a promise was broken: nothing but
    the documented error leaves the decoder, and what was accepted survives being encoded and decoded again.
    """

    name: str
    """Also the name of its folder in the corpus."""
    check: Callable[[bytes], bool]
    samples: Callable[[], Iterable[bytes]]
    """Inputs that are accepted, at least one of each kind."""
    bombs: tuple[bytes, ...] = field(default=())
    """Beginnings of values that promise far more than they hold; put into samples, they must not cost memory."""


MSGPACK_BOMBS = (
    b"\xdd\xff\xff\xff\xff",  # an array of 4 294 967 295 values
    b"\xdf\xff\xff\xff\xff",  # a map of as many
    b"\xc6\xff\xff\xff\xff",  # 4 GiB of bytes
    b"\xdb\xff\xff\xff\xff",  # 4 GiB of text
    b"\xc9\xff\xff\xff\xff\x01",  # an extension of 4 GiB
    b"\x91" * 3000,  # arrays in arrays
    b"\x81\xa1a" * 3000,  # maps in maps
)


def join_chunks(chunks: Iterable[bytes]) -> bytes:
    """One input for a target that takes several pieces: each behind its length, two bytes, little endian."""
    return b"".join(_LENGTH.pack(len(chunk)) + chunk for chunk in chunks)


def split_chunks(data: bytes) -> Iterator[bytes]:
    """The pieces of such an input; the last one may be shorter than its length says."""
    at = 0
    while at + _LENGTH.size <= len(data):
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(data, at)[0]
        yield data[start:at]
