"""JSON documents that are longer than memory: the same text as if they were not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.executive.control.json_stream import streamed_object

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(min_size=1), VALUES, max_size=3)


@given(OBJECTS, st.lists(VALUES, max_size=4), OBJECTS)
def test_the_text_is_that_of_the_whole(before: dict[str, Any], items: list[Any], after: dict[str, Any]) -> None:
    parts = [{f"b{key}": each for key, each in before.items()}, {f"a{key}": each for key, each in after.items()}]
    text = "".join(streamed_object(parts[0], "items", items, lambda: parts[1]))
    assert text == json.dumps({**parts[0], "items": items, **parts[1]}, indent=2) + "\n"


def test_items_are_taken_one_by_one_and_the_end_is_asked_for_last() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(3):
            taken.append(number)
            yield number

    pieces = streamed_object({"a": 1}, "items", items(), lambda: {"taken": len(taken)})
    said = ""
    while "0" not in said:
        said += next(pieces)
    assert taken == [0]
    assert json.loads(said + "".join(pieces)) == {"a": 1, "items": [0, 1, 2], "taken": 3}


def test_a_document_whose_items_fail_is_none() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError

    said: list[str] = []
    with pytest.raises(LookupError):
        said.extend(streamed_object({}, "items", items(), dict))
    with pytest.raises(json.JSONDecodeError):
        json.loads("".join(said))
