"""docs/protocol-messages.md, rendered from the definitions: `python -m totemd.ipc.reference > docs/…`.

A test holds the committed page against what this module renders, so the page cannot say anything else than the code
that encodes and decodes.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args

import msgspec.inspect

from .errors import Status, to_exception
from .ids import GROUP_NAME_BYTES_MAX, MESSAGE_BYTES_LIMIT, MESSAGE_BYTES_MAX, Guarantee, Reason
from .messages import common, cpg

INTRODUCTION = """\
# Messages of the client protocol

*Made from the definitions by `python -m totemd.ipc.reference`: edit those, not this page.*

What each control frame of `cpg.sock` holds: a msgpack map with these fields, and `type`. A field with a default may be
left out; unknown fields are ignored. When to send what is told in [protocol](protocol.md).
"""

LIMITS = (
    ("protocol version", ".".join(map(str, common.PROTOCOL)), "`hello.protocol`, major and minor"),
    ("length in front of each message of a batch", f"{cpg.LENGTH_BYTES} bytes", "unsigned, little endian"),
    ("group name", f"1 to {GROUP_NAME_BYTES_MAX} bytes", "compared byte by byte"),
    ("message", f"{MESSAGE_BYTES_MAX} bytes", "unless configured; see `limits`"),
    ("message, at the most", f"{MESSAGE_BYTES_LIMIT} bytes", "whatever is configured"),
    ("message of a `say`", f"{cpg.SAY_BYTES_MAX} bytes", "a longer one is an `mcast`"),
    ("batch of several messages", f"{cpg.BATCH_BYTES_ASSURED} bytes", "lengths included; see `limits`"),
    ("batch of several messages, at the most", f"{cpg.BATCH_BYTES_MAX} bytes", "of `limits.batch_bytes`"),
    ("payload frames of an `mcast`", f"1 to {cpg.BATCH_FRAMES_MAX}", "one after the other they are the batch"),
    ("cost of a batch besides its bytes", f"{cpg.BATCH_COST_BYTES} bytes", "of credit; a `say` is a batch of one"),
    ("credit of the welcome", f"{cpg.CLIENT_CREDIT_BYTES} bytes", "more where longer messages are configured"),
    ("members on a page of `groups`", f"{cpg.LOOKUP_MEMBERS}", "from which on the page ends with the group"),
    ("heartbeat", f"every {common.HEARTBEAT_SECONDS:g} s", "of a client that the service's kernel does not show"),
    ("silence", f"{common.HEARTBEAT_DEADLINE_SECONDS:g} s", "after which such a client counts as gone"),
)

_WORDS: dict[type[enum.Enum], str] = {Status: "str, a status", Reason: "int, a reason", Guarantee: "int, a guarantee"}
_POWERS = {2**bits - 1: f"2^{bits} - 1" for bits in (32, 63)}

BOTH = (common.Goodbye, common.Heartbeat)
TO_SERVICE = (common.Hello, *get_args(cpg.FROM_CLIENT), *BOTH)
TO_CLIENT = (common.Welcome, common.Refused, common.Unwelcome, *get_args(cpg.TO_CLIENT), common.Goodbye)

_TYPES = {each.__name__: str(each.__struct_config__.tag) for each in (*TO_SERVICE, *TO_CLIENT)}
"""What the definitions are called in the text of others, and on the wire."""


def render() -> str:
    """The page."""
    return "\n".join(_lines())


def fields(message: type[msgspec.Struct]) -> dict[str, tuple[str, str]]:
    """The fields of a message as they travel: name, msgpack type with its bounds, and default."""
    described = msgspec.inspect.type_info(message)
    assert isinstance(described, msgspec.inspect.StructType)
    return {each.encode_name: (_describe(each.type), _default(each)) for each in described.fields}


def name_of(message: type[msgspec.Struct]) -> str:
    """What `type` says."""
    return str(message.__struct_config__.tag)


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    yield from _table(("what", "limit", ""), LIMITS)
    for title, messages in (("From a client", TO_SERVICE), ("From the service", TO_CLIENT)):
        yield from ("", f"## {title}", "")
        for message in messages:
            yield from _section(message)
    yield from ("## Numbers and words", "")
    for kind, title in ((Reason, "reason"), (Guarantee, "guarantee")):
        yield from _table((title, ""), ((f"{each.value}", each.name.lower().replace("_", " ")) for each in kind))
        yield ""
    yield from _table(("status", "", "in Python"), map(_status, Status))
    yield ""


def _section(message: type[msgspec.Struct]) -> Iterator[str]:
    yield from (f"### `{name_of(message)}`", "", _first_paragraph(message), "")
    if rows := [(f"`{name}`", kind, default) for name, (kind, default) in fields(message).items()]:
        yield from _table(("field", "msgpack", "default"), rows)
        yield ""


def _status(status: Status) -> tuple[str, str, str]:
    if status is Status.OK:
        return f"`{status}`", "it was done; no failure has it", ""
    error = type(to_exception(status, ""))
    return f"`{status}`", _first_paragraph(error).split(". ")[0].rstrip("."), f"`{error.__name__}`"


def _first_paragraph(thing: type) -> str:
    text = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return re.sub(r"`(\w+)`", lambda word: f"`{_TYPES.get(word[1], word[1])}`", text)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "| " + " | ".join("---" for _ in head) + " |"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _default(field: msgspec.inspect.Field) -> str:
    if field.default is msgspec.NODEFAULT:
        return ""
    if isinstance(field.default, bytes | tuple | str) and not field.default:
        return "empty"
    if isinstance(field.default, enum.Enum):
        return str(field.default.value)
    if isinstance(field.default, tuple):
        return f"[{', '.join(map(str, field.default))}]"
    return "nil" if field.default is None else str(field.default).lower()


def _describe(kind: msgspec.inspect.Type) -> str:
    match kind:
        case msgspec.inspect.Metadata(type=inner):
            return _describe(inner)
        case msgspec.inspect.IntType(ge=low, le=high):
            return "int" + _bounds(low, high, "")
        case msgspec.inspect.BytesType(min_length=low, max_length=high):
            return "bin" + _bounds(low, high, " bytes")
        case msgspec.inspect.StrType():
            return "str"
        case msgspec.inspect.BoolType():
            return "bool"
        case msgspec.inspect.NoneType():
            return "nil"
        case msgspec.inspect.EnumType(cls=members):
            return _WORDS.get(members) or "str: " + ", ".join(f"`{each.value}`" for each in members)
        case msgspec.inspect.TupleType(item_types=items):
            return "[" + ", ".join(map(_describe, items)) + "]"
        case msgspec.inspect.VarTupleType(item_type=item):
            return f"[{_describe(item)} …]"
        case msgspec.inspect.StructType(fields=inner, array_like=True):
            return "[" + ", ".join(f"{each.name} {_describe(each.type)}" for each in inner) + "]"
        case msgspec.inspect.UnionType(types=several):
            return " or ".join(map(_describe, sorted(several, key=_is_nil)))
    raise TypeError(f"no words for {kind}")


def _is_nil(kind: Any) -> bool:
    return isinstance(kind, msgspec.inspect.NoneType)


def _bounds(low: int | None, high: int | None, unit: str) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f" ({low} or more{unit})"
    return f" ({low or 0} to {_POWERS.get(high, high)}{unit})"


if __name__ == "__main__":
    print(render(), end="")
