"""The rows of `totem { interface { } }` and `nodelist { node { } }`: links, addresses, nodes."""

from __future__ import annotations

import ipaddress

from .kinds import U8_MAX, U16_MAX, Choice, HostAddress, Integer, Switch, Text
from .model import DEFAULT_PORT
from .options import Derived, Effect, Option, Relation, Values

LINKS_MAX = 8
"""Links of a node, numbered from 0."""

NODES_MAX = 384
"""Nodes of a cluster, as compiled into corosync; 16 to 32 is what people run."""

_LINK = Integer(0, LINKS_MAX - 1)


def multicast_address(cluster_name: str, link: int, version: int) -> str:
    """The multicast address that corosync makes from the name of a cluster; empty without a name."""
    if not cluster_name:
        return ""
    number = 0
    for byte in cluster_name.encode():
        number = 2 * number + byte
    number = (number + link) % 2**16
    return f"ff15::{number:x}" if version == 6 else f"239.192.{number >> 8}.{number % 255}"


def node_id_of(address: str, *, clear_high_bit: bool) -> int:
    """The node id that corosync makes from an IPv4 address; 0 for any other."""
    try:
        number = int(ipaddress.IPv4Address(address))
    except ValueError:
        return 0
    return number & 0x7FFFFFFF if clear_high_bit else number


def _default_mcastaddr(values: Values) -> str:
    if not values.flag("multicast") or values.flag("broadcast"):
        return ""
    return multicast_address(values.text("cluster_name"), values.number("linknumber"), values.number("family"))


def _default_node_id(values: Values) -> int:
    return node_id_of(values.text("first_address"), clear_high_bit=values.flag("clear_node_high_bit"))


def _knet(key: str, kind: Integer, default: int, doc: str) -> Option:
    return Option(
        path=f"totem.interface.knet_{key}", kind=kind, default=default, reload=True, effect=Effect.LATER, doc=doc
    )


INTERFACE_OPTIONS: tuple[Option, ...] = (
    Option(
        path="totem.interface.linknumber",
        kind=_LINK,
        default=0,
        field="link",
        doc="Which link the section describes; two sections with the same number are one.",
        heritage="2.x: 0 and 1",
    ),
    Option(
        path="totem.interface.ringnumber",
        kind=_LINK,
        field=None,
        spelling_of="linknumber",
        doc="Older spelling of `linknumber`.",
    ),
    Option(
        path="totem.interface.bindnetaddr",
        kind=HostAddress("an address, a network address or a host name"),
        field=None,
        doc="Without a node list: the address of this node, or the network that an interface of this machine is in. "
        "With one: if it is exactly the address of a node, and that address is on this machine, this is that node; "
        "otherwise it is not used.",
        heritage="3.x ignores it when there is a node list",
    ),
    Option(
        path="totem.interface.broadcast",
        kind=Switch(),
        default=False,
        effect=Effect.LATER,
        doc="Broadcast instead of multicast; excludes mcastaddr.",
    ),
    Option(
        path="totem.interface.mcastaddr",
        kind=HostAddress("a multicast address"),
        field=None,
        effect=Effect.LATER,
        default=Derived("from cluster_name and linknumber: 239.192.x.y, or ff15::x", _default_mcastaddr),
        doc="Multicast address of the cluster, for `transport: udp`.",
    ),
    Option(
        path="totem.interface.mcastport",
        kind=Integer(1, U16_MAX),
        default=Derived(f"{DEFAULT_PORT} + linknumber", lambda v: DEFAULT_PORT + v.number("linknumber")),
        field="port",
        doc="UDP port of the link, the same on every node. Leave the port below it free too: corosync uses both.",
        heritage="2.x: 5405 for every ring",
    ),
    Option(
        path="totem.interface.ttl",
        kind=Integer(0, U8_MAX),
        default=1,
        effect=Effect.LATER,
        doc="How many routers a multicast packet may pass.",
        heritage="3.x refuses it where there is no multicast",
    ),
    _knet(
        "link_priority", Integer(0, U8_MAX), 1, "Order of the links in passive mode; the highest that works is used."
    ),
    _knet(
        "ping_interval", Integer(unit="ms"), 0, "Pause between two tests of a link; 0 = token / (knet_pong_count × 2)."
    ),
    _knet("ping_timeout", Integer(unit="ms"), 0, "Time after which a test has failed; 0 = token / knet_pong_count."),
    _knet("ping_precision", Integer(), 2048, "How many values the latency of a link is averaged over."),
    _knet("pong_count", Integer(), 2, "Good tests in a row after which a link is up."),
    Option(
        path="totem.interface.knet_transport",
        kind=Choice(("udp", "sctp"), "Unrecognised knet_transport"),
        field=None,
        effect=Effect.OBSOLETE,
        doc="Protocol below a knet link.",
    ),
    Option(
        path="totem.interface.member.memberaddr",
        kind=HostAddress(),
        field=None,
        effect=Effect.OBSOLETE,
        doc="2.x: node list of udpu; now `nodelist`.",
    ),
)

INTERFACE_RELATIONS = (
    Relation(
        "totem.interface",
        ("mcastaddr", "broadcast"),
        lambda v: not (v.flag("mcastaddr") and v.flag("broadcast")),
        lambda v: "mcastaddr and broadcast: yes exclude each other; leave one of them out",
    ),
)

NODE_OPTIONS: tuple[Option, ...] = (
    Option(
        path="nodelist.node.nodeid",
        kind=Integer(1),
        reload=True,
        field="node_id",
        default=Derived("the IPv4 address of the first link as a number; IPv6: required", _default_node_id),
        doc="The node's number, unique in the cluster. Better given: an id made from an address changes with it.",
        heritage="knet: required, below 65536",
    ),
    Option(
        path="nodelist.node.name",
        kind=Text("a name"),
        default="",
        reload=True,
        doc="What tools call the node; also compared with the host name to find out which node this is. Required of "
        "every node when there are several links.",
    ),
    Option(
        path="nodelist.node.quorum_votes",
        kind=Integer(),
        default=Derived("quorum.votes", lambda v: v.number("votes")),
        field="votes",
        reload=True,
        doc="Votes of the node; 0 is allowed.",
    ),
    *(
        Option(
            path=f"nodelist.node.ring{link}_addr",
            kind=HostAddress(),
            field=None,
            reload=True,
            effect=Effect.ACTIVE if link == 0 else Effect.LATER,
            doc="Address of the node on link 0; a name is resolved once, at start."
            if link == 0
            else f"The same on link {link}. All nodes need the same links. Only the first carries traffic yet.",
        )
        for link in range(LINKS_MAX)
    ),
)
