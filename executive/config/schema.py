"""The option table, whole: every option that is known, the sections that may hold them, and look-ups over both."""

from __future__ import annotations

import difflib
import enum
from dataclasses import dataclass

from .options import Option, Relation
from .options_cpg import CPG_OPTIONS
from .options_nodes import INTERFACE_OPTIONS, INTERFACE_RELATIONS, NODE_OPTIONS
from .options_sam import SAM_OPTIONS
from .options_services import (
    ACCESS_OPTIONS,
    DEVICE_OPTIONS,
    LOGGING_OPTIONS,
    LOGGING_RELATIONS,
    OTHER_OPTIONS,
    QUORUM_OPTIONS,
    QUORUM_RELATIONS,
    RESOURCE_OPTIONS,
    SUBSYSTEM_OPTIONS,
    SYSTEM_OPTIONS,
)
from .options_totem import TOTEM_OPTIONS, TOTEM_RELATIONS

OPTIONS: tuple[Option, ...] = (
    *TOTEM_OPTIONS,
    *INTERFACE_OPTIONS,
    *NODE_OPTIONS,
    *LOGGING_OPTIONS,
    *SUBSYSTEM_OPTIONS,
    *QUORUM_OPTIONS,
    *DEVICE_OPTIONS,
    *ACCESS_OPTIONS,
    *CPG_OPTIONS,
    *SAM_OPTIONS,
    *SYSTEM_OPTIONS,
    *RESOURCE_OPTIONS,
    *OTHER_OPTIONS,
)
"""The table.  Within a section the order matters: formulas use earlier rows only."""

RELATIONS: tuple[Relation, ...] = (*TOTEM_RELATIONS, *INTERFACE_RELATIONS, *LOGGING_RELATIONS, *QUORUM_RELATIONS)


class Shape(enum.Enum):
    """What it means when a section appears, and appears again."""

    MERGED = enum.auto()
    """All sections of this name are one."""
    INTERFACE = enum.auto()
    """One for each link number; those with the same number are one."""
    NODE = enum.auto()
    """Each is a node of its own, numbered in file order."""
    SUBSYSTEM = enum.auto()
    """One for each value of `subsys`."""
    DAEMON = enum.auto()
    """One for each value of `name` (and `subsys`); `corosync` means this daemon."""
    APP = enum.auto()
    """Each is an application of its own, told apart by `name`."""
    ACCESS = enum.auto()
    """Each line adds a user or a group."""
    FOREIGN = enum.auto()
    """Belongs to another program: kept in cmap with all that is in it, without a word."""
    LEFTOVER = enum.auto()
    """Of version 1.x: kept in cmap, mentioned once."""


@dataclass(frozen=True, slots=True)
class SectionKind:
    """A section that is known."""

    path: str
    shape: Shape
    doc: str


SECTIONS: tuple[SectionKind, ...] = (
    SectionKind("totem", Shape.MERGED, "The ring: how nodes find each other, keep order, and notice a failure."),
    SectionKind("totem.interface", Shape.INTERFACE, "A link. One section for each; most need none."),
    SectionKind("totem.interface.member", Shape.MERGED, "2.x: a node of udpu."),
    SectionKind("nodelist", Shape.MERGED, "The nodes of the cluster; the same on every node."),
    SectionKind("nodelist.node", Shape.NODE, "A node; at most 384."),
    SectionKind("logging", Shape.MERGED, "Where log lines go, and which."),
    SectionKind("logging.logger_subsys", Shape.SUBSYSTEM, "What one subsystem does differently."),
    SectionKind("logging.logging_daemon", Shape.DAEMON, "Logging of another program of the cluster, or of this one."),
    SectionKind("quorum", Shape.MERGED, "How votes are counted."),
    SectionKind("quorum.device", Shape.MERGED, "An extra voter."),
    SectionKind("quorum.device.net", Shape.FOREIGN, "Settings of the extra voter's own daemon."),
    SectionKind("quorum.device.heuristics", Shape.FOREIGN, "Settings of the extra voter's own daemon."),
    SectionKind("uidgid", Shape.ACCESS, "Who may use totemd besides root."),
    SectionKind("cpg", Shape.MERGED, "The clients of the group service."),
    SectionKind(
        "sam", Shape.MERGED, "Applications that start and stop with the node; see [sam](sam.md#declared-applications)."
    ),
    SectionKind(
        "sam.app", Shape.APP, "An application: everything that `sam-run` can be told, and the order of several."
    ),
    SectionKind("system", Shape.MERGED, "The processes of this node."),
    SectionKind("resources", Shape.MERGED, "What the watchdog looks at."),
    SectionKind("resources.system", Shape.MERGED, "Figures of the machine."),
    SectionKind("resources.system.memory_used", Shape.MERGED, "Memory in use."),
    SectionKind("resources.system.load_15min", Shape.MERGED, "Load average over a quarter of an hour."),
    SectionKind("resources.process", Shape.FOREIGN, "Processes; written at run time."),
    SectionKind("qb", Shape.MERGED, "2.x: connections of clients."),
    SectionKind("pload", Shape.MERGED, "The load generator."),
    SectionKind("nozzle", Shape.MERGED, "A virtual network interface."),
    SectionKind("aisexec", Shape.LEFTOVER, "1.x: user and group of the daemon."),
    SectionKind("service", Shape.LEFTOVER, "1.x: a service to load."),
    SectionKind("amf", Shape.LEFTOVER, "1.x: availability management."),
    SectionKind("event", Shape.LEFTOVER, "1.x: the event service."),
)

LEFTOVER_KEYS = frozenset({"compatibility"})
"""Keys of version 1.x outside of every section."""

_OPTIONS_BY_PATH = {option.path: option for option in OPTIONS}
_SECTIONS_BY_PATH = {section.path: section for section in SECTIONS}


def option_at(path: str) -> Option | None:
    """The option with this path of section and key, if there is one."""
    return _OPTIONS_BY_PATH.get(path)


def section_at(path: str) -> SectionKind | None:
    """The section with this path, if it is known."""
    return _SECTIONS_BY_PATH.get(path)


def options_of(section: str) -> tuple[Option, ...]:
    """The options of a section, in the order of the table."""
    return tuple(option for option in OPTIONS if option.section == section)


def relations_of(section: str) -> tuple[Relation, ...]:
    """What must hold between the options of a section."""
    return tuple(relation for relation in RELATIONS if relation.section == section)


def suggestion_for_option(section: str, key: str) -> str:
    """What an unknown key may have been meant as, as the end of a sentence; empty if nothing comes near."""
    if near := difflib.get_close_matches(key, [option.key for option in options_of(section)], n=1):
        return f"; did you mean '{near[0]}'?"
    elsewhere = [option.section for option in OPTIONS if option.key == key]
    if elsewhere:
        return f"; '{key}' belongs into section '{elsewhere[0]}'"
    everywhere = {option.key: option for option in reversed(OPTIONS)}
    if near := difflib.get_close_matches(key, list(everywhere), n=1, cutoff=0.8):
        return f"; did you mean '{everywhere[near[0]].path}'?"
    return ""


def suggestion_for_section(path: str) -> str:
    """What an unknown section may have been meant as, as the end of a sentence; empty if nothing comes near."""
    if near := difflib.get_close_matches(path, list(_SECTIONS_BY_PATH), n=1, cutoff=0.75):
        return f"; did you mean '{near[0]}'?"
    name = path.rpartition(".")[2]
    elsewhere = [section.path for section in SECTIONS if section.path.rpartition(".")[2] == name]
    return f"; '{name}' is known as '{elsewhere[0]}'" if elsewhere else ""
