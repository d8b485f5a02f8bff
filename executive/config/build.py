"""From the text of the files to the `Configuration`: parse, collect, resolve, derive, check.

Pure but for what the `Host` that is handed in says; every problem of every file is found in one go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from .apps import declared_apps
from .collect import AccessLine, Collected, Scope, collect, collect_drop_in
from .findings import Findings
from .host import Host
from .kinds import U32_MAX, Value
from .model import (
    AccessRules,
    Configuration,
    CpgOptions,
    LoggingOptions,
    QuorumDevice,
    QuorumOptions,
    ResourceOptions,
    SubsystemLogging,
    SystemOptions,
    TotemOptions,
    WatchedOptions,
)
from .nodes import Asking, Topology, listed_topology, lone_topology
from .options import Values
from .options_totem import VERSION
from .parser import parse
from .schema import options_of
from .sections import check_relations, effective_section, model_fields, runtime_keys

ID_MAX = U32_MAX - 1
"""Highest uid or gid; the one above it means "none" to the kernel."""

NOT_SEALED = (
    "packets are NEITHER ENCRYPTED NOR AUTHENTICATED: whoever reaches the cluster's network can read and forge them; "
    "set `secauth: on` in section totem and make a key with `totemctl keygen`"
)
"""Said at every start of a node without sealing."""

NOT_ENCRYPTED = "packets are authenticated but NOT ENCRYPTED: whoever reaches the cluster's network can read them"
"""Said at every start of a node that only authenticates."""


@dataclass(frozen=True, slots=True)
class SourceText:
    """A file that was read."""

    name: str
    """As messages call it."""
    text: str
    directory: str = "/"
    """Absolute; where relative paths in it start."""
    readable_by_others: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line and the environment decide."""

    authkey_file: str
    """Key file unless `totem.keyfile` names one."""
    state_dir: str
    """State directory unless `system.state_dir` names one."""
    strict: bool = False
    """Unknown names are errors."""


def build(main: SourceText, drop_ins: Sequence[SourceText], settings: Settings, host: Host) -> Configuration:
    """The configuration that the files describe on this host.

    Raises:
        ConfigurationError: with every problem, each as `FILE:LINE: what is wrong, what would be accepted`.
    """
    findings = Findings(strict=settings.strict)
    collected = _read_files(main, drop_ins, findings)
    totem_configured, totem = _totem_values(collected, settings, findings)
    asking = Asking(totem, int(collected.scope("quorum").values.get("votes", 1)), host, findings)
    topology = listed_topology(collected, asking) if collected.nodes else lone_topology(collected, asking)
    logging = _logging(collected, findings)
    access = _access(collected.access, host, findings)
    cpg = _cpg(collected, findings)
    resources = _resources(collected, findings)
    system = _system(collected, settings, findings)
    apps = declared_apps(collected.apps, findings)
    quorum = _quorum(collected, topology, findings)
    _mention_transport(collected, totem, findings)
    _mention_timers(collected, totem, findings)
    _mention_sealing(collected, totem, main, findings)
    findings.raise_problems()
    assert topology is not None, "without a topology there are problems"
    totem_options = _totem(totem_configured, totem)
    return Configuration(
        totem=totem_options,
        interfaces=topology.interfaces,
        nodes=topology.nodes,
        local_node_id=topology.local_node_id,
        logging=logging,
        quorum=quorum,
        access=access,
        cpg=cpg,
        resources=resources,
        system=system,
        apps=apps,
        cmap=_cmap(collected, totem_options, topology, access),
        idle=tuple(sorted(collected.idle)),
        sources=(main.name, *(source.name for source in drop_ins)),
        notices=findings.notices(),
    )


def _read_files(main: SourceText, drop_ins: Sequence[SourceText], findings: Findings) -> Collected:
    root, problems = parse(main.text, main.name)
    findings.problems(problems)
    collected = collect(root, main.directory, findings)
    for source in drop_ins:
        root, problems = parse(source.text, source.name)
        findings.problems(problems)
        collect_drop_in(root, collected, findings)
    return collected


def _totem_values(collected: Collected, settings: Settings, findings: Findings) -> tuple[Values, Values]:
    scope = collected.scope("totem")
    if "version" not in scope.given and "version" not in scope.unusable:
        findings.problem(
            scope.place,
            f"can only parse version {VERSION} configurations; add `version: {VERSION}` to section totem",
        )
    facts: dict[str, Value] = {
        "nodes": len(collected.nodes),
        "authkey_file": settings.authkey_file,
        "configured_transport": scope.text("transport") or "udpu",
    }
    return effective_section("totem", scope, facts, findings)


def _totem(configured: Values, effective: Values) -> TotemOptions:
    fields: dict[str, Value] = {
        **model_fields(options_of("totem"), effective),
        "token_configured": configured["token"],
        "integrity": effective["crypto_cipher"] == "none" and effective["crypto_hash"] != "none",
    }
    return msgspec.convert(fields, TotemOptions)


def _mention_transport(collected: Collected, totem: Values, findings: Findings) -> None:
    place = collected.scope("totem").place_of("transport")
    if totem["configured_transport"] == "knet":
        findings.notice(place, "transport knet is run over udpu: nodes are reached by unicast UDP")
    elif totem["configured_transport"] == "udp" and collected.nodes:
        findings.notice(place, "multicast transport has no effect yet; nodes are reached by unicast")
    elif totem["configured_transport"] == "udp":
        findings.problem(
            place, "multicast transport is not there yet, and without a nodelist there is nobody to reach by unicast; "
            "accepted: a nodelist, or `transport: udpu` for a node that is alone",
        )  # fmt: skip


def _mention_timers(collected: Collected, totem: Values, findings: Findings) -> None:
    scope, token = collected.scope("totem"), totem.number("token")
    if failures := totem.number("heartbeat_failures_allowed"):
        timeout = failures * totem.number("token_retransmit") + totem.number("max_network_delay")
        if timeout >= token:
            findings.notice(
                scope.place_of("heartbeat_failures_allowed"),
                f"the heartbeat is off: its timeout ({timeout} ms) is not shorter than token ({token} ms)",
            )
    if "consensus" in scope.given and totem.number("consensus") < token:
        findings.notice(
            scope.place_of("consensus"),
            f"consensus ({totem['consensus']} ms) is shorter than the effective token timeout ({token} ms); "
            f"{token * 6 // 5} ms would be usual",
        )


def _mention_sealing(collected: Collected, totem: Values, main: SourceText, findings: Findings) -> None:
    scope = collected.scope("totem")
    if totem["crypto_cipher"] == "none":
        place = scope.place_of("crypto_cipher", "secauth")
        findings.notice(place, NOT_SEALED if totem["crypto_hash"] == "none" else NOT_ENCRYPTED)
    if "key" in scope.given and main.readable_by_others:
        findings.notice(
            scope.place_of("key"), f"the cluster key can be read by every user: chmod 0400 {main.name} mends it"
        )


def _logging(collected: Collected, findings: Findings) -> LoggingOptions:
    scope = collected.scope("logging")
    _, values = effective_section("logging", scope, {}, findings)
    subsystems = []
    for name, own in sorted(collected.subsystems.items()):
        merged = Scope(own.place, {**scope.given, **own.given})
        if own.given.keys() & {"to_logfile", "logfile"}:
            check_relations("logging", Values({**values, **own.values}), merged, findings)
        fields = model_fields(options_of("logging.logger_subsys"), own.values)
        subsystems.append(msgspec.convert({**fields, "subsys": name}, SubsystemLogging))
    return msgspec.convert({**model_fields(options_of("logging"), values), "subsystems": subsystems}, LoggingOptions)


def _quorum(collected: Collected, topology: Topology | None, findings: Findings) -> QuorumOptions:
    facts: dict[str, Value] = {
        "listed_votes": sum(node.votes for node in topology.nodes) if topology else 0,
        "voters_known": bool(collected.nodes) or "expected_votes" in collected.scope("quorum").given,
        "has_device": "model" in collected.scope("quorum.device").given,
    }
    _, values = effective_section("quorum", collected.scope("quorum"), facts, findings)
    device = None
    if facts["has_device"]:
        _, device_values = effective_section("quorum.device", collected.scope("quorum.device"), {}, findings)
        device = msgspec.convert(model_fields(options_of("quorum.device"), device_values), QuorumDevice)
    options = msgspec.convert(model_fields(options_of("quorum"), values), QuorumOptions)
    return msgspec.structs.replace(options, device=device)


def _cpg(collected: Collected, findings: Findings) -> CpgOptions:
    _, values = effective_section("cpg", collected.scope("cpg"), {}, findings)
    return msgspec.convert(model_fields(options_of("cpg"), values), CpgOptions)


def _resources(collected: Collected, findings: Findings) -> ResourceOptions:
    figures = {}
    for name in ("memory_used", "load_15min"):
        section = f"resources.system.{name}"
        _, values = effective_section(section, collected.scope(section), {}, findings)
        figures[name] = msgspec.convert(model_fields(options_of(section), values), WatchedOptions)
    _, values = effective_section("resources", collected.scope("resources"), {}, findings)
    options = msgspec.convert(model_fields(options_of("resources"), values), ResourceOptions)
    return msgspec.structs.replace(options, **figures)


def _system(collected: Collected, settings: Settings, findings: Findings) -> SystemOptions:
    _, values = effective_section(
        "system", collected.scope("system"), {"default_state_dir": settings.state_dir}, findings
    )
    return msgspec.convert(model_fields(options_of("system"), values), SystemOptions)


def _access(lines: Sequence[AccessLine], host: Host, findings: Findings) -> AccessRules:
    found: dict[str, set[int]] = {"uid": set(), "gid": set()}
    for line in lines:
        number: int | None
        if re.fullmatch(r"[0-9]{1,10}", line.name):
            number = int(line.name) if int(line.name) <= ID_MAX else None
        else:
            number = host.user_id(line.name) if line.key == "uid" else host.group_id(line.name)
        if number is None:
            what = "user" if line.key == "uid" else "group"
            findings.problem(
                line.place, f"{line.key}: there is no {what} '{line.name}'; accepted: its name, or 0 to {ID_MAX}"
            )
        else:
            found[line.key].add(number)
    return AccessRules(tuple(sorted(found["uid"])), tuple(sorted(found["gid"])))


def _cmap(collected: Collected, totem: TotemOptions, topology: Topology, access: AccessRules) -> dict[str, str | int]:
    """What the files say, and what corosync adds to it: completed ids, effective values, who may connect."""
    cmap = dict(collected.cmap)
    for position, node in enumerate(topology.nodes if collected.nodes else ()):
        cmap[f"nodelist.node.{position}.nodeid"] = node.node_id
        if node.node_id == topology.local_node_id:
            cmap["nodelist.local_node_pos"] = position
    cmap.update(runtime_keys(totem))
    cmap.update({f"uidgid.config.uid.{uid}": 1 for uid in access.uids})
    cmap.update({f"uidgid.config.gid.{gid}": 1 for gid in access.gids})
    return dict(sorted(cmap.items()))
