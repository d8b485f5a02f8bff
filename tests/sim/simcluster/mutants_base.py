"""What a mutant is: the protocol with one mistake in it, for the length of a `with` block.

Most mistakes are *edits*: a few words of one function, replaced by others.  The text must be there exactly once, so a
mutant that a change of the protocol has outrun says so instead of testing nothing.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest.mock import patch

from simcluster import cluster
from totemd.executive.totem.core import reactions

CORE = "totemd.executive.totem.core."

EVENTS_MAX = 150_000
"""Of one run of a mutant, many times what a sound run has: some mistakes make nodes talk without end."""


class Outrun(Exception):
    """The protocol has changed: the text that a mutant replaces is no longer there, or there more than once."""


@dataclass(frozen=True)
class Edit:
    """Other words in one function or method."""

    where: Callable[..., Any]
    old: str
    new: str
    also: tuple[tuple[str, str], ...] = ()
    """More (old, new) for the same function."""

    def __call__(self, stack: ExitStack) -> None:
        """Use the edited function everywhere until *stack* closes.

        Raises:
            Outrun: `old` is not exactly once in the source.
        """
        everywhere(stack, self.where, edited(self.where, self.changes))

    def __str__(self) -> str:
        module = self.where.__module__.rpartition(".")[2]
        changes = ", ".join(f"{_inline(old)} -> {_inline(new)}" for old, new in self.changes)
        return f"{module}.{self.where.__qualname__}: {changes}"

    @property
    def changes(self) -> tuple[tuple[str, str], ...]:
        """All of (old, new)."""
        return ((self.old, self.new), *self.also)


def _inline(text: str) -> str:
    return f"`{' '.join(text.split())}`" if text.strip() else "nothing"


@cache
def edited(where: Callable[..., Any], changes: tuple[tuple[str, str], ...]) -> Callable[..., Any]:
    """The function with other words in it.

    Raises:
        Outrun: one of the old texts is not exactly once in the source.
    """
    source = textwrap.dedent(inspect.getsource(where))
    for old, new in changes:
        if source.count(old) != 1:
            raise Outrun(f"{where.__module__}.{where.__qualname__}: {source.count(old)} times {old!r}, expected once")
        source = source.replace(old, new)
    text = f"from __future__ import annotations\n{source}"
    names: dict[str, Any] = {}
    exec(compile(text, f"<mutant of {where.__qualname__}>", "exec"), where.__globals__, names)  # our own source, edited
    edited: Callable[..., Any] = names[where.__name__]
    return edited


def everywhere(stack: ExitStack, original: Callable[..., Any], replacement: Callable[..., Any]) -> None:
    """Replace a method in its class, or a function in each core module and table of reactions that knows it."""
    owner, _, name = original.__qualname__.rpartition(".")
    if owner:
        stack.enter_context(patch.object(getattr(sys.modules[original.__module__], owner), name, replacement))
        return
    for module in [module for path, module in sorted(sys.modules.items()) if path.startswith(CORE)]:
        if getattr(module, name, None) is original:
            stack.enter_context(patch.object(module, name, replacement))
    for table in (reactions.REACTIONS, reactions.TIMER_REACTIONS):
        cells = {cell: replacement for cell, reaction in table.items() if reaction is original}
        stack.enter_context(patch.dict(table, cells))


Patch = Callable[[ExitStack], None]


@dataclass(frozen=True)
class Mutant:
    """One way to break the protocol."""

    name: str
    what: str
    """The mistake, in one line."""
    seeds: int
    """It must be caught within so many seeds of the mixed profile, counted from 0."""
    caught_by: str
    """Properties of which at least one must complain, separated by blanks."""
    patches: tuple[Patch, ...]
    scenario: str = ""
    """For mistakes that random faults reach too seldom: the scenario in tests/sim/scenarios that shows them."""

    @property
    def expected(self) -> frozenset[str]:
        """`caught_by` as a set."""
        return frozenset(self.caught_by.split())

    @contextmanager
    def active(self) -> Iterator[None]:
        """The protocol is broken within."""
        with ExitStack() as stack:
            stack.enter_context(patch.object(cluster, "EVENTS_MAX", EVENTS_MAX))
            for apply in self.patches:
                apply(stack)
            yield

    def diff(self) -> str:
        """What is changed, as far as it can be said in words."""
        return "; ".join(str(each) if isinstance(each, Edit) else _docline(each) for each in self.patches)


def _docline(apply: Patch) -> str:
    return (apply.__doc__ or "(no description)").strip().splitlines()[0]
