"""Which applications are to start or to stop now: order, dependencies, what a reload changes.  Pure.

The plan is drawn again after every turn from what is wanted and what is, and remembers nothing: whatever happens, in
whatever order, the next look leads towards what is wanted.

- An application starts when all that it comes after (`after`, `requires`), and that is to run itself, is up.
- It stops when all that comes after it, and that is to stop too, is down.
- It runs only while what it requires is to run, and has not been given up.  That what it requires fails and is started
  again, or is restarted, does not touch it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ...executive.config.model import AppEntry


class Phase(enum.Enum):
    """Where an application stands, as far as the others are concerned."""

    DOWN = "down"
    """Nothing of it exists, and nothing will unless somebody starts it."""
    RISING = "rising"
    """It is on its way up, perhaps not for the first time."""
    UP = "up"
    FALLING = "falling"
    """It has been told to end, and has not yet."""
    DONE = "done"
    """It has ended well by itself, and its policy lets it go: those after it need not wait."""
    GIVEN_UP = "given up"
    """It failed, and nothing will start it again by itself."""


IDLE = frozenset({Phase.DOWN, Phase.DONE, Phase.GIVEN_UP})
"""Phases in which nothing of an application exists."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the plan has to know of one application."""

    entry: AppEntry
    """As it was started, if it runs; else as it is declared."""
    phase: Phase
    is_wanted: bool
    """Somebody wants it to run: the declaration, or an order."""
    is_outdated: bool = False
    """It is declared otherwise by now, or not at all: what runs has to end."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What is to be done now; the order within does not matter."""

    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """What a new declaration changes; each sorted by name."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    """Run otherwise from now on: they have to be restarted."""
    reordered: tuple[str, ...]
    """Only groups, dependencies or autostart differ: what runs stays."""


def difference(old: Iterable[AppEntry], new: Iterable[AppEntry]) -> Difference:
    """From one declaration to the next."""
    was, becomes = {entry.name: entry for entry in old}, {entry.name: entry for entry in new}
    both = sorted(was.keys() & becomes.keys())
    changed = tuple(name for name in both if not runs_alike(was[name], becomes[name]))
    return Difference(
        added=tuple(sorted(becomes.keys() - was.keys())),
        removed=tuple(sorted(was.keys() - becomes.keys())),
        changed=changed,
        reordered=tuple(name for name in both if name not in changed and was[name] != becomes[name]),
    )


def runs_alike(one: AppEntry, other: AppEntry) -> bool:
    """Whether a process of one would be a process of the other."""
    return (one.command, one.options) == (other.command, other.options)


def comes_after(entry: AppEntry) -> tuple[str, ...]:
    """The applications that one starts after, each once."""
    return tuple(dict.fromkeys((*entry.requires, *entry.after)))


def to_run(standings: Mapping[str, Standing]) -> set[str]:
    """The applications that are wanted, as far as all that they require is, too."""
    running = {name for name, each in standings.items() if each.is_wanted}
    while True:
        without = {name for name in running if not _has_all(standings[name].entry, running, standings)}
        if not without:
            return running
        running -= without


def _has_all(entry: AppEntry, running: set[str], standings: Mapping[str, Standing]) -> bool:
    return all(
        name in running and standings[name].phase is not Phase.GIVEN_UP for name in entry.requires if name in standings
    )


def next_steps(standings: Mapping[str, Standing]) -> Steps:
    """What is to be started and stopped now."""
    running = to_run(standings)
    ending = {
        name for name, each in standings.items() if each.phase not in IDLE and (name not in running or each.is_outdated)
    }
    leaving = ending - running
    """Those that will not be back at once; others wait for their end, not for a restart."""
    followers = _followers(standings)
    stop = tuple(
        name
        for name in sorted(ending)
        if standings[name].phase is not Phase.FALLING
        and (name not in leaving or not followers.get(name, set()) & leaving)
    )
    start = tuple(
        name
        for name in sorted(running)
        if standings[name].phase is Phase.DOWN
        and not standings[name].is_outdated
        and not waits_for(name, standings, running)
    )
    return Steps(start, stop)


def waits_for(name: str, standings: Mapping[str, Standing], running: set[str]) -> tuple[str, ...]:
    """What an application that is to run has to wait for."""
    passed = {Phase.UP, Phase.DONE, Phase.GIVEN_UP}
    return tuple(
        other
        for other in comes_after(standings[name].entry)
        if other in running and (standings[other].phase not in passed or standings[other].is_outdated)
    )


def _followers(standings: Mapping[str, Standing]) -> dict[str, set[str]]:
    """Who comes after each."""
    followers: dict[str, set[str]] = {}
    for name, each in standings.items():
        for other in comes_after(each.entry):
            followers.setdefault(other, set()).add(name)
    return followers


def with_required(names: Iterable[str], entries: Mapping[str, AppEntry]) -> set[str]:
    """*names*, and all that they require, and so on: what an order to start means."""
    return _closure(names, lambda name: entries[name].requires if name in entries else ())


def with_requiring(names: Iterable[str], entries: Mapping[str, AppEntry]) -> set[str]:
    """*names*, and all that require them, and so on: what an order to stop means."""
    return _closure(names, lambda name: [other for other, entry in entries.items() if name in entry.requires])


def members(names: Iterable[str], entries: Mapping[str, AppEntry]) -> tuple[dict[str, None], list[str]]:
    """The applications that are named, by themselves or by their group, and the names that nobody has."""
    groups: dict[str, list[str]] = {}
    for entry in entries.values():
        for group in entry.groups:
            groups.setdefault(group, []).append(entry.name)
    found: dict[str, None] = {}
    unknown: list[str] = []
    for name in names:
        if name in entries:
            found[name] = None
        elif name in groups:
            found.update(dict.fromkeys(groups[name]))
        else:
            unknown.append(name)
    return found, unknown


def _closure(names: Iterable[str], further: Callable[[str], Iterable[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(further(name))
    return found
