"""A configuration that changes while the node runs: reading the files again, and `totemctl cmap set`.

A value that was set by hand holds until the next reload, as in corosync.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...ipc.errors import AccessDenied, ConfigurationError, InvalidArgument, NotFound
from ..config.diff import Reload, reload
from ..config.load import load
from ..config.model import Configuration
from ..config.schema import Shape, option_at, section_at, suggestion_for_option

_PLACE = re.compile(r"^\S+?:\d+: ")
"""Begin of a problem's text; meaningless for a value that stands in no file."""


class Reloader:
    """Reads the configuration from where it was read at the start."""

    def __init__(self, path: Path | None, run_dir: Path | None, strict: bool = False) -> None:
        """What the user named; None where the usual places are meant."""
        self._path = path
        self._run_dir = run_dir
        self._strict = strict
        self._set_by_hand: dict[str, str] = {}

    def load(self) -> Configuration:
        """The configuration in the files.

        Raises:
            ConfigurationError: with every problem of every file.
        """
        return self._load({})

    def reload(self, current: Configuration) -> Reload:
        """What is to change now that the files are read again; raises as `load`."""
        done = reload(current, self.load())
        self._set_by_hand.clear()
        return done

    def set(self, current: Configuration, key: str, value: str) -> Reload:
        """What is to change so that option *key* has *value*; everything else is as the files say.

        Raises:
            NotFound: there is no such option.
            AccessDenied: it cannot change while the node runs.
            InvalidArgument: the value is not acceptable; the text says what is.
            ConfigurationError: the files have become unusable meanwhile.
        """
        section = _settable_section(key)
        if any(mark in value for mark in "\n\r{}"):
            raise InvalidArgument(f"{key}: a value has neither braces nor line breaks")
        wanted = {**self._set_by_hand, key: value}
        self._load(self._set_by_hand)  # whatever is wrong with the files is not this value's fault
        try:
            configuration = self._load(wanted)
        except ConfigurationError as error:
            problems = "; ".join(_PLACE.sub("", problem) for problem in error.problems)
            raise InvalidArgument(f"{key}: {problems}") from None
        done = reload(current, configuration)
        if any(change.key == key for change in done.refused):
            raise AccessDenied(f"{key} cannot be changed while the node runs; change section {section} and restart")
        self._set_by_hand = wanted
        return done

    def _load(self, set_by_hand: dict[str, str]) -> Configuration:
        lines = []
        for key, value in set_by_hand.items():
            *sections, name = key.split(".")
            lines += [f"{section} {{" for section in sections] + [f"{name}: {value}"] + ["}"] * len(sections)
        return load(self._path, run_dir=self._run_dir, strict=self._strict, more="\n".join(lines))


def _settable_section(key: str) -> str:
    """The section of an option that can be set by its name alone; raises as `Reloader.set`."""
    section, _, name = key.rpartition(".")
    option, kind = option_at(key), section_at(section)
    if option is None or kind is None:
        where = suggestion_for_option(section, name) if kind else "; options are named as in the file: totem.token"
        raise NotFound(f"there is no option {key!r} that could be set{where}")
    if not option.reload or kind.shape is not Shape.MERGED:
        raise AccessDenied(f"{key} cannot be changed while the node runs; change the file and restart")
    return section
