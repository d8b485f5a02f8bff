"""What replicas say to each other, and what their state machines make of commands and snapshots of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fuzzkit.examples import encoded_examples
from fuzzkit.target import MSGPACK_BOMBS, Target, join_chunks, split_chunks
from totemd.ipc.errors import MalformedMessage, TotemdError
from totemd.ipc.ids import Address
from totemd.ipc.strict import UNDECODABLE
from totemd.services.replica import mapping, messages, turns
from totemd.services.replica.errors import Rejected

REFUSED = (Rejected, TotemdError, RecursionError)
"""What a command may raise.  Of nesting that is too deep, replicas that differ in their calls would think differently:
it ends the one that cannot follow (see `DictMachine`)."""

UNUSABLE = (*REFUSED, *UNDECODABLE)
"""What a snapshot may raise: it ends the replica that asked for it, with whatever there is to say about it."""

ONE, TWO = (1, 10, 5), (2, 20, 2**62 - 1)

Machine = mapping.DictMachine | turns.Turns


def _check_message(data: bytes) -> bool:
    try:
        said = messages.decode(data)
    except MalformedMessage:
        return False
    assert messages.decode(messages.encode(said)) == said
    return True


def _applied(machine: Machine, command: bytes) -> str | None:
    """What came of it, as text, in which NaN equals itself; None: refused."""
    try:
        return repr(machine.apply(command))
    except REFUSED:
        return None


def _commands_check(make: Callable[[], Machine], look: Callable[[Any], object]) -> Callable[[bytes], bool]:
    def check(data: bytes) -> bool:
        """Two replicas do the same; what they refuse changes nothing; whoever joins gets what they have."""
        one, two, applied, refused = make(), make(), 0, 0
        for command in split_chunks(data):
            before = one.snapshot()
            outcome = _applied(one, command)
            assert outcome == _applied(two, command)
            assert outcome is not None or one.snapshot() == before
            look(one)
            applied, refused = applied + (outcome is not None), refused + (outcome is None)
        joined = make()
        joined.restore(one.snapshot())
        assert joined.snapshot() == one.snapshot() == two.snapshot()
        return applied > 0 and refused == 0

    return check


def _check_snapshot(data: bytes) -> bool:
    """First byte: of which machine."""
    made: tuple[Machine, Machine] = (mapping.DictMachine(), turns.Turns())
    machine = made[data[0] % 2 if data else 0]
    before = machine.snapshot()
    try:
        machine.restore(data[1:])
    except UNUSABLE:
        assert machine.snapshot() == before
        return False
    kept = machine.snapshot()
    machine.restore(kept)
    assert machine.snapshot() == kept
    return True


def _read_all(machine: mapping.DictMachine) -> None:
    for key in machine.values:
        assert machine.get(key) is not mapping.MISSING


def _walk(line: turns.Turns) -> None:
    for entry in (*line.line, ONE):
        assert turns.next_step(line, entry, active=True) in turns.Step
    assert turns.strays(line, Address(*ONE[:2]), None) == [each for each in line.line if each[:2] == ONE[:2]]


def _dictionary_commands() -> Iterator[bytes]:
    raw, encode = mapping.raw, mapping.encode
    value = {"list": [1, -1.5, None, True, b"bytes"], "text": "\N{SNOWMAN}", 7: 2**63}
    yield join_chunks([encode(mapping.Set({"a": raw(value), 1: raw(1)})), encode(mapping.Clear())])
    yield join_chunks(
        [
            encode(mapping.Add("n", 2**63)),
            encode(mapping.Add("n", 0.5)),
            encode(mapping.Replace("n", None, b"\x01")),
            encode(mapping.Replace("m", None, b"\x01")),
            encode(mapping.Replace("m", b"\x01", b"\x92\x01\x02")),
            encode(mapping.Replace("m", b"\xdc\x00\x02\x01\x02", None)),
            encode(mapping.Delete("n")),
            encode(mapping.Delete("nowhere")),
        ]
    )


def _line_commands() -> Iterator[bytes]:
    said = (turns.Ask(ONE), turns.Ask(TWO, turns.FENCE_MAX), turns.Ask(ONE), turns.Yield(ONE), turns.Yield(ONE))
    yield join_chunks(map(turns.encode, said))


def _snapshots() -> Iterator[bytes]:
    dictionary, line = mapping.DictMachine(), turns.Turns()
    yield b"\x00" + dictionary.snapshot()
    yield b"\x01" + line.snapshot()
    dictionary.apply(mapping.encode(mapping.Set({"a": mapping.raw([1]), 1: mapping.raw(None)})))
    line.apply(turns.encode(turns.Ask(ONE)))
    line.apply(turns.encode(turns.Ask(TWO)))
    yield b"\x00" + dictionary.snapshot()
    yield b"\x01" + line.snapshot()


TARGETS = (
    Target("replica-group", _check_message, lambda: encoded_examples(messages.Said), MSGPACK_BOMBS),
    Target("replica-dictionary", _commands_check(mapping.DictMachine, _read_all), _dictionary_commands, MSGPACK_BOMBS),
    Target("replica-line", _commands_check(turns.Turns, _walk), _line_commands, MSGPACK_BOMBS),
    Target("replica-snapshot", _check_snapshot, _snapshots, MSGPACK_BOMBS),
)
