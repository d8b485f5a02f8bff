"""docs/sam-tables.md, rendered from the tables and the definitions: `python -m totemd.sam.reference > docs/…`.

A test holds the committed page against what this module renders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_args

import msgspec

from ..ipc.messages.sam_app import FROM_APP, TO_APP
from ..ipc.reference import fields, name_of
from .calls import CALLS, refuse
from .life import Stage
from .machine import EXPIRIES, REACTIONS, STATES
from .reactions import ignore

INTRODUCTION = """\
# SAM's tables

*Made from the code by `python -m totemd.sam.reference`: edit that, not this page.*

What each event means for an application, state by state; what an application may say, stage by stage; and what its
messages hold. What they are for is told in [sam](sam.md).
"""

EVENTS = """
## What happens to an application

The cells name the reactions of `sam/reactions.py`. In states that a row does not name, the event changes nothing.

| event | reaction: in the states |
| --- | --- |"""

DEADLINES = """
| deadline | reaction: in the states |
| --- | --- |"""

SPEECH = """
## What an application may say

The stages are those of one instance; each begins unregistered. In stages that a row does not name the message is
refused with `wrong-state`. The reactions are those of `sam/calls.py`.

| message | reaction: in the stages |
| --- | --- |"""

MESSAGES = """
## Messages between an application and its sam-run

Each is a msgpack map with these fields, and `type`. A field with a default may be left out; unknown fields are ignored.
"""


def render() -> str:
    """The page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield INTRODUCTION.rstrip()
    yield EVENTS
    for event in dict.fromkeys(kind for _, kind in REACTIONS):
        yield _row(event.__name__, {state.value: REACTIONS[state, event] for state in STATES}, ignore)
    yield DEADLINES
    for timer in dict.fromkeys(kind for _, kind in EXPIRIES):
        yield _row(timer.value, {state.value: EXPIRIES[state, timer] for state in STATES}, ignore)
    yield SPEECH
    for message in dict.fromkeys(kind for _, kind in CALLS):
        yield _row(f"`{name_of(message)}`", {stage.value: CALLS[stage, message] for stage in Stage}, refuse)
    yield MESSAGES.rstrip()
    for title, messages in (("From an application", FROM_APP), ("From sam-run", TO_APP)):
        yield from ("", f"### {title}")
        for message in get_args(messages):
            yield from _message(message)


def _row(name: str, reactions: Mapping[str, Callable[..., None]], nothing: Callable[..., None]) -> str:
    where: dict[Callable[..., None], list[str]] = {}
    for state, reaction in reactions.items():
        if reaction is not nothing:
            where.setdefault(reaction, []).append(state)
    cells = (f"*{reaction.__name__.replace('_', ' ')}*: {', '.join(states)}" for reaction, states in where.items())
    return f"| {name} | {'; '.join(cells) or 'none'} |"


def _message(message: type[msgspec.Struct]) -> Iterable[str]:
    text = " ".join((message.__doc__ or "").split())
    names: dict[str, str] = {each.__name__: name_of(each) for each in (*get_args(FROM_APP), *get_args(TO_APP))}
    for name, tag in names.items():
        text = text.replace(f"`{name}`", f"`{tag}`")
    yield from ("", f"`{name_of(message)}`: {text.replace('`Done`', '`done`')}")
    described: dict[str, Any] = fields(message)
    if described:
        yield from ("", "| field | type | default |", "| --- | --- | --- |")
        yield from (f"| `{name}` | {kind} | {default} |" for name, (kind, default) in described.items())


if __name__ == "__main__":
    print(render(), end="")
