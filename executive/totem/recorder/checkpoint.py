"""The core's state as bytes, and back: where the replay of a recording that forgot its beginning can start.

Generic over the core's own classes: fields that are added to them need nothing here.  Reading is not pickle: it makes
objects of these classes and of no other, calls no code of theirs, and sets only fields that they have.
"""

from __future__ import annotations

import enum
import pkgutil
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from operator import attrgetter
from types import MemberDescriptorType, ModuleType
from typing import Any, Final

import msgspec

from ....ipc import ids
from ....ipc.errors import MalformedMessage
from ....ipc.messages import stream
from ....ipc.strict import UNDECODABLE
from .. import core
from ..core.context import RingContext
from ..wire import packets
from ..wire.packets import Mcast
from .blanks import BlankFrame, blank_frame, filled_frame, zeros

STATE_MODULES: Final[tuple[ModuleType, ...]] = (
    *(import_module(f"{core.__name__}.{each.name}") for each in pkgutil.iter_modules(core.__path__)),
    packets,
    ids,
)
"""Where the classes of the core's state are: the core itself, and what it speaks about.  No recording holds others."""

DEPTH_MAX: Final = 32
"""Objects within objects; the core's state has about ten."""


def _own_classes() -> dict[str, type]:
    found = {
        each.__name__: each
        for module in STATE_MODULES
        for each in vars(module).values()
        if isinstance(each, type) and each.__module__ == module.__name__
    }
    return found | {"Lane": stream.Lane}


CLASSES: Final = _own_classes()
"""The allow-list, by name."""

_ENUMS: Final = {name: each for name, each in CLASSES.items() if issubclass(each, enum.Enum)}
_STRUCTS: Final = {name: each for name, each in CLASSES.items() if issubclass(each, msgspec.Struct)}
_OBJECTS: Final = {name: each for name, each in CLASSES.items() if name not in _ENUMS and name not in _STRUCTS}
_ENCODER: Final = msgspec.msgpack.Encoder()
_PLAIN: Final = frozenset({bool, int, float, str, type(None)})
_SEQUENCES: Final[dict[type, str]] = {list: "l", tuple: "t", deque: "q"}
_MAPPINGS: Final[dict[type, str]] = {dict: "d", Counter: "c"}


def _known(kind: type) -> str:
    """The name of a class on the list.

    Raises:
        TypeError: it is not.
    """
    if CLASSES.get(kind.__name__) is not kind:
        raise TypeError(f"{kind.__module__}.{kind.__qualname__} is not among the classes of the core's state")
    return kind.__name__


class Encoder:
    """Values of the core as nested lists; the names of fields are written once for each class."""

    def __init__(self) -> None:
        self._classes: dict[type, tuple[int, Callable[[Any], tuple[Any, ...]]]] = {}
        self._table: list[tuple[str, tuple[str, ...]]] = []

    def encode(self, value: object) -> bytes:
        """The bytes of *value* and of everything that it refers to.

        Raises:
            TypeError: something in it is of a class that no recording may hold; that is a bug of ours.
        """
        coded = self._coded(value)
        return _ENCODER.encode((self._table, coded))

    def _coded(self, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind in _SEQUENCES:
            return [_SEQUENCES[kind], *map(self._coded, value)]
        if kind in _MAPPINGS:
            return [_MAPPINGS[kind], *(self._coded(each) for item in value.items() for each in item)]
        if kind is Mcast:
            return ["m", blank_frame(value)]
        if isinstance(value, msgspec.Struct):
            return ["p", _known(kind), value]
        if kind in (set, frozenset):
            return ["s" if kind is set else "f", *map(self._coded, sorted(value))]
        if kind in (bytes, memoryview):
            return ["z", len(value)]
        if isinstance(value, enum.Enum):
            return ["e", _known(kind), value.value]
        if callable(value):
            return ["j"]
        number, read = self._classes.get(kind) or self._learn(value)
        return ["o", number, *map(self._coded, read(value))]

    def _learn(self, value: Any) -> tuple[int, Callable[[Any], tuple[Any, ...]]]:
        kind = type(value)
        names = _field_names(kind) or (*_slots(kind), *getattr(value, "__dict__", ()))
        self._table.append((_known(kind), names))
        read = attrgetter(*names) if len(names) > 1 else lambda each: tuple(getattr(each, name) for name in names)
        known = len(self._table) - 1, read
        self._classes[kind] = known
        return known


class _Decoder:
    """The other way.  Everything that can be wrong with the bytes is a `MalformedMessage`."""

    def __init__(self, table: list[tuple[str, tuple[str, ...]]], jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._classes = [self._checked(name, names) for name, names in table]

    @staticmethod
    def _checked(name: str, names: tuple[str, ...]) -> tuple[type, tuple[str, ...]]:
        kind = _OBJECTS.get(name)
        if kind is None:
            raise MalformedMessage(f"recording: {name[:40]!r} is no class of the core's state")
        for field in names:
            if not _is_field(kind, field):
                raise MalformedMessage(f"recording: {name} has no field {field[:40]!r} in this version")
        return kind, names

    def value(self, coded: Any, depth: int = 0) -> Any:
        """What *coded* stands for."""
        if not isinstance(coded, list):
            if type(coded) not in _PLAIN:
                raise MalformedMessage("recording: a value that is none of the core's")
            return coded
        if depth > DEPTH_MAX or not coded:
            raise MalformedMessage("recording: the state is nested too deeply, or empty")
        tag, rest = coded[0], coded[1:]
        match tag:
            case "o":
                return self._object(rest, depth)
            case "l" | "t" | "q" | "s" | "f":
                kinds = {"l": list, "t": tuple, "q": deque, "s": set, "f": frozenset}
                return kinds[tag](self.value(each, depth + 1) for each in rest)
            case "d" | "c":
                return self._mapping(tag, rest, depth)
            case "m" if len(rest) == 1:
                return filled_frame(msgspec.convert(rest[0], BlankFrame))
            case "z" if len(rest) == 1 and isinstance(rest[0], int):
                return zeros(rest[0])
            case "p" if len(rest) == 2 and rest[0] in _STRUCTS:
                return msgspec.convert(rest[1], _STRUCTS[rest[0]])
            case "e" if len(rest) == 2 and rest[0] in _ENUMS:
                return _ENUMS[rest[0]](rest[1])
            case "j":
                return self._jitter
        raise MalformedMessage("recording: a value that is none of the core's")

    def _mapping(self, tag: str, rest: list[Any], depth: int) -> dict[Any, Any]:
        values = [self.value(each, depth + 1) for each in rest]
        pairs = dict(zip(values[::2], values[1::2], strict=True))
        return pairs if tag == "d" else Counter(pairs)

    def _object(self, rest: list[Any], depth: int) -> Any:
        if not rest or type(rest[0]) is not int or not 0 <= rest[0] < len(self._classes):
            raise MalformedMessage("recording: an object of an unnamed class")
        kind, names = self._classes[rest[0]]
        values = [self.value(each, depth + 1) for each in rest[1:]]
        if len(values) != len(names):
            raise MalformedMessage(f"recording: a {kind.__name__} with {len(values)} of {len(names)} fields")
        given = dict(zip(names, values, strict=True))
        made: Any = object.__new__(kind)
        for name, value in (_defaults(kind, given) | given).items():
            object.__setattr__(made, name, value)
        return made


def _field_names(kind: type) -> tuple[str, ...]:
    """The declared fields of a class; empty for one that only its constructor knows."""
    return tuple(each.name for each in fields(kind)) if is_dataclass(kind) else ()


def _slots(kind: type) -> tuple[str, ...]:
    """Fields that a class without dataclass has by its slots."""
    return tuple(
        name
        for each in reversed(kind.__mro__)
        for name, member in vars(each).items()
        if isinstance(member, MemberDescriptorType)
    )


def _is_field(kind: type, name: str) -> bool:
    declared = _field_names(kind)
    if declared:
        return name in declared
    if not name.isidentifier() or name.startswith("__"):
        return False
    if name in _slots(kind):
        return True
    # What the class itself defines (methods, properties) must not be hidden by something from a file.
    return kind.__dictoffset__ != 0 and not hasattr(kind, name)


def _defaults(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    """Values of fields that the recording's version did not have yet."""
    found: dict[str, Any] = {}
    for each in fields(kind) if is_dataclass(kind) else ():
        if each.name in given:
            continue
        if each.default_factory is not MISSING:
            found[each.name] = each.default_factory()
        elif each.default is not MISSING:
            found[each.name] = each.default
        else:
            raise MalformedMessage(f"recording: {kind.__name__} lacks {each.name}, which this version needs")
    return found


def encode_state(state: RingContext) -> bytes:
    """A checkpoint of the core between two inputs."""
    return Encoder().encode(state)


def encode_value(value: object) -> bytes:
    """One argument of an input, by the same rules."""
    return Encoder().encode(value)


def decode_value(data: bytes | memoryview, jitter: Callable[[], float]) -> Any:
    """What `encode_value` was given, with zeros for users' bytes; *jitter* stands where the core's source was.

    Raises:
        MalformedMessage: the bytes are no value of the core.  Nothing else is ever raised.
    """
    try:
        table, coded = msgspec.msgpack.decode(data, type=tuple[list[tuple[str, tuple[str, ...]]], Any])
        return _Decoder(table, jitter).value(coded)
    except MalformedMessage:
        raise
    except (*UNDECODABLE, ValueError, TypeError) as error:
        raise MalformedMessage(f"recording: {error}") from None


def decode_state(data: bytes | memoryview, jitter: Callable[[], float]) -> RingContext:
    """The state in a checkpoint.

    Raises:
        MalformedMessage: there is none.
    """
    state = decode_value(data, jitter)
    if not isinstance(state, RingContext):
        raise MalformedMessage(f"recording: a checkpoint of a {type(state).__name__}")
    return state
