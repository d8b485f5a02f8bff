"""The node list and the links: addresses resolved, node ids complete, this node found.

Source: corosync.conf(5) and the checks of corosync 3.1.7.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from .collect import Collected, Scope
from .findings import Findings
from .host import IP_VERSIONS, Host, Unresolved, is_local, numeric
from .identity import Candidate, Unidentified, by_bind_address, identify
from .kinds import Value
from .model import InterfaceOptions, NodeEntry
from .options import Values
from .options_nodes import LINKS_MAX, NODE_OPTIONS, NODES_MAX, node_id_of
from .schema import options_of
from .sections import effective_section, model_fields


@dataclass(frozen=True, slots=True)
class Topology:
    """Who is in the cluster, and over which links."""

    nodes: tuple[NodeEntry, ...]
    interfaces: tuple[InterfaceOptions, ...]
    local_node_id: int


@dataclass(frozen=True, slots=True)
class Asking:
    """What the rules about nodes need besides the files' own words."""

    totem: Values
    """Effective values of `totem { }`."""
    votes: int
    """Of a node that says nothing."""
    host: Host
    findings: Findings


def listed_topology(collected: Collected, asking: Asking) -> Topology | None:
    """The topology of a configuration with a node list; `None` if it has problems (which are then found)."""
    scopes, findings = collected.nodes, asking.findings
    before = findings.count
    if len(scopes) > NODES_MAX:
        findings.problem(scopes[NODES_MAX].place, f"{len(scopes)} nodes are listed; at most {NODES_MAX} are accepted")
        return None
    links = sorted({link for scope in scopes for link in _links_of(scope)})
    _check_links(scopes, links, findings)
    if not links:
        return None  # the only addresses that were given cannot be used, which has been said
    addresses = [_resolved(scope, asking) for scope in scopes]
    if findings.count > before or any(len(own) != len(links) for own in addresses):
        return None
    _check_addresses(scopes, addresses, links, findings)
    nodes = [_entry(scope, found, asking) for scope, found in zip(scopes, addresses, strict=True)]
    _check_ids(scopes, nodes, findings)
    if findings.count > before:
        return None
    local = _identify(collected, nodes, links, asking)
    if local is None:
        return None
    interfaces = tuple(
        _interface(collected, link, address, asking) for link, address in zip(links, local.addresses, strict=True)
    )
    _mention_unused(collected, nodes, links, asking)
    return Topology(tuple(nodes), interfaces, local.node_id)


def lone_topology(collected: Collected, asking: Asking) -> Topology | None:
    """The topology without a node list: one node, on the interface that `bindnetaddr` names."""
    findings = asking.findings
    bound = {link: scope for link, scope in sorted(collected.interfaces.items()) if "bindnetaddr" in scope.given}
    if not bound:
        findings.problem(
            collected.place, "there is no nodelist { } with nodes, and no totem.interface with a bindnetaddr either; "
            "accepted: a nodelist, or bindnetaddr for a node that is alone",
        )  # fmt: skip
        return None
    link, scope = next(iter(bound.items()))
    place = scope.place_of("bindnetaddr")
    address = _bound_address(scope.text("bindnetaddr"), asking)
    if address is None:
        there = ", ".join(str(own) for own in asking.host.local_addresses())
        findings.problem(
            place, f"bindnetaddr {scope.text('bindnetaddr')}: no interface of this machine has this address or is in "
            f"this network; there are {there}",
        )  # fmt: skip
        return None
    made = node_id_of(address, clear_high_bit=asking.totem.flag("clear_node_high_bit"))
    node_id = asking.totem.number("nodeid") if "nodeid" in asking.totem else made
    if not node_id:
        findings.problem(place, "An IPV6 network requires that a node ID be specified; add `nodeid: N` to totem { }")
        return None
    findings.notice(
        place, f"there is no nodelist: this node (id {node_id}, {address}) is alone; multicast does not find others "
        "yet. Please migrate config file to nodelist",
    )  # fmt: skip
    interface = _interface(collected, link, address, asking)
    return Topology((NodeEntry(node_id, "", (address,), asking.votes),), (interface,), node_id)


def _links_of(scope: Scope) -> list[int]:
    return [link for link in range(LINKS_MAX) if f"ring{link}_addr" in scope.given]


def _check_links(scopes: Sequence[Scope], links: Sequence[int], findings: Findings) -> None:
    for scope in scopes:
        own = _links_of(scope)
        if any(key.startswith("ring") for key in scope.unusable):
            continue  # said already
        if not own:
            findings.problem(scope.place, "No ring0_addr specified for node; add `ring0_addr: ADDRESS`")
        elif own != list(links):
            missing = ", ".join(f"ring{link}_addr" for link in links if link not in own)
            findings.problem(scope.place, f"Not all nodes have the same number of links: this one has no {missing}")
        if len(links) > 1 and not scope.text("name"):
            findings.problem(scope.place, "for a multi-link configuration, all nodes must have a 'name' attribute")


def _resolved(scope: Scope, asking: Asking) -> tuple[str, ...]:
    """Numeric addresses of a node, in the order of its links; what cannot be resolved is a problem and left out."""
    ip_version = asking.totem.text("ip_version")
    found = []
    for link in _links_of(scope):
        given = scope.given[f"ring{link}_addr"]
        try:
            found.append(asking.host.resolve(str(given.value), IP_VERSIONS[ip_version]))
        except Unresolved as reason:
            asking.findings.problem(
                given.place, f"failed to parse node address '{given.value}' with ip_version {ip_version}: {reason}; "
                "accepted: a numeric address of that version, or a name that has one",
            )  # fmt: skip
    return tuple(found)


def _check_addresses(
    scopes: Sequence[Scope], addresses: Sequence[tuple[str, ...]], links: Sequence[int], findings: Findings
) -> None:
    for index, link in enumerate(links):
        key = f"ring{link}_addr"
        owners: dict[str, int] = {}
        for position, (scope, own) in enumerate(zip(scopes, addresses, strict=True)):
            address = own[index]
            number = ipaddress.ip_address(address)
            if number.is_multicast or number.is_unspecified:
                findings.problem(
                    scope.place_of(key), f"{key} {address} is no address that a node can have; accepted: unicast"
                )
            if _version(address) != _version(addresses[0][index]):
                findings.problem(
                    scope.place_of(key), f"Nodes for link {link} have different IP families (compared {address} with "
                    f"{addresses[0][index]}); all need the same",
                )  # fmt: skip
            if owners.setdefault(address, position) != position:
                findings.problem(
                    scope.place_of(key),
                    f"{key} {address} is taken by the node at {scopes[owners[address]].place}; each needs its own",
                )


def _entry(scope: Scope, addresses: tuple[str, ...], asking: Asking) -> NodeEntry:
    facts: dict[str, Value] = {
        "first_address": addresses[0],
        "votes": asking.votes,
        "clear_node_high_bit": asking.totem["clear_node_high_bit"],
    }
    _, values = effective_section("nodelist.node", scope, facts, asking.findings)
    return msgspec.convert({**model_fields(NODE_OPTIONS, values), "addresses": addresses}, NodeEntry)


def _check_ids(scopes: Sequence[Scope], nodes: Sequence[NodeEntry], findings: Findings) -> None:
    owners: dict[int, int] = {}
    for position, (scope, node) in enumerate(zip(scopes, nodes, strict=True)):
        made = "nodeid" not in scope.given
        if not node.node_id:
            findings.problem(
                scope.place, f"An IPV6 network requires that a node ID be specified for address '{node.addresses[0]}'; "
                "add `nodeid: N`",
            )  # fmt: skip
        elif owners.setdefault(node.node_id, position) != position:
            origin = f"(autogenerated from {node.addresses[0]}) " if made else ""
            findings.problem(
                scope.place_of("nodeid"), f"Nodeid {node.node_id} {origin}appears twice in corosync.conf: the "
                f"node at {scopes[owners[node.node_id]].place} has it; each needs its own",
            )  # fmt: skip
        elif made:
            findings.notice(scope.place, f"nodeid {node.node_id} is made from the address {node.addresses[0]}")


def _identify(
    collected: Collected, nodes: Sequence[NodeEntry], links: Sequence[int], asking: Asking
) -> NodeEntry | None:
    try:
        local = identify(
            _candidates(collected, nodes, links),
            nodeid=asking.totem.number("nodeid") if "nodeid" in asking.totem else 0,
            bind=_bind(collected, links),
            host=asking.host,
        )
    except Unidentified as reason:
        totem = collected.scope("totem")
        place = totem.place_of("nodeid") if "nodeid" in totem.given else collected.scope("nodelist").place
        asking.findings.problem(place, str(reason))
        return None
    return next(node for node in nodes if node.node_id == local.node_id)


def _candidates(collected: Collected, nodes: Sequence[NodeEntry], links: Sequence[int]) -> list[Candidate]:
    return [
        Candidate(node.node_id, node.name, scope.text(f"ring{links[0]}_addr"), node.addresses[0])
        for scope, node in zip(collected.nodes, nodes, strict=True)
    ]


def _bind(collected: Collected, links: Sequence[int]) -> str:
    return collected.interfaces[links[0]].text("bindnetaddr") if links[0] in collected.interfaces else ""


def _interface(collected: Collected, link: int, address: str, asking: Asking) -> InterfaceOptions:
    scope = collected.interfaces.get(link, Scope(collected.place))
    facts: dict[str, Value] = {
        "cluster_name": asking.totem["cluster_name"],
        "multicast": asking.totem["configured_transport"] == "udp",
        "family": _version(address),
        "linknumber": link,
    }
    _, values = effective_section("totem.interface", scope, facts, asking.findings)
    group = values.text("mcastaddr")
    if group and not _is_multicast(group):
        asking.findings.problem(
            scope.place_of("mcastaddr"),
            f"mcastaddr {group} is not a correct multicast address; accepted: 224.0.0.0 to 239.255.255.255, ff00::/8",
        )
    elif group and _version(group) != _version(address):
        asking.findings.problem(
            scope.place_of("mcastaddr"), f"mcastaddr {group}: its family does not match that of the node, {address}"
        )
    fields = model_fields(options_of("totem.interface"), values)
    return msgspec.convert({**fields, "bind_address": address, "mcast_address": group}, InterfaceOptions)


def _mention_unused(collected: Collected, nodes: Sequence[NodeEntry], links: Sequence[int], asking: Asking) -> None:
    findings = asking.findings
    if len(links) > 1:
        others = ", ".join(str(link) for link in links[1:])
        findings.notice(
            collected.scope("nodelist").place, f"only link {links[0]} carries traffic yet; link {others} is not used"
        )
    for link, scope in sorted(collected.interfaces.items()):
        if link not in links:
            findings.notice(scope.place, f"interface {link} is not used: no node has a ring{link}_addr")
        elif "bindnetaddr" in scope.given:
            candidates = _candidates(collected, nodes, links)
            if by_bind_address(candidates, scope.text("bindnetaddr"), asking.host) is None or link != links[0]:
                findings.notice(
                    scope.place_of("bindnetaddr"), "bindnetaddr is not used, since there is a nodelist with addresses"
                )


def _bound_address(bind: str, asking: Asking) -> str | None:
    """The address of this machine that `bindnetaddr` means: itself, or one in its network."""
    address = numeric(bind)
    if address is None:
        try:
            address = asking.host.resolve(bind, IP_VERSIONS[asking.totem.text("ip_version")])
        except Unresolved:
            return None
    if is_local(address, asking.host):
        return address
    wanted = ipaddress.ip_address(address)
    return next((str(own.ip) for own in asking.host.local_addresses() if wanted in own.network), None)


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version


def _is_multicast(address: str) -> bool:
    literal = numeric(address)
    return literal is not None and ipaddress.ip_address(literal).is_multicast
