"""The tree of a file -> typed values of known options, grouped as the sections merge, and the cmap of everything.

This is where the rules of repeated sections live: which are one, which are several, under which dotted path their keys
are kept.  Each value is read by its row of the option table; nothing is derived or compared here.
Source: corosync's `main_config_parser_cb`, in own words in docs/configuration.md.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field

from .findings import Findings
from .kinds import FilePath, Switch, Value
from .options import Option
from .parser import Entry, Place, Section
from .schema import LEFTOVER_KEYS, Shape, option_at, section_at, suggestion_for_option, suggestion_for_section

OWN_DAEMON_NAMES = frozenset({"corosync", "totemd"})
"""`logging_daemon { name: … }` that means this daemon."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it stands in the file."""

    value: Value
    place: Place


@dataclass(slots=True)
class Scope:
    """The options set in one section (after merging), by key."""

    place: Place
    given: dict[str, Given] = field(default_factory=dict)
    every: dict[str, list[Given]] = field(default_factory=dict)
    """All values of a key, in the order of the file."""
    unusable: set[str] = field(default_factory=set)
    """Keys that are set to something unacceptable: a problem already, so that nobody need miss them."""

    @property
    def values(self) -> dict[str, Value]:
        """Just the values."""
        return {key: given.value for key, given in self.given.items()}

    def place_of(self, *keys: str) -> Place:
        """Where the first of *keys* that is set stands; else where the section does."""
        return next((self.given[key].place for key in keys if key in self.given), self.place)

    def text(self, key: str) -> str:
        """A text value; empty when it is not set."""
        return str(self.given[key].value) if key in self.given else ""


@dataclass(frozen=True, slots=True)
class AccessLine:
    """`uid:` or `gid:` with a name or a number that is not looked up yet."""

    key: str
    name: str
    place: Place


@dataclass(slots=True)
class Collected:
    """Everything that the files say."""

    place: Place
    scopes: dict[str, Scope] = field(default_factory=dict)
    """Sections that merge into one, by path."""
    interfaces: dict[int, Scope] = field(default_factory=dict)
    nodes: list[Scope] = field(default_factory=list)
    subsystems: dict[str, Scope] = field(default_factory=dict)
    apps: list[Scope] = field(default_factory=list)
    access: list[AccessLine] = field(default_factory=list)
    cmap: dict[str, str | int] = field(default_factory=dict)
    idle: set[str] = field(default_factory=set)
    """Keys of `cmap` that nothing here acts on."""

    def keep(self, key: str, value: str | int, *, acts: bool = False) -> None:
        """Into cmap; *acts*: it is an option that does something."""
        self.cmap[key] = value
        if not acts:
            self.idle.add(key)

    def scope(self, path: str) -> Scope:
        """The options of a section; empty if the files have no such section."""
        return self.scopes.get(path, Scope(self.place))


def collect(root: Section, directory: str, findings: Findings) -> Collected:
    """What the main file says.  Relative paths in it start at *directory*."""
    collector = _Collector(root.place, directory, findings)
    collector.top(root)
    return collector.collected


def collect_drop_in(root: Section, collected: Collected, findings: Findings) -> None:
    """Add the users and groups of a file of `uidgid.d/`; nothing else is allowed there."""
    for entry in root.entries:
        findings.problem(entry.place, f"uidgid: only uidgid sections are allowed in this file, not '{entry.key}'")
    for section in root.sections:
        if section.name == "uidgid":
            _access_section(section, collected, findings)
        else:
            findings.problem(section.place, f"uidgid: Can't add subsection different than uidgid: '{section.name}'")


def _access_section(section: Section, collected: Collected, findings: Findings) -> None:
    for entry in section.entries:
        option = option_at(f"uidgid.{entry.key}")
        if option is None:
            findings.problem(entry.place, f"uidgid: Only uid and gid are allowed items, not '{entry.key}'")
        elif not entry.value:
            findings.problem(entry.place, f"{option.path} is empty; accepted: {option.accepts}")
        else:
            collected.access.append(AccessLine(entry.key, entry.value, entry.place))
    for child in section.sections:
        findings.problem(child.place, f"Subsections are not allowed within uidgid section: '{child.name}'")


class _Collector:
    """Walks one file.  `path` is a section's path in the table, `cmap` where its keys are kept."""

    def __init__(self, place: Place, directory: str, findings: Findings) -> None:
        self.collected = Collected(place)
        self._directory = directory
        self._findings = findings

    def top(self, root: Section) -> None:
        """The whole file."""
        for entry in root.entries:
            if entry.key in LEFTOVER_KEYS:
                self._findings.leftover(entry.key, entry.place)
            else:
                hint = suggestion_for_option("", entry.key)
                self._findings.unknown(entry.place, f"unknown option '{entry.key}' outside of every section{hint}")
            self.collected.keep(entry.key, entry.value)
        for section in root.sections:
            self._section(section, section.name, section.name)

    def _section(self, section: Section, path: str, cmap: str) -> None:
        kind = section_at(path)
        match kind.shape if kind else None:
            case None:
                hint = suggestion_for_section(path)
                self._findings.unknown(section.place, f"unknown section '{path}'{hint}")
                self._keep(section, cmap)
            case Shape.FOREIGN:
                self._keep(section, cmap)
            case Shape.LEFTOVER:
                self._findings.leftover(f"{path} {{}}", section.place)
                self._keep(section, cmap)
            case Shape.MERGED:
                scope = self.collected.scopes.setdefault(path, Scope(section.place))
                self._into(section, path, cmap, scope)
            case Shape.INTERFACE:
                self._interface(section, path, cmap)
            case Shape.NODE:
                self.collected.nodes.append(Scope(section.place))
                self._into(section, path, f"{cmap}.{len(self.collected.nodes) - 1}", self.collected.nodes[-1])
            case Shape.SUBSYSTEM:
                self._subsystem(section, path, cmap)
            case Shape.APP:
                self._app(section, path, cmap)
            case Shape.DAEMON:
                self._daemon(section, cmap)
            case Shape.ACCESS:
                _access_section(section, self.collected, self._findings)

    def _into(self, section: Section, path: str, cmap: str, scope: Scope) -> None:
        for entry in section.entries:
            self._entry(entry, path, cmap, scope)
        for child in section.sections:
            self._section(child, f"{path}.{child.name}", f"{cmap}.{child.name}")

    def _entry(self, entry: Entry, path: str, cmap: str, scope: Scope) -> None:
        option = option_at(f"{path}.{entry.key}")
        if option is None:
            hint = suggestion_for_option(path, entry.key)
            self._findings.unknown(entry.place, f"unknown option '{entry.key}' in section '{path}'{hint}")
            self.collected.keep(f"{cmap}.{entry.key}", entry.value)
            return
        try:
            value = option.kind.read(option.path, entry.value)
        except ValueError as error:
            self._findings.problem(entry.place, str(error))
            scope.unusable.add(entry.key)
            return
        if isinstance(option.kind, FilePath) or option.is_path:
            value = posixpath.join(self._directory, str(value))
        self._findings.used(option, entry.place)
        key = option.spelling_of or option.key
        scope.given[key] = Given(value, entry.place)
        scope.every.setdefault(key, []).append(scope.given[key])
        if not option.secret:
            number = f".{len(scope.every[key]) - 1}" if option.many else ""
            shown = _cmap_value(option, value, entry.value)
            self.collected.keep(f"{cmap}.{entry.key}{number}", shown, acts=option.acts)

    def _interface(self, section: Section, path: str, cmap: str) -> None:
        """The link number decides which section this is, and may stand anywhere in it."""
        numbering, rest = _split(section, {"linknumber", "ringnumber"})
        scope = Scope(section.place)
        for entry in numbering:
            self._entry(entry, path, cmap, scope)
            self.collected.cmap.pop(f"{cmap}.{entry.key}", None)
        link = int(scope.given["linknumber"].value) if "linknumber" in scope.given else 0
        merged = self.collected.interfaces.setdefault(link, scope)
        self._into(rest, path, f"{cmap}.{link}", merged)

    def _app(self, section: Section, path: str, cmap: str) -> None:
        """Its keys are kept under its name, so that a reload tells of the application that has changed."""
        named, _ = _split(section, {"name"})
        self.collected.apps.append(Scope(section.place))
        name = named[-1].value if named else str(len(self.collected.apps) - 1)
        self._into(section, path, f"{cmap}.{name}", self.collected.apps[-1])

    def _subsystem(self, section: Section, path: str, cmap: str) -> None:
        naming, rest = _split(section, {"subsys"})
        name = naming[-1].value if naming else ""
        if not name:
            self._findings.problem(
                section.place, "No subsys key in logger_subsys directive; add `subsys: NAME`, e.g. TOTEM"
            )
            return
        scope = self.collected.subsystems.setdefault(name.upper(), Scope(section.place))
        self.collected.keep(f"{cmap}.{name}.subsys", name, acts=True)
        self._into(rest, path, f"{cmap}.{name}", scope)

    def _daemon(self, section: Section, cmap: str) -> None:
        naming, rest = _split(section, {"name"})
        name = naming[-1].value if naming else ""
        subsystems, own = _split(rest, {"subsys"})
        if not name:
            self._findings.problem(section.place, "No name key in logging_daemon directive; add `name: corosync`")
        elif name not in OWN_DAEMON_NAMES:
            place = f"{cmap}.{name}.{subsystems[-1].value}" if subsystems else f"{cmap}.{name}"
            self._keep(section, place)
        elif subsystems:
            self._subsystem(rest, "logging.logger_subsys", "logging.logger_subsys")
        else:
            scope = self.collected.scopes.setdefault("logging", Scope(section.place))
            self._into(own, "logging", "logging", scope)

    def _keep(self, section: Section, cmap: str) -> None:
        """Into cmap as it is, with everything below."""
        for entry in section.entries:
            self.collected.keep(f"{cmap}.{entry.key}", entry.value)
        for child in section.sections:
            self._keep(child, f"{cmap}.{child.name}")


def _split(section: Section, keys: set[str]) -> tuple[list[Entry], Section]:
    """The entries with these keys, and the section without them."""
    taken = [entry for entry in section.entries if entry.key in keys]
    rest = [entry for entry in section.entries if entry.key not in keys]
    return taken, Section(section.name, section.place, rest, section.sections)


def _cmap_value(option: Option, value: Value, text: str) -> str | int:
    """Numbers and 0/1 flags as numbers, everything else as it was written."""
    return int(value) if isinstance(value, int) and not isinstance(option.kind, Switch) else text
