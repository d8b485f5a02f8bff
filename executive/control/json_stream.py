"""One JSON document with a list that is longer than memory should have to hold."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

_INDENT = "  "


def streamed_object(
    before: Mapping[str, Any], name: str, items: Iterable[Any], after: Callable[[], Mapping[str, Any]]
) -> Iterator[str]:
    """The text of `json.dumps({**before, name: [*items], **after()}, indent=2)`, in pieces, an item at a time.

    *after* is called behind the last item.  Where *items* raises, the text ends: what came is no whole document, so no
    program takes it for one.
    """
    yield "{"
    separator = "\n"
    for key, value in before.items():
        yield f"{separator}{_member(key, value)}"
        separator = ",\n"
    yield f"{separator}{_INDENT}{json.dumps(name)}: ["
    separator = "\n"
    for item in items:
        yield separator + textwrap.indent(json.dumps(item, indent=2), 2 * _INDENT)
        separator = ",\n"
    yield "]" if separator == "\n" else f"\n{_INDENT}]"
    for key, value in after().items():
        yield f",\n{_member(key, value)}"
    yield "\n}\n"


def _member(key: str, value: Any) -> str:
    return textwrap.indent(f"{json.dumps(key)}: {json.dumps(value, indent=2)}", _INDENT)
