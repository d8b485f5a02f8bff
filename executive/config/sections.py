"""One section's effective values: defaults and formulas applied, bounds and relations checked."""

from __future__ import annotations

from collections.abc import Mapping

from .collect import Scope
from .findings import Findings
from .kinds import Value
from .model import TotemOptions
from .options import Option, Values, effective_values
from .schema import options_of, relations_of


def effective_section(
    section: str, scope: Scope, facts: Mapping[str, Value], findings: Findings
) -> tuple[Values, Values]:
    """Configured and effective values of *section*; what is out of bounds or contradictory becomes a problem."""
    configured, effective, wrong = effective_values(options_of(section), scope.values, facts)
    for fault in wrong:
        findings.problem(scope.place_of(*fault.blamed), fault.text)
    if not wrong:
        check_relations(section, effective, scope, findings)
    return configured, effective


def check_relations(section: str, values: Values, scope: Scope, findings: Findings) -> None:
    """Report every relation of *section* that does not hold."""
    for relation in relations_of(section):
        if not relation.holds(values):
            findings.problem(scope.place_of(*relation.keys), relation.violation(values))


def model_fields(options: tuple[Option, ...], values: Mapping[str, Value]) -> dict[str, Value]:
    """The fields of the section's struct."""
    return {
        option.model_field: values[option.key]
        for option in options
        if option.model_field is not None and option.key in values
    }


def runtime_keys(totem: TotemOptions) -> dict[str, str | int]:
    """The cmap keys under which the effective numbers of `totem { }` are shown."""
    numbers = {option.key: getattr(totem, option.model_field) for option in options_of("totem") if option.model_field}
    return {
        f"runtime.config.totem.{key}": value
        for key, value in numbers.items()
        if isinstance(value, int) and not isinstance(value, bool)
    }
