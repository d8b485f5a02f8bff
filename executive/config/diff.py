"""A reload: which differences between two configurations apply live, and which wait for a restart.

Pure.  The result is a configuration to go on with: the new one, except that everything that cannot change while the
node runs keeps its old value.  Which is which is the `reload` column of the option table; besides, the node list stays
as it was when this node's own place in it changed (its id, its addresses, the links).  Keys that nothing acts on are
taken over without being mentioned: nothing changes with them, and the configuration's notices tell of them.
Source: corosync.conf(5) and the reload of corosync 3.1, whose words for a refused change are kept.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from .model import Configuration, InterfaceOptions
from .schema import option_at, options_of
from .sections import runtime_keys

StructT = TypeVar("StructT", bound=msgspec.Struct)

COMPUTED = ("runtime.", "nodelist.local_node_pos")
"""Starts of cmap keys that follow from others, so that a change of them is not mentioned."""

SECRET = "(not shown)"
"""In place of a value that is never shown."""


@dataclass(frozen=True, slots=True)
class Change:
    """One key of the configuration that differs; `None` = not set."""

    key: str
    """Dotted, as in cmap."""
    old: str | int | None
    new: str | int | None

    def __str__(self) -> str:
        old, new = ("not set" if value is None else str(value) for value in (self.old, self.new))
        return f"{self.key}: {old} -> {new}"


@dataclass(frozen=True, slots=True)
class Reload:
    """What a reload does.  Both lists of changes are sorted by key."""

    configuration: Configuration
    """To go on with."""
    applied: tuple[Change, ...]
    refused: tuple[Change, ...]
    """Changes that take a restart."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """A line for each refused change, in corosync's words."""
        return tuple(
            f"Modified entry '{change.key}' in corosync.conf cannot be changed at run-time" for change in self.refused
        )


def reload(old: Configuration, new: Configuration) -> Reload:
    """What going from *old* to *new* means for a running node."""
    nodes_stay = _own_place(old) != _own_place(new)
    # The timers and the expected votes follow from the number of nodes: if that stays, so do they.
    counted_stay = nodes_stay and len(old.nodes) != len(new.nodes)
    idle = {*old.idle, *new.idle}
    changes = _changes(old, new)
    refused = [change for change in changes if _stays(change.key, idle, nodes_stay, counted_stay)]
    totem = old.totem if counted_stay else _keep("totem", old.totem, new.totem, "integrity")
    configuration = msgspec.structs.replace(
        new,
        totem=totem,
        interfaces=old.interfaces if nodes_stay else _interfaces(old.interfaces, new.interfaces),
        nodes=old.nodes if nodes_stay else new.nodes,
        local_node_id=old.local_node_id,
        logging=_keep("logging", old.logging, new.logging),
        quorum=old.quorum if counted_stay else _keep("quorum", old.quorum, new.quorum),
        system=_keep("system", old.system, new.system),
        cmap=_cmap(new.cmap, refused) | runtime_keys(totem),
    )
    mentioned = [change for change in changes if not change.key.startswith(COMPUTED)]
    return Reload(
        configuration,
        applied=tuple(change for change in mentioned if change not in refused and change.key not in idle),
        refused=tuple(change for change in mentioned if change in refused),
    )


def _own_place(configuration: Configuration) -> tuple[object, ...]:
    """What a running node cannot change about itself: its id, its addresses, the numbers of its links."""
    links = tuple(interface.link for interface in configuration.interfaces)
    return configuration.local_node_id, configuration.local_node.addresses, links


def _changes(old: Configuration, new: Configuration) -> list[Change]:
    changes = [
        Change(key, old.cmap.get(key), new.cmap.get(key))
        for key in sorted(old.cmap.keys() | new.cmap.keys())
        if old.cmap.get(key) != new.cmap.get(key)
    ]
    if old.totem.key != new.totem.key:
        shown = [None if key is None else SECRET for key in (old.totem.key, new.totem.key)]
        changes.append(Change("totem.key", *shown))
    return sorted(changes, key=lambda change: change.key)


def _stays(key: str, idle: Container[str], nodes_stay: bool, counted_stay: bool) -> bool:
    """Whether a change of this cmap key has to wait for a restart."""
    if nodes_stay and key.startswith(("nodelist.", "totem.interface.")):
        return True
    if counted_stay and key.startswith(("totem.", "quorum.")):
        return True
    path = re.sub(r"^(nodelist\.node|totem\.interface|logging\.logger_subsys)\.[^.]+\.", r"\1.", key)
    option = option_at(path)
    return option is not None and not option.reload and key not in idle


def _keep(section: str, old: StructT, new: StructT, *also: str) -> StructT:
    """*new* with the old values of all fields that a reload cannot change."""
    fixed = [option.model_field for option in options_of(section) if not option.reload]
    return msgspec.structs.replace(new, **{name: getattr(old, name) for name in (*fixed, *also) if name})


def _interfaces(old: Iterable[InterfaceOptions], new: Iterable[InterfaceOptions]) -> tuple[InterfaceOptions, ...]:
    return tuple(
        _keep("totem.interface", was, becomes, "bind_address", "mcast_address")
        for was, becomes in zip(old, new, strict=True)
    )


def _cmap(cmap: dict[str, str | int], refused: Iterable[Change]) -> dict[str, str | int]:
    """*cmap* with the old values of what is refused."""
    merged = dict(cmap)
    for change in refused:
        if change.old is None or change.old == SECRET:
            merged.pop(change.key, None)
        else:
            merged[change.key] = change.old
    return dict(sorted(merged.items()))
