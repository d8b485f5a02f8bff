"""Declared applications: names looked up, groups taken apart, order without circles.  Pure.

What comes out (`AppEntry`) names applications only; the order of start and stop follows from that alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...ipc.errors import InvalidArgument
from ...sam.section import PARAMETERS, Key, declared_options, split_command
from .collect import Scope
from .findings import Findings
from .model import AppEntry
from .parser import Place

APPS_MAX = 4096
"""Most applications that one node keeps: processes, descriptors and log files are counted in them."""

ORDER_KEYS = ("after", "requires")
"""Keys that say what an application comes after."""


def declared_apps(scopes: Sequence[Scope], findings: Findings) -> tuple[AppEntry, ...]:
    """The applications in the order of the file; what is wrong with them becomes a problem at its line."""
    before = findings.count
    if len(scopes) > APPS_MAX:
        text = f"{len(scopes)} applications are declared; at most {APPS_MAX} are accepted"
        findings.problem(scopes[APPS_MAX].place, text)
        return ()
    reader = _Reader(scopes, findings)
    entries = reader.entries()
    if findings.count > before:
        return ()
    _check_circles(entries, reader.apps, findings)
    return tuple(entries)


class _Reader:
    """All applications of the files, and the groups that they make."""

    def __init__(self, scopes: Sequence[Scope], findings: Findings) -> None:
        self._findings = findings
        self.apps: dict[str, Scope] = {}
        self._groups: dict[str, list[str]] = {}
        for scope in scopes:
            self._add_app(scope)
        for name, scope in self.apps.items():
            for group, place in _words(scope, "group"):
                self._add_to_group(group, name, place)

    def entries(self) -> list[AppEntry]:
        """Those that can be understood; all are looked at."""
        return [entry for name, scope in self.apps.items() if (entry := self._entry(name, scope)) is not None]

    def _add_app(self, scope: Scope) -> None:
        name = scope.text("name")
        if name in self.apps:
            where = self.apps[name].place_of("name")
            text = f"sam.app: {name} is declared at {where} already; names are unique"
            self._findings.problem(scope.place_of("name"), text)
        elif name:
            self.apps[name] = scope
        elif "name" not in scope.unusable:
            self._findings.problem(scope.place, "sam.app: the application has no name; add `name: NAME`")

    def _add_to_group(self, group: str, name: str, place: Place) -> None:
        try:
            Key(PARAMETERS["name"]).read("sam.app.group", group)
        except ValueError as error:
            self._findings.problem(place, str(error))
            return
        if group in self.apps:
            where = self.apps[group].place_of("name")
            text = f"sam.app.group: {group} is the application at {where}; a group has a name of its own"
            self._findings.problem(place, text)
        elif name not in self._groups.setdefault(group, []):
            self._groups[group].append(name)

    def _entry(self, name: str, scope: Scope) -> AppEntry | None:
        if not scope.text("command"):
            if "command" not in scope.unusable:
                text = f"sam.app: {name} has no command; add `command: PROGRAM ARGUMENTS`"
                self._findings.problem(scope.place, text)
            return None
        command = split_command(scope.text("command"))
        options = {
            key: tuple(str(each.value) for each in given)
            for key, given in scope.every.items()
            if key in PARAMETERS and key != "name"
        }
        try:
            declared_options(name, command, options)
        except InvalidArgument as error:
            self._findings.problem(scope.place_of(*options), f"sam.app: {name}: {error}")
        return AppEntry(
            name=name,
            command=command,
            options=options,
            groups=tuple(dict.fromkeys(group for group, _ in _words(scope, "group"))),
            after=self._named(name, scope, "after"),
            requires=self._named(name, scope, "requires"),
            autostart=bool(scope.given["autostart"].value) if "autostart" in scope.given else True,
        )

    def _named(self, name: str, scope: Scope, key: str) -> tuple[str, ...]:
        """The applications that a key names, groups taken apart; an application is not meant by its own group."""
        found: dict[str, None] = {}
        for word, place in _words(scope, key):
            if word in self._groups:
                found.update(dict.fromkeys(member for member in self._groups[word] if member != name))
            elif word in self.apps:
                found[word] = None
            else:
                known = ", ".join(sorted({*self.apps, *self._groups} - {name})) or "none"
                text = f"sam.app.{key}: there is no application or group {word!r}; there are: {known}"
                self._findings.problem(place, text)
        return tuple(found)


def _words(scope: Scope, key: str) -> Iterator[tuple[str, Place]]:
    for given in scope.every.get(key, ()):
        for word in str(given.value).split():
            yield word, given.place


def _check_circles(entries: Sequence[AppEntry], apps: dict[str, Scope], findings: Findings) -> None:
    before = {entry.name: (*entry.after, *entry.requires) for entry in entries}
    seen: set[str] = set()
    for name in before:
        circle = find_circle(before, name, seen)
        if circle:
            place = apps[circle[0]].place_of(*ORDER_KEYS)
            text = " after ".join([*circle, circle[0]])
            findings.problem(
                place, f"sam.app: the order goes round in a circle: {text}; take one `after` or `requires` away"
            )


def find_circle(before: dict[str, tuple[str, ...]], start: str, seen: set[str]) -> list[str]:
    """A circle that can be reached from *start*, in its order; empty if there is none.

    *before* tells what each comes after; *seen* holds those that are known not to lead into a circle, and gets more.
    """
    path: dict[str, Iterator[str]] = {}
    if start not in seen:
        path[start] = iter(before[start])
    while path:
        name = next(reversed(path))
        following = next(path[name], None)
        if following is None:
            del path[name]
            seen.add(name)
        elif following in path:
            names = list(path)
            seen.update(names)
            return names[names.index(following) :]
        elif following not in seen:
            path[following] = iter(before[following])
    return []
