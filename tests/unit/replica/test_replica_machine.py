"""What is found out about a state machine before its replica does anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from machines import Counter
from totemd import InvalidArgument, aio, replica
from totemd.replica import Available, IncompatibleState
from totemd.services.replica.edits import setting
from totemd.services.replica.machine import SUMMARY_BYTES_MAX, Machine
from totemd.services.replica.mapping import DictMachine
from totemd.services.replica.turns import Ask, Turns
from totemd.services.replica.turns import encode as ask


async def awaited(*_: object) -> None:
    """What somebody writes who uses asyncio everywhere."""


async def sent(*_: object) -> AsyncIterator[bytes]:
    yield b""


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *((name, awaited) for name in ("apply", "snapshot", "restore", "members_changed", "summary", "superseded")),
        ("snapshot", sent),
    ],
)
def test_what_would_have_to_be_awaited_is_refused_by_its_name(name: str, method: Any) -> None:
    wrong: Any = type("Wrong", (Counter,), {name: method})()
    with pytest.raises(InvalidArgument, match=f"{name} is called and not awaited"):
        Machine(wrong)
    with pytest.raises(InvalidArgument, match=f"{name} is called and not awaited"):
        replica.aio.Replica(aio.Client("/nowhere"), "wrong", wrong)


class Summed(Counter):
    """Says of its state what a test chooses."""

    given: Any = b""

    def summary(self) -> Any:
        return self.given


def test_a_summary_is_bytes() -> None:
    """Anything else is no message of a replica for those who get it, and its sender would be waited for."""
    summed = Summed()
    machine = Machine(summed)
    for summed.given in (b"yes", bytearray(b"yes"), memoryview(b"yes")):
        assert machine.summary() == b"yes" and isinstance(machine.summary(), bytes)
    for summed.given in ("yes", None, 3, bytes(SUMMARY_BYTES_MAX + 1)):
        with pytest.raises(InvalidArgument, match="a summary"):
            machine.summary()


def test_a_state_of_something_else_is_refused() -> None:
    line, full, counter = Turns(), DictMachine(), Counter()
    line.apply(ask(Ask((1, 7, 3))))
    full.apply(setting({"one": 1, "two": 2}))
    foreign = (counter.snapshot(), b"", b"\xc1")
    for snapshot in (DictMachine().snapshot(), full.snapshot(), *foreign):
        with pytest.raises(IncompatibleState, match="not the state of a lock or a leader"):
            line.restore(snapshot)
    for snapshot in (Turns().snapshot(), line.snapshot(), *foreign):
        with pytest.raises(IncompatibleState, match="not the state of a dictionary"):
            full.restore(snapshot)
    assert (line.line, dict(full.values).keys()) == ([(1, 7, 3)], {"one", "two"}), "nothing was taken over"


@pytest.mark.parametrize("name", ["on_status", "on_members"])
def test_a_callback_is_not_awaited_either(name: str) -> None:
    wrong: dict[str, Any] = {name: awaited}
    with pytest.raises(InvalidArgument, match=f"{name} is called and not awaited"):
        replica.aio.Replica(aio.Client("/nowhere"), "wrong", Counter(), **wrong)


def test_nor_is_that_of_a_building_block() -> None:
    wrong: Any = awaited
    with pytest.raises(InvalidArgument, match="on_change is called and not awaited"):
        replica.aio.ReplicatedDict(aio.Client("/nowhere"), "wrong", on_change=wrong)
    with pytest.raises(InvalidArgument, match="on_change is called and not awaited"):
        replica.aio.Leader(aio.Client("/nowhere"), "wrong", Available(), on_change=wrong)
