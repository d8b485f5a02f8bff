"""Smaller variants of the parts of a script, for the search in `shrink`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from simcluster.faults import Crash, Fault, Partition, PlannedFault, Several, Trap
from simcluster.scenario import Script


def simpler(fault: Fault) -> Iterator[Fault]:
    """Variants of *fault* that say less, the shortest first."""
    match fault:
        case Several(faults):
            yield from faults
            yield from (Several(fewer) for fewer in _without_each(faults) if len(fewer) > 1)
            for index, inner in enumerate(faults):
                yield from (Several((*faults[:index], other, *faults[index + 1 :])) for other in simpler(inner))
        case Trap(skip=skip, fault=inner):
            yield inner
            if skip:
                yield replace(fault, skip=0)
                yield replace(fault, skip=skip - 1)
            yield from (replace(fault, fault=other) for other in simpler(inner))
        case Crash(nodes, downtimes):
            for index in range(len(nodes) if len(nodes) > 1 else 0):
                yield Crash(nodes[:index] + nodes[index + 1 :], downtimes[:index] + downtimes[index + 1 :])
        case Partition(groups) if len(groups) > 2:
            yield from (Partition(_merged(groups, index)) for index in range(len(groups) - 1))
        case _:
            yield from _fewer_in_tuples(fault)


def _fewer_in_tuples(fault: Fault) -> Iterator[Fault]:
    """Links, types and the like: one less.  Never none, which often means all."""
    for each in fields(fault):
        value = getattr(fault, each.name)
        if isinstance(value, tuple) and len(value) > 1 and not isinstance(fault, Partition):
            yield from (_with(fault, {each.name: fewer}) for fewer in _without_each(value))


def _with(fault: Any, changes: dict[str, Any]) -> Fault:
    changed: Fault = replace(fault, **changes)
    return changed


def _without_each(items: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    return (items[:index] + items[index + 1 :] for index in range(len(items)))


def _merged(groups: tuple[tuple[int, ...], ...], index: int) -> tuple[tuple[int, ...], ...]:
    together = tuple(sorted(groups[index] + groups[index + 1]))
    return (*groups[:index], together, *groups[index + 2 :])


def rounded(script: Script, digits: int) -> Script:
    """All times, and all durations of faults, with fewer decimals."""
    return Script(
        replace(script.options, fault_seconds=round(script.options.fault_seconds + 10.0**-digits, digits)),
        tuple(
            PlannedFault(each.index, round(each.time, digits), _rounded(each.fault, digits)) for each in script.faults
        ),
        tuple(replace(each, time=round(each.time, digits)) for each in script.requests),
    )


def _rounded(value: Any, digits: int) -> Any:
    if isinstance(value, float):
        return round(value, digits) or value
    if isinstance(value, tuple):
        return tuple(_rounded(each, digits) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _rounded(getattr(value, each.name), digits) for each in fields(value)})
    return value


def without_node(script: Script, node: int) -> Script:
    """The script of a cluster that never had *node*; those with higher ids move down."""
    faults = []
    for planned in script.faults:
        fault = _without(planned.fault, node)
        if fault is not None:
            faults.append(replace(planned, fault=fault))
    return Script(
        replace(script.options, nodes=script.options.nodes - 1),
        tuple(faults),
        tuple(replace(each, node=_moved(each.node, node)) for each in script.requests if each.node != node),
    )


def _moved(other: int, node: int) -> int:
    return other - 1 if other > node else other


def _without(fault: Fault, node: int) -> Fault | None:
    """*fault* in a cluster without *node*; None if nothing of it is left."""
    match fault:
        case Crash(nodes, downtimes):
            left = [(other, down) for other, down in zip(nodes, downtimes, strict=True) if other != node]
            return Crash(tuple(_moved(other, node) for other, _ in left), tuple(d for _, d in left)) if left else None
        case Partition(groups):
            others = [tuple(_moved(other, node) for other in group if other != node) for group in groups]
            return Partition(tuple(group for group in others if group)) if any(others) else None
        case Several(faults):
            kept = [inner for each in faults if (inner := _without(each, node)) is not None]
            return Several(tuple(kept)) if kept else None
    changes: dict[str, Any] = {}
    for each in fields(fault):
        value = getattr(fault, each.name)
        if each.name in {"node", "ring_of", "at", "about"}:
            if value == node:
                return None
            changes[each.name] = _moved(value, node)
        elif each.name == "links":
            changes["links"] = tuple((_moved(a, node), _moved(b, node)) for a, b in value if node not in (a, b))
            if value and not changes["links"]:
                return None
        elif each.name == "fault":
            changes["fault"] = _without(value, node)
            if changes["fault"] is None:
                return None
    return _with(fault, changes)
