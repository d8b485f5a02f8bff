"""Examples of any message type, made from the type itself: a message that is added is fuzzed without further ado."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect


def encoded_examples(union: Any) -> Iterator[bytes]:
    """The msgpack form of examples of every type of *union*: its smallest one, and one with all that it may have."""
    members = typing.get_args(union) if isinstance(union, types.UnionType) else (union,)
    for member in members:
        for rich in (False, True):
            yield msgspec.msgpack.encode(_example(inspect.type_info(member), rich))


def _example(kind: inspect.Type, rich: bool) -> Any:
    match kind:
        case inspect.StructType():
            return _struct(kind, rich)
        case inspect.UnionType(types=choices):
            return _example(choices[0 if rich else -1], rich)
        case (
            inspect.VarTupleType(item_type=item, min_length=least) | inspect.ListType(item_type=item, min_length=least)
        ):
            return [_example(item, rich)] * max(least or 0, rich)
        case inspect.TupleType(item_types=items):
            return [_example(item, rich) for item in items]
        case inspect.NamedTupleType(fields=fields):
            return [_example(each.type, rich) for each in fields]
        case inspect.DictType(key_type=key, value_type=value):
            return {_example(key, rich): _example(value, rich)} if rich else {}
        case inspect.EnumType(cls=cls):
            return list(cls)[-1 if rich else 0].value
        case _:
            return _scalar(kind, rich)


def _struct(kind: inspect.StructType, rich: bool) -> Any:
    fields = [each for each in kind.fields if rich or each.required]
    values = {each.encode_name: _example(each.type, rich) for each in fields}
    if kind.array_like:
        return [*([] if kind.tag is None else [kind.tag]), *values.values()]
    return values if kind.tag is None else {kind.tag_field: kind.tag, **values}


def _scalar(kind: inspect.Type, rich: bool) -> Any:
    match kind:
        case inspect.IntType(ge=least, gt=above, le=most, lt=below):
            low = least if least is not None else 0 if above is None else above + 1
            return low if not rich else most if most is not None else low + 1 if below is None else below - 1
        case inspect.FloatType():
            return 1.5 if rich else 0.0
        case inspect.StrType(min_length=least):
            return "a" * max(least or 0, rich)
        case inspect.BytesType(min_length=least) | inspect.MemoryViewType(min_length=least):
            return b"a" * max(least or 0, rich)
        case inspect.BoolType():
            return rich
        case inspect.NoneType() | inspect.RawType() | inspect.AnyType():
            return None
        case _:
            raise AssertionError(f"no example of {kind}")
