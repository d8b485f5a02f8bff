"""What a child that fails says to whoever started it."""

from __future__ import annotations

import os

from totemd.executive.runtime.last_words import LAST_WORDS_BYTES_MAX, LAST_WORDS_VARIABLE, LastWords, read_last_words


def said(*reasons: str) -> str:
    """What is read after a child has said that."""
    read_end, write_end = os.pipe()
    environment = {LAST_WORDS_VARIABLE: str(write_end), "HOME": "/"}
    words = LastWords(environment)
    try:
        assert not os.get_inheritable(write_end)
        assert environment == {"HOME": "/"}
        for reason in reasons:
            words.say(reason)
        return read_last_words(read_end)
    finally:
        os.close(read_end)
        if not reasons:
            os.close(write_end)


def test_the_first_reason_is_read_on_one_line() -> None:
    assert said("cannot bind\nno such address", "the stop failed too") == "cannot bind; no such address"


def test_what_is_too_long_is_cut() -> None:
    assert said("ä" * LAST_WORDS_BYTES_MAX) == "ä" * (LAST_WORDS_BYTES_MAX // 2)


def test_nothing_said_is_nothing_read_and_nobody_waits() -> None:
    assert said() == ""


def test_without_a_reader_nothing_happens() -> None:
    LastWords({}).say("nobody hears this")
    read_end, write_end = os.pipe()
    os.close(read_end)
    LastWords({LAST_WORDS_VARIABLE: str(write_end)}).say("nor this")
