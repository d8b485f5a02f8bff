"""The state machine of a replicated dictionary, and what can be read of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from ...ipc.errors import InvalidArgument
from .errors import Rejected
from .machine import read_state, require_plain

Key = str | int
T = TypeVar("T")

MISSING: Final = type("Missing", (), {"__repr__": lambda self: "MISSING"})()
"""Stands for no value, in changes and comparisons."""

OnChange = Callable[[Key, Any], None]
"""Called with a key and its new value, or MISSING."""


class Set(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Give keys these values; all or none."""

    items: dict[Key, msgspec.Raw]


class Delete(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Take a key out; returns whether it was there, and its value."""

    key: Key


class Clear(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Take all keys out."""


class Replace(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Give a key a value, if the present one is as expected; both as msgpack, and None stands for none.

    Returns whether it was, and the value before.
    """

    key: Key
    expected: bytes | None
    value: bytes | None


class Add(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Add to a number; a key without a value counts as 0.  Returns the sum."""

    key: Key
    amount: int | float


NESTING_MAX: Final = 64
"""Lists and dictionaries inside each other.  How many a decoder takes depends on how deep the program's own calls are,
and so would differ between replicas."""

NUMBERS: Final = range(-(2**63), 2**64)
"""The whole numbers that msgpack holds."""

WHOLE_NUMBER: Final = f"a whole number from {NUMBERS.start} to {NUMBERS.stop - 1}"
"""What error texts call one of them."""

TEXT: Final = "text that can be written as UTF-8"
"""What they call a `str` without halves of surrogate pairs."""

_ENCODER = msgspec.msgpack.Encoder()
_COMMANDS = msgspec.msgpack.Decoder(Set | Delete | Clear | Replace | Add)
_VALUES = msgspec.msgpack.Decoder()
_SNAPSHOT = msgspec.msgpack.Decoder(list[tuple[Key, bytes]])
encode = _ENCODER.encode


def raw(value: Any) -> msgspec.Raw:
    """A value as it travels.

    Raises:
        TypeError: of a class that msgpack has nothing for.
        InvalidArgument: nested too deeply, a number or text that msgpack cannot hold, or something that cannot be
            read back.
    """
    try:
        encoded = _ENCODER.encode(value)
        is_too_deep = _nesting(_VALUES.decode(encoded)) > NESTING_MAX
    except RecursionError:
        is_too_deep = True
    except (OverflowError, UnicodeEncodeError) as error:
        what = f"None, a bool, {WHOLE_NUMBER}, a float, {TEXT}, bytes, or lists and dictionaries of these"
        raise InvalidArgument(f"a value is {what}: {error}") from None
    except msgspec.MsgspecError as error:
        raise InvalidArgument(f"what is written of the value cannot be read back: {error}") from None
    if is_too_deep:
        raise InvalidArgument(f"a value has at most {NESTING_MAX} lists and dictionaries inside each other")
    return msgspec.Raw(encoded)


def _nesting(value: Any) -> int:
    """How many lists and dictionaries are inside each other."""
    depth, level = 0, _containers((value,))
    while level:
        depth, level = depth + 1, [inner for each in level for inner in _containers(_contents(each))]
    return depth


def _containers(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, list | tuple | dict)]


def _contents(container: Any) -> Iterable[Any]:
    return (*container.keys(), *container.values()) if isinstance(container, dict) else container


def _read(decoder: msgspec.msgpack.Decoder[T], data: bytes, what: str) -> T:
    """What *data* says; Rejected if it is nothing of that kind, which all replicas find alike.

    A RecursionError they would not: that one gets through, and ends this replica before it can differ.
    """
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Rejected(f"{what}: {error}") from None


class DictMachine:
    """A dictionary whose values are kept as msgpack, so that nobody can change one in place on one replica only."""

    snapshot_format = 1

    def __init__(self, on_change: OnChange | None = None) -> None:
        require_plain("on_change", on_change)
        self.values: dict[Key, bytes] = {}
        self._on_change = on_change

    def apply(self, command: bytes) -> Any:
        """Carry out one of the commands above."""
        said = _read(_COMMANDS, command, "not a command for a dictionary")
        for value in _new_values(said):
            _read(_VALUES, value, "not a value for a dictionary")
        match said:
            case Set(items):
                for key, value in items.items():
                    self._put(key, bytes(value))
            case Delete(key):
                before = self.get(key)
                self._put(key, None)
                return before
            case Clear():
                for key in list(self.values):
                    self._put(key, None)
            case Replace(key, expected, replacement):
                before, present = self.get(key), self.values.get(key)
                # Equal bytes, or equal values: the same dictionary may have been written in another order.
                is_expected = present == expected
                if expected is not None and not is_expected:
                    is_expected = bool(before == _read(_VALUES, expected, "not a value to expect"))
                if is_expected:
                    self._put(key, replacement)
                return is_expected, before
            case Add(key, amount):
                return self._add(key, amount)
        return None

    def snapshot(self) -> bytes:
        """All items, in their order."""
        return _ENCODER.encode(list(self.values.items()))

    def restore(self, snapshot: bytes) -> None:
        """Take the items over; differences are told as changes.

        Raises:
            IncompatibleState: these are no items of a dictionary.
        """
        items = read_state(_SNAPSHOT, snapshot, "dictionary")
        before, self.values = self.values, dict(items)
        if self._on_change is not None:
            for key in [*(key for key in before if key not in self.values), *self.values]:
                if before.get(key) != self.values.get(key):
                    self._on_change(key, self.get(key))

    def get(self, key: Key) -> Any:
        """The value, or MISSING."""
        value = self.values.get(key)
        return MISSING if value is None else _VALUES.decode(value)

    def _add(self, key: Key, amount: int | float) -> int | float:
        present = 0 if key not in self.values else self.get(key)
        if isinstance(present, bool) or not isinstance(present, int | float):
            raise Rejected(f"{key!r} is no number, and nothing can be added to it")
        total = present + amount
        if isinstance(total, int) and total not in NUMBERS:
            raise Rejected(f"{key!r} would be {total}, which msgpack cannot hold")
        self._put(key, _ENCODER.encode(total))
        return total

    def _put(self, key: Key, value: bytes | None) -> None:
        before = self.values.pop(key, None) if value is None else self.values.get(key)
        if value is not None:
            self.values[key] = value
        if self._on_change is not None and (before is not None or value is not None):
            self._on_change(key, self.get(key))


def _new_values(said: Set | Delete | Clear | Replace | Add) -> list[bytes]:
    match said:
        case Set(items):
            return [bytes(value) for value in items.values()]
        case Replace(_, _, bytes(value)):
            return [value]
    return []


class DictView(Mapping[Key, Any]):
    """The local copy, for reading: what was applied here so far."""

    _machine: DictMachine

    def __getitem__(self, key: Key) -> Any:
        value = self._machine.get(key)
        if value is MISSING:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[Key]:
        return iter(list(self._machine.values))

    def __len__(self) -> int:
        return len(self._machine.values)
