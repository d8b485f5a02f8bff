"""What a row of the option table is: `Option`, and what a relation between options is: `Relation`.

The rows themselves are in options_totem, options_nodes and options_services; `schema` puts them together.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .kinds import Integer, Kind, Value


class Effect(enum.Enum):
    """What setting an option does in this version."""

    ACTIVE = "yes"
    LATER = "not yet"
    """Read, checked and kept; nothing acts on it so far.  Said once at start when it is set."""
    OBSOLETE = "none"
    """Accepted because files in the wild hold it.  Said once at start when it is set."""


class Values(dict[str, Value]):
    """Effective values of one section by key, with typed access for formulas and relations."""

    def number(self, key: str) -> int:
        """The value of an integer option."""
        value = self[key]
        assert isinstance(value, int)
        return value

    def text(self, key: str) -> str:
        """The value of a text option."""
        value = self[key]
        assert isinstance(value, str)
        return value

    def flag(self, key: str) -> bool:
        """Whether an option is set to something other than no, 0 or the empty text."""
        return bool(self[key])


@dataclass(frozen=True, slots=True)
class Derived:
    """A value computed from others, with its formula in words."""

    formula: str
    compute: Callable[[Values], Value]
    inputs: tuple[str, ...] = ()
    """Options of the same section that it is computed from: where the blame lies when the result is out of bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: the single place that says how it is written, what it defaults to, and what it does."""

    path: str
    """Section and key: `totem.token`, `nodelist.node.name`."""
    kind: Kind
    doc: str
    """What it does and what more or less of it costs; for the reference page."""
    default: Value | Derived | None = None
    """`None`: no default; the option is then simply not set."""
    zero_is_default: bool = False
    """0 means the same as leaving it out."""
    at_least: int | None = None
    """Lower bound of the effective value, beyond what the type says."""
    effective: Derived | None = None
    """How the value that holds follows from the one configured (or the default)."""
    reload: bool = False
    """A reload applies a change; otherwise it takes a restart."""
    effect: Effect = Effect.ACTIVE
    field: str | None = ""
    """Name in the model's struct; empty: the key itself; `None`: the option is only kept in cmap."""
    label: str = ""
    """What corosync's messages call it; empty: the key."""
    spelling_of: str = ""
    """Key of the option that this is an older spelling of."""
    secret: bool = False
    """Never shown, and so not kept in cmap."""
    many: bool = False
    """May be given several times, and all of them count."""
    is_path: bool = False
    """A relative one starts at the directory of the configuration file, as for `FilePath`."""
    heritage: str = ""
    """Where corosync differs, between its versions or from totemd."""

    @property
    def section(self) -> str:
        """Path of the section that the option belongs to."""
        return self.path.rpartition(".")[0]

    @property
    def key(self) -> str:
        """Name within its section."""
        return self.path.rpartition(".")[2]

    @property
    def model_field(self) -> str | None:
        """Field of the section's struct that holds the effective value."""
        return self.key if self.field == "" else self.field

    @property
    def acts(self) -> bool:
        """Whether setting it does anything in this version, if only as another spelling."""
        return self.effect is Effect.ACTIVE or bool(self.spelling_of)

    @property
    def accepts(self) -> str:
        """What may be written, all bounds included, for people."""
        if self.at_least is None or not isinstance(self.kind, Integer):
            return self.kind.accepts
        bounds = Integer(self.at_least, self.kind.high, self.kind.unit).accepts
        return f"{bounds}; 0 = default" if self.zero_is_default else bounds

    def computed_default(self, values: Values) -> Value | None:
        """The value where none is given; `None` if the option is then not set."""
        return self.default.compute(values) if isinstance(self.default, Derived) else self.default

    @property
    def default_text(self) -> str:
        """The default or its formula, for people."""
        match self.default:
            case None | "":
                return "none"
            case Derived(formula=formula):
                return formula
            case bool(value):
                return ("1" if value else "0") if self.kind.accepts == "0 or 1" else ("yes" if value else "no")
            case value:
                return str(value)


@dataclass(frozen=True, slots=True)
class Relation:
    """What must hold between the effective values of several options of a section."""

    section: str
    keys: tuple[str, ...]
    """The options involved; a violation is reported at the first of them that the file sets."""
    holds: Callable[[Values], bool]
    violation: Callable[[Values], str]
    """What is wrong and what would be accepted."""


@dataclass(frozen=True, slots=True)
class OutOfBounds:
    """An effective value below what its option allows."""

    option: Option
    text: str
    blamed: tuple[str, ...]
    """Keys that led to it, the nearest cause first."""


def effective_values(
    options: tuple[Option, ...], given: Mapping[str, Value], facts: Mapping[str, Value]
) -> tuple[Values, Values, tuple[OutOfBounds, ...]]:
    """Configured values (defaults filled in), effective ones, and those that are out of bounds.

    *facts* are part of both results: values that formulas use (`nodes` …), or that replace a default (`linknumber`).
    A formula may use options of earlier rows only.  What is out of bounds because of something that is reported
    already is not reported again.
    """
    configured, effective = Values(facts), Values(facts)
    wrong: list[OutOfBounds] = []
    spoiled: set[str] = set()
    for option in options:
        value = given.get(option.key)
        if value is None or (value == 0 and option.zero_is_default):
            value = facts[option.key] if option.key in facts else option.computed_default(effective)
        if value is None:
            continue
        configured[option.key] = effective[option.key] = value
        if option.effective is not None:
            value = effective[option.key] = option.effective.compute(effective)
        if option.at_least is not None and isinstance(value, int) and value < option.at_least:
            fault = _out_of_bounds(option, value, given)
            if not spoiled.intersection(fault.blamed):
                wrong.append(fault)
            spoiled.add(option.key)
    return configured, effective, tuple(wrong)


def _out_of_bounds(option: Option, value: int, given: Mapping[str, Value]) -> OutOfBounds:
    unit = option.kind.unit if isinstance(option.kind, Integer) else ""
    unit = f" {unit}" if unit else ""
    text = f"The {option.label or option.key} parameter ({value}{unit}) may not be less than ({option.at_least}{unit})"
    if option.key in given or not isinstance(option.default, Derived):
        return OutOfBounds(option, text, (option.key,))
    inputs = option.default.inputs
    because = f"; it follows from {' and '.join(inputs)}: {option.default.formula}"
    return OutOfBounds(option, f"Not appropriate {' or '.join(inputs)} value set. {text}{because}", inputs)
