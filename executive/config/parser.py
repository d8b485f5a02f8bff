"""corosync.conf's syntax: text in, a tree of sections with line numbers and *all* mistakes out.

A line is blank, a comment, `name {`, `}` or `key: value`; there are no quotes, escapes, variables or includes, and a
`#` after a value belongs to the value.  Parsing never stops at a mistake: a line that cannot be understood is reported
and skipped, a bad opening line still opens a section, so that one slip does not turn the rest of the file into noise.
Source: corosync.conf(5) of 3.1, with the no-break space counted as white space as newer versions do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LINE_BYTES_MAX = 511
"""Longest line, without its end."""

PATH_BYTES_MAX = 254
"""Longest dotted path of sections and key: the name of a cmap key."""

BLANKS = " \t\u00a0\ufeff"
"""What is trimmed: space, tab, the no-break space and a byte order mark."""

_LATIN1_NO_BREAK_SPACE = "\udca0"

_NAME = re.compile(r"[A-Za-z0-9._\-/:]+\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_UTF8 = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a file; its text form starts every message about that line."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.  `str()` is what a person reads: `FILE:LINE: what is wrong, what would be accepted`."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass(frozen=True, slots=True)
class Entry:
    """`key: value`.  The value may be empty."""

    key: str
    value: str
    place: Place


@dataclass(frozen=True, slots=True)
class Section:
    """`name { … }`, or the whole file (with an empty name)."""

    name: str
    place: Place
    entries: list[Entry] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)


def parse(text: str, file: str) -> tuple[Section, tuple[Problem, ...]]:
    """The sections of *text*, and everything that is wrong with its syntax, in the order of the lines.

    Bytes that are no UTF-8 are expected as surrogate escapes; they are fine in a comment and a problem elsewhere.
    """
    reader = _Reader(file)
    for number, line in enumerate(text.split("\n"), start=1):
        reader.read(line.removesuffix("\r"), Place(file, number))
    reader.finish()
    return reader.root, tuple(reader.problems)


class _Reader:
    """The open sections, innermost last, and the dotted path that they make."""

    def __init__(self, file: str) -> None:
        self.root = Section("", Place(file, 1))
        self.problems: list[Problem] = []
        self._open: list[tuple[Section, str]] = [(self.root, "")]

    def read(self, line: str, place: Place) -> None:
        """Take in one line, without its end."""
        if len(line.encode("utf-8", "replace")) > LINE_BYTES_MAX:
            self._complain(place, f"Line too long: a line has at most {LINE_BYTES_MAX} bytes")
        line = line.replace(_LATIN1_NO_BREAK_SPACE, "\u00a0")
        content = line.strip(BLANKS)
        if not content or content.startswith("#"):
            return
        unreadable = _unreadable(line)
        if unreadable:
            self._complain(place, unreadable)
        # The order matters and is corosync's: a `{` anywhere makes an opener, a `}` in a value is nothing special.
        if "{" in content:
            self._open_section(content, place)
        elif unreadable:
            return
        elif ":" in content:
            self._add_entry(content, place)
        elif "}" in content:
            self._close_section(content, place)
        else:
            self._complain(
                place,
                f"Line is not opening or closing section or key value: {content!r}; accepted: 'name {{', '}}', "
                "'key: value' and lines that start with '#'",
            )

    def finish(self) -> None:
        """The text has ended: every section still open is a mistake, reported where it was opened."""
        for section, path in self._open[1:]:
            self._complain(section.place, f"Missing closing brace: section '{path}' is opened here and never closed")

    def _open_section(self, content: str, place: Place) -> None:
        name, _, rest = content.partition("{")
        name, rest = name.rstrip(BLANKS), rest.lstrip(BLANKS)
        parent, path = self._open[-1]
        section = Section(name, place)
        if not name:
            self._complain(place, "Missing section name before opening bracket '{'; accepted: 'name {' on one line")
        elif self._acceptable("section", name, self._path_of(name), place):
            parent.sections.append(section)
            path = self._path_of(name)
        if rest:
            self._complain(place, f"Extra characters after opening bracket '{{': {rest!r}; put them on the next line")
        self._open.append((section, path))

    def _add_entry(self, content: str, place: Place) -> None:
        key, _, value = content.partition(":")
        key = key.rstrip(BLANKS)
        if not key:
            self._complain(place, "Key name can't be empty; accepted: 'key: value'")
        elif self._acceptable("key", key, self._path_of(key), place):
            self._open[-1][0].entries.append(Entry(key, value.strip(BLANKS), place))

    def _close_section(self, content: str, place: Place) -> None:
        if content != "}":
            self._complain(place, f"Extra characters before or after closing bracket '}}': {content!r}")
        if len(self._open) > 1:
            self._open.pop()
        else:
            self._complain(place, "Unexpected closing brace: no section is open here")

    def _acceptable(self, what: str, name: str, path: str, place: Place) -> bool:
        if not _NAME.match(name):
            self._complain(place, f"{what} name {name!r}: only letters, digits and . _ - / : are accepted")
        elif len(path) > PATH_BYTES_MAX:
            start = "Start of section" if what == "section" else "New key"
            self._complain(
                place, f"{start} makes total cmap path too long: at most {PATH_BYTES_MAX} bytes are accepted"
            )
        else:
            return True
        return False

    def _path_of(self, name: str) -> str:
        parent = self._open[-1][1]
        return f"{parent}.{name}" if parent else name

    def _complain(self, place: Place, text: str) -> None:
        self.problems.append(Problem(place, text))


def _unreadable(line: str) -> str:
    """Why a line cannot be text, or nothing."""
    if found := _NOT_UTF8.search(line):
        return f"byte 0x{ord(found[0]) & 0xFF:02x} at column {found.start() + 1} is not UTF-8; save the file as UTF-8"
    if found := _CONTROL.search(line):
        return f"control character 0x{ord(found[0]):02x} at column {found.start() + 1}; only text is accepted"
    return ""
