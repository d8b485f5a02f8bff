"""What is found while a configuration is read: problems that stop it, and notices that do not.

Everything is gathered, nothing is raised on the way; `Findings.raise_problems` is the only end.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...ipc.errors import ConfigurationError
from .options import Effect, Option
from .parser import Place, Problem


class Findings:
    """A collector.  With *strict*, an unknown name is a problem instead of a notice."""

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        self._problems: list[Problem] = []
        self._notices: list[Problem] = []
        self._without_effect: dict[Effect, dict[str, Place]] = {Effect.LATER: {}, Effect.OBSOLETE: {}}
        self._leftovers: dict[str, Place] = {}

    def problem(self, place: Place, text: str) -> None:
        """Something that makes the configuration unusable."""
        self._problems.append(Problem(place, text))

    def problems(self, problems: Iterable[Problem]) -> None:
        """The same, for several."""
        self._problems.extend(problems)

    def notice(self, place: Place, text: str) -> None:
        """Something that an operator should know."""
        self._notices.append(Problem(place, text))

    def unknown(self, place: Place, text: str) -> None:
        """A name that no table knows."""
        if self._strict:
            self.problem(place, text)
        else:
            self.notice(place, f"{text} (kept in cmap, without effect)")

    def leftover(self, name: str, place: Place) -> None:
        """Something of version 1.x."""
        self._leftovers.setdefault(name, place)

    def used(self, option: Option, place: Place) -> None:
        """An option is set; those without effect are mentioned together, each once."""
        if not option.acts:
            self._without_effect[option.effect].setdefault(option.path, place)
        elif option.spelling_of and option.effect is Effect.OBSOLETE:
            self.notice(place, f"'{option.key}' is an older spelling of '{option.spelling_of}'")

    @property
    def count(self) -> int:
        """How many problems were found so far; a step compares it to learn whether it found any."""
        return len(self._problems)

    def notices(self) -> tuple[str, ...]:
        """All notices by line; options without effect are listed in one for each reason."""
        notices = _in_order(self._notices)
        if later := self._without_effect[Effect.LATER]:
            notices.append(f"known but without effect yet: {_listed(later)}")
        if obsolete := self._without_effect[Effect.OBSOLETE]:
            notices.append(f"obsolete, accepted and without effect: {_listed(obsolete)}")
        if self._leftovers:
            notices.append(f"left over from version 1.x, without effect: {_listed(self._leftovers)}")
        return tuple(notices)

    def raise_problems(self) -> None:
        """End here if there is a problem.

        Raises:
            ConfigurationError: with all problems, sorted by line within each file.
        """
        if not self._problems:
            return
        raise ConfigurationError(*_in_order(self._problems))


def _in_order(found: list[Problem]) -> list[str]:
    """Each once, file by file and line by line."""
    files = list(dict.fromkeys(problem.place.file for problem in found))
    ordered = sorted(found, key=lambda problem: (files.index(problem.place.file), problem.place.line))
    return list(dict.fromkeys(str(problem) for problem in ordered))


def _listed(names: dict[str, Place]) -> str:
    return ", ".join(f"{name} ({place})" for name, place in names.items())
