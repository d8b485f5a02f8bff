"""Bytes of others into typed messages: one rule for everything that is read with msgspec, on every wire and file."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from .errors import MalformedMessage

T = TypeVar("T")

UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""All that a decoder of msgspec raises for bytes that are not what it decodes: also for text that is no UTF-8 and for
nesting that is too deep, which are no errors of msgspec's own."""


def decode_strictly(
    decoder: msgspec.msgpack.Decoder[T] | msgspec.json.Decoder[T], data: bytes | memoryview, what: str
) -> T:
    """What *data* says; *what* names it in the error.

    Raises:
        MalformedMessage: it is nothing that *decoder* decodes.  Nothing else is ever raised.
    """
    try:
        return decoder.decode(data)
    except UNDECODABLE as error:
        raise MalformedMessage(f"{what}: {error}") from None
