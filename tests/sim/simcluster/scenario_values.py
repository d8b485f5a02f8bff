"""The values of a scenario file: options, and faults written as `Crash(nodes=(2,), downtimes=(0.4,))`."""

from __future__ import annotations

import ast
import sys
import types
from dataclasses import MISSING, fields, is_dataclass
from math import inf
from typing import Any, Union, get_args, get_origin, get_type_hints

from simcluster import faults
from simcluster.faults import Fault

FAULTS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Fault)}
"""By name: what can go wrong."""

SHOWN_MAX = 200
"""Characters of a text that an error repeats."""


UNREADABLE = (SyntaxError, ValueError, TypeError, MemoryError, RecursionError)
"""What Python's parser raises for texts that are none, among them those that are nested too deeply."""


class InvalidValue(Exception):
    """The text is no value of the kind that is wanted; the message says which would be."""


def option(text: str, like: Any) -> Any:
    """The value that *text* means for an option whose value is of the type of *like*.

    Raises:
        InvalidValue: it means none.
    """
    if isinstance(like, str):
        return text
    if isinstance(like, bool):
        if text not in {"yes", "no"}:
            raise InvalidValue(f"'{text}' is neither yes nor no")
        return text == "yes"
    try:
        value = ast.literal_eval(text)
    except UNREADABLE:
        value = MISSING
    kind = float if isinstance(like, float) and type(value) is int else type(like)
    if not isinstance(value, (int, float)) if isinstance(like, float) else type(value) is not type(like):
        raise InvalidValue(f"'{text}' is not of the kind of {like!r}")
    return kind(value)


def option_text(value: Any) -> str:
    """What `option` reads as *value*; without blanks."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else repr(value).replace(" ", "")


def parse_fault(text: str) -> Fault:
    """A fault in the words of its class.

    Raises:
        InvalidValue: it is none, or one of its fields is missing, unknown or of another type.
    """
    try:
        value = _value(ast.parse(text, mode="eval").body)
    except UNREADABLE as error:
        why = error.msg if isinstance(error, SyntaxError) else str(error) or "nested too deeply"
        shown = text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"
        raise InvalidValue(f"'{shown}': {why}; expected: at TIME submit … or at TIME FAULT(FIELD=VALUE, …)") from None
    if not is_dataclass(value):
        raise InvalidValue(f"'{text}' is no fault; there are {', '.join(sorted(FAULTS))}")
    return value  # type: ignore[return-value]  # `_value` makes dataclasses of FAULTS only


def _value(tree: ast.expr) -> object:
    match tree:
        case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords):
            given = [str(each.arg) for each in keywords]
            if twice := [each for each in given if given.count(each) > 1]:
                raise InvalidValue(f"{name}: {twice[0]} is given twice")
            return _fault(name, {str(each.arg): _value(each.value) for each in keywords})
        case ast.Tuple(elts=elements):
            return tuple(_value(element) for element in elements)
        case ast.Constant(value=bool() | int() | float() | str() as constant):
            return constant
        case ast.Name(id="inf"):
            return inf
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as constant)):
            return -constant
    raise InvalidValue(f"'{ast.unparse(tree)}' is neither a number, a text, a tuple, nor FAULT(FIELD=VALUE, …)")


def _fault(name: str, given: dict[str, object]) -> object:
    kind = FAULTS.get(name)
    if kind is None:
        raise InvalidValue(f"no fault is called '{name}'; there are {', '.join(sorted(FAULTS))}")
    hints = get_type_hints(kind, {**vars(sys.modules[kind.__module__]), **vars(faults)})
    names = [each.name for each in fields(kind)]
    for unknown in given.keys() - set(names):
        raise InvalidValue(f"{name} has no '{unknown}'; it has {', '.join(names)}")
    for each in fields(kind):
        if each.name not in given:
            if each.default is MISSING and each.default_factory is MISSING:
                raise InvalidValue(f"{name} needs {each.name}; its fields are {', '.join(names)}")
        elif not _fits(given[each.name], hints[each.name]):
            raise InvalidValue(f"{name}: {given[each.name]!r} is no {each.name}, which is {each.type}")
    return kind(**given)


def _fits(value: object, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is tuple:
        kinds = get_args(hint)
        if not isinstance(value, tuple):
            return False
        if len(kinds) == 2 and kinds[1] is Ellipsis:
            return all(_fits(each, kinds[0]) for each in value)
        return len(value) == len(kinds) and all(_fits(each, kind) for each, kind in zip(value, kinds, strict=True))
    if origin in {Union, types.UnionType}:
        return any(_fits(value, kind) for kind in get_args(hint))
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, hint) and isinstance(value, bool) is (hint is bool)


def fault_text(fault: object) -> str:
    """What `parse_fault` reads as this fault; fields that have their default are left out."""
    if isinstance(fault, tuple):
        inner = ", ".join(fault_text(each) for each in fault)
        return f"({inner},)" if len(fault) == 1 else f"({inner})"
    if not is_dataclass(fault):
        return repr(fault)
    said = [
        (each.name, getattr(fault, each.name)) for each in fields(fault) if getattr(fault, each.name) != each.default
    ]
    return f"{type(fault).__name__}({', '.join(f'{name}={fault_text(value)}' for name, value in said)})"
