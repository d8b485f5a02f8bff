"""The state machine of the dictionary: what a command does, and that none can end its replicas."""

from __future__ import annotations

import enum
import math
import sys
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.ipc.errors import InvalidArgument
from totemd.replica import MISSING, Rejected
from totemd.services.replica.edits import adding, clearing, deleting, replacing, setting
from totemd.services.replica.mapping import NESTING_MAX, Add, Clear, Delete, DictMachine, Replace, Set, encode, raw


@dataclass(frozen=True)
class Pair:
    one: int
    two: int


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


@pytest.mark.parametrize(
    ("present", "expected", "matches"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ((1, 2), [1, 2], True),
        (1, 1.0, True),
        (math.nan, math.nan, True),
        ({"a": 1}, {"a": 2}, False),
        (None, MISSING, False),
        (MISSING, MISSING, True),
        (MISSING, None, False),
    ],
)
def test_what_is_expected_is_a_value_and_not_its_bytes(present: Any, expected: Any, matches: bool) -> None:
    machine = DictMachine()
    if present is not MISSING:
        machine.apply(encode(Set({"k": raw(present)})))
    was_expected, _ = machine.apply(replacing("k", expected, "new"))
    assert was_expected is matches and (machine.get("k") == "new") is matches


def test_an_expectation_that_cannot_be_read_is_refused_everywhere() -> None:
    machine = DictMachine()
    machine.apply(encode(Set({"k": raw(1)})))
    with pytest.raises(Rejected, match="not a value to expect"):
        machine.apply(encode(Replace("k", b"\xc1", bytes(raw(2)))))
    assert machine.get("k") == 1


def nested(depth: int, value: Any = 1) -> Any:
    for level in range(depth):
        value = {"in": value} if level % 2 else [value]
    return value


def test_how_deep_a_value_may_be_does_not_depend_on_how_deep_the_calls_are() -> None:
    """Or it would be taken by one replica and refused by another."""
    machine = DictMachine()
    machine.apply(encode(Set({"k": raw(nested(NESTING_MAX))})))
    assert machine.get("k") == nested(NESTING_MAX)
    for depth in (NESTING_MAX + 1, 900, 100_000):
        with pytest.raises(InvalidArgument, match="at most 64"):
            raw(nested(depth))
    raw(nested(NESTING_MAX - 1, []))
    for innermost in ([], {}, Pair(1, 2)):
        with pytest.raises(InvalidArgument, match="at most 64"):
            raw(nested(NESTING_MAX, innermost))


def test_a_value_that_could_not_be_read_back_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InvalidArgument, match="cannot be read back"):
        raw({Pair(1, 2): "its key becomes a dictionary"})


class Number(enum.IntEnum):
    SEVEN = 7


@pytest.mark.parametrize("value", [2**70, -(2**63) - 1, "\udc80", [{"\udc80": 1}], {2**64: 1}])
def test_a_value_that_msgpack_cannot_hold_is_refused_with_what_it_can(value: Any) -> None:
    for build in (lambda: setting({"k": value}), lambda: replacing("k", value, 1), lambda: replacing("k", 1, value)):
        with pytest.raises(InvalidArgument, match="a value is None, a bool, a whole number from -9223372036854775808"):
            build()


@pytest.mark.parametrize("key", [2**64, -(2**63) - 1, "\udc80", 1.5, None, True, b"k", (1, 2)])
def test_a_key_is_text_or_a_number(key: Any) -> None:
    for build in (
        lambda: setting({key: 1}),
        lambda: deleting(key),
        lambda: replacing(key, 1, 2),
        lambda: adding(key, 1),
    ):
        with pytest.raises(InvalidArgument, match="a key is text that can be written as UTF-8, or a whole number"):
            build()


@pytest.mark.parametrize("amount", [2**70, -(2**70), "1", None, True])
def test_an_amount_is_a_number(amount: Any) -> None:
    with pytest.raises(InvalidArgument, match="an amount is a float, or a whole number"):
        adding("k", amount)


@pytest.mark.parametrize("key", [2**64 - 1, -(2**63), Number.SEVEN, "", "k"])
def test_what_is_not_refused_is_done(key: Any) -> None:
    machine = DictMachine()
    machine.apply(setting({key: 1}))
    assert machine.apply(adding(key, 2)) == 3
    assert machine.apply(replacing(key, 3, 4)) == (True, 3)
    assert machine.apply(deleting(key)) == 4
    machine.apply(clearing())


def test_a_replica_that_cannot_decode_what_others_can_ends() -> None:
    deep = encode(Set({"k": msgspec.Raw(b"\x91" * 500 + b"\x01")}))
    DictMachine().apply(deep)

    def far_down(calls: int) -> Any:
        return far_down(calls - 1) if calls else DictMachine().apply(deep)

    with pytest.raises(RecursionError):
        far_down(sys.getrecursionlimit() - 200)
