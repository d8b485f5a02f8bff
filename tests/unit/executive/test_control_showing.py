"""How things look."""

from __future__ import annotations

import pytest
from totemd.executive.control.cmap import line
from totemd.executive.control.showing import duration, escaped, ring_as_json
from totemd.ipc.ids import RingId


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3600, "1 h"), (3725, "1 h 2 min"), (200_000, "2 d 7 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"chat", "chat"),
        ("größe".encode(), "größe"),
        (b"a\\b", r"a\\b"),
        (b"a\nb\x1b", r"a\nb\x1b"),
        (b"\xff", r"\udcff"),
    ],
)
def test_names_are_shown_on_one_line(name: bytes, text: str) -> None:
    assert escaped(name) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x y", "k (str) = x y"),
        (0, "k (u32) = 0"),
        (2**32 - 1, "k (u32) = 4294967295"),
        (2**32, "k (u64) = 4294967296"),
    ],
)
def test_cmap_lines(value: str | int, text: str) -> None:
    assert line("k", value) == text


def test_a_ring() -> None:
    assert ring_as_json(RingId(47, 3)) == {"representative": 3, "sequence": 47}
    assert ring_as_json(None) is None
