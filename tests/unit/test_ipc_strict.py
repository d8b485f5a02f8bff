"""What bytes of others may raise: one error, whatever they are."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.ipc.deadline import Deadline, within
from totemd.ipc.errors import InvalidArgument, MalformedMessage
from totemd.ipc.messages.common import DETAIL_LENGTH_MAX, refusal
from totemd.ipc.strict import decode_strictly


class Note(msgspec.Struct, array_like=True):
    text: str
    more: list[Note] = []


DECODER = msgspec.msgpack.Decoder(Note)


def nested(depth: int) -> bytes:
    return b"\x92\xa1x\x91" * depth + b"\x91\xa1x"


def test_what_is_good_is_decoded() -> None:
    assert decode_strictly(DECODER, nested(2), "note").more[0].more[0].text == "x"


@pytest.mark.parametrize(
    "data",
    [b"", b"\x91", b"\x91\x05", b"\x91\xa1\xff", nested(100_000)],
    ids=["nothing", "cut off", "another type", "no UTF-8", "too deep"],
)
def test_what_is_bad_is_named(data: bytes) -> None:
    with pytest.raises(MalformedMessage, match=r"^note: "):
        decode_strictly(DECODER, data, "note")


@given(st.binary())
def test_nothing_else_is_raised(data: bytes) -> None:
    for decoder in (DECODER, msgspec.json.Decoder(Note)):
        with contextlib.suppress(MalformedMessage):
            decode_strictly(decoder, data, "note")


def test_a_refusal_quotes_little_of_what_it_refuses() -> None:
    """Or who sends much that cannot be read, and reads nothing, fills the server's memory."""
    refused = refusal(MalformedMessage("x" * 3_000_000))
    assert len(refused.detail) <= DETAIL_LENGTH_MAX + 1


def test_a_timeout_is_a_number() -> None:
    with pytest.raises(InvalidArgument, match="not a number"):
        Deadline(float("nan"))
    with pytest.raises(InvalidArgument, match="not a number"):
        within(float("nan"))
    assert Deadline(float("inf")).left == float("inf") and not Deadline(0.5).passed
