"""The state machine of the dictionary: what a command does, and that none can end its replicas."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.replica import MISSING, Rejected
from totemd.services.replica.mapping import Add, Clear, Delete, DictMachine, Replace, Set, encode, raw

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.text(max_size=3) | st.integers(-(2**63), 2**63 - 1)
COMMANDS = st.one_of(
    st.builds(lambda items: Set({key: raw(value) for key, value in items.items()}), st.dictionaries(KEYS, VALUES)),
    st.builds(Delete, KEYS),
    st.builds(Clear),
    st.builds(lambda key, value: Replace(key, None, bytes(raw(value))), KEYS, VALUES),
    st.builds(Add, KEYS, st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)),
)


@pytest.mark.parametrize(
    ("present", "amount", "total"),
    [(MISSING, 1, 1), (4, -5, -1), (1.5, 1, 2.5), (2**64 - 2, 1, 2**64 - 1), (-(2**63), 0, -(2**63))],
)
def test_numbers_are_added(present: Any, amount: float, total: float) -> None:
    machine = DictMachine()
    if present is not MISSING:
        machine.apply(encode(Set({"n": raw(present)})))
    assert machine.apply(encode(Add("n", amount))) == total == machine.get("n")


@pytest.mark.parametrize(("present", "amount"), [("text", 1), (True, 1), (None, 1), (2**64 - 1, 1), (-(2**63), -1)])
def test_what_cannot_be_added_to_stays(present: Any, amount: int) -> None:
    machine = DictMachine()
    machine.apply(encode(Set({"n": raw(present)})))
    with pytest.raises(Rejected, match="n"):
        machine.apply(encode(Add("n", amount)))
    assert machine.get("n") == present


def test_a_replacement_tells_what_was_there_at_its_place() -> None:
    machine = DictMachine()
    one, two = (bytes(raw(number)) for number in (1, 2))
    assert machine.apply(encode(Replace("n", None, one))) == (True, MISSING)
    assert machine.apply(encode(Replace("n", None, two))) == (False, 1)
    assert machine.apply(encode(Replace("n", one, None))) == (True, 1)
    assert machine.values == {}


@given(st.lists(COMMANDS, max_size=12))
def test_two_replicas_and_a_joiner_agree_whatever_is_said(commands: list[Any]) -> None:
    one, other = DictMachine(), DictMachine()
    for command in commands:
        results = []
        for machine in (one, other):
            try:
                results.append(machine.apply(encode(command)))
            except Rejected as refused:
                results.append(str(refused))
        assert results[0] == results[1] or all(isinstance(each, float) and math.isnan(each) for each in results)
    joiner = DictMachine()
    joiner.restore(one.snapshot())
    assert one.values == other.values == joiner.values
    assert list(one.values) == list(joiner.values)


@given(st.binary(max_size=40))
def test_any_bytes_are_applied_or_refused(command: bytes) -> None:
    machine = DictMachine()
    machine.apply(encode(Set({"here": raw(1)})))
    before = dict(machine.values)
    try:
        machine.apply(command)
    except Rejected:
        assert machine.values == before
    for key in machine.values:
        machine.get(key)
