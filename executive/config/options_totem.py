"""The rows of `totem { }` but for the timers: addressing, sealing, links, leftovers.

Source of bounds and defaults: corosync.conf(5) and the checks of corosync 3.1.7.
"""

from __future__ import annotations

from .kinds import I32_MAX, I32_MIN, U64_MAX, Choice, Exactly, FilePath, Integer, KeyText, Switch, Text
from .model import DEFAULT_KEY_FILE, KEY_BITS_MAX, KEY_BITS_MIN
from .options import Derived, Effect, Option, Relation
from .options_timers import FLOW, TIMERS

VERSION = 2
"""The only version of the file format that there is."""

NETMTU_MIN = 576
"""Smallest datagram that can be asked for: what every IPv4 network carries."""

NETMTU_MAX = 65535
"""Largest IP packet."""

ADDRESSING = (
    Option(
        path="totem.version",
        kind=Exactly(VERSION, f"can only parse version {VERSION} configurations"),
        field=None,
        doc="Version of the file format. Required.",
    ),
    Option(
        path="totem.cluster_name",
        kind=Text(),
        default="",
        doc="Name of the cluster. Nodes of different clusters that share a network should have different names; "
        "the multicast address follows from it.",
    ),
    Option(
        path="totem.transport",
        kind=Choice(("udpu", "udp", "knet"), "Invalid transport type"),
        default="udpu",
        effective=Derived("udpu", lambda values: "udpu"),
        doc="How packets travel: `udpu` sends to each node of the list. `knet` files are understood and run over udpu "
        "(link 0). `udp` (multicast) has no effect yet: with a node list the nodes are reached by unicast, without "
        "one it is an error.",
        heritage="3.x defaults to knet, 2.x to udp; iba is gone",
    ),
    Option(
        path="totem.nodeid",
        kind=Integer(1),
        default=None,
        doc="Which node of the list this one is; so one node list can serve several nodes on one machine. Without a "
        "node list it is this node's id.",
        heritage="3.x ignores it when there is a node list",
    ),
    Option(
        path="totem.clear_node_high_bit",
        kind=Switch(),
        default=False,
        field=None,
        doc="Clear the highest bit of node ids that are made from an IPv4 address, for programs that read them as "
        "signed numbers.",
    ),
    Option(
        path="totem.config_version",
        kind=Integer(high=U64_MAX),
        default=0,
        reload=True,
        effect=Effect.LATER,
        doc="Version of this file, counted by who edits it; a node with an older one than the others stops. 0 = not "
        "compared.",
    ),
    Option(
        path="totem.ip_version",
        kind=Choice(("ipv4", "ipv6", "ipv4-6", "ipv6-4"), "Invalid ip_version type"),
        default=Derived(
            "ipv4 for transport udp, else ipv6-4", lambda v: "ipv4" if v["configured_transport"] == "udp" else "ipv6-4"
        ),
        doc="Family of the addresses that names are resolved to; with two, the first is preferred.",
        heritage="2.x: ipv4",
    ),
    Option(
        path="totem.block_unlisted_ips",
        kind=Switch(),
        default=True,
        doc="Drop packets from addresses that are not in the node list, before anything else is looked at.",
        heritage="reloadable",
    ),
    Option(
        path="totem.netmtu",
        kind=Integer(high=NETMTU_MAX, unit="bytes"),
        default=1500,
        zero_is_default=True,
        at_least=NETMTU_MIN,
        doc="Largest datagram, IP header included. Above the MTU of the network packets are fragmented by IP, and the "
        "loss of one fragment loses the datagram.",
    ),
    Option(
        path="totem.link_mode",
        kind=Choice(("passive", "active", "rr"), "Invalid link mode"),
        default="passive",
        reload=True,
        effect=Effect.LATER,
        doc="Use of several links: one at a time, all at once, or in turn.",
        heritage="2.x: rrp_mode",
    ),
)

SEALING = (
    Option(
        path="totem.secauth",
        kind=Switch(),
        default=False,
        field=None,
        doc="Encrypt and authenticate: the same as `crypto_cipher: aes256`. An explicit cipher or hash wins.",
        heritage="2.x: on",
    ),
    Option(
        path="totem.crypto_cipher",
        kind=Choice(("none", "aes128", "aes192", "aes256", "chacha20poly1305"), "Invalid cipher type"),
        default=Derived("aes256 with `secauth: on`, else none", lambda v: "aes256" if v.flag("secauth") else "none"),
        field="cipher",
        doc="What packets are encrypted with: AES-GCM, or ChaCha20-Poly1305 for processors without AES instructions. "
        "Every cipher authenticates too. The bytes differ from corosync's: both cannot share a ring.",
        heritage="CBC with a separate hash; 2.x: aes256 and 3des; reloadable in 3.x",
    ),
    Option(
        path="totem.crypto_hash",
        kind=Choice(("none", "md5", "sha1", "sha256", "sha384", "sha512"), "Invalid hash type"),
        default=Derived(
            "sha256 with a cipher or `secauth: on`, else none",
            lambda v: "sha256" if v.flag("secauth") or v["crypto_cipher"] != "none" else "none",
        ),
        field=None,
        doc="With `crypto_cipher: none`, any hash asks for packets that are authenticated but readable. With a cipher "
        "it must not be none; which hash is named makes no difference, the cipher brings its own.",
        heritage="decides the algorithm; reloadable in 3.x",
    ),
    Option(
        path="totem.keyfile",
        kind=FilePath(),
        default=Derived(
            f"COROSYNC_TOTEM_AUTHKEY_FILE, else {DEFAULT_KEY_FILE}", lambda values: values.text("authkey_file")
        ),
        doc="File of the cluster key, the same on every node; read only when packets are sealed. `totemctl keygen` "
        "makes one. It must not be readable by others.",
        heritage="accepts a key that everybody can read; reloadable in 3.x",
    ),
    Option(
        path="totem.key",
        kind=KeyText(KEY_BITS_MIN, KEY_BITS_MAX),
        secret=True,
        doc="The cluster key itself; wins over `keyfile`. The configuration file must then be kept as secret as a key.",
    ),
)

KNET = (
    Option(
        path="totem.knet_pmtud_interval",
        kind=Integer(unit="seconds"),
        default=30,
        zero_is_default=True,
        at_least=1,
        reload=True,
        effect=Effect.LATER,
        doc="How often the MTU of the path is measured.",
    ),
    Option(
        path="totem.knet_mtu",
        kind=Integer(unit="bytes"),
        default=0,
        reload=True,
        effect=Effect.LATER,
        doc="Fixes the MTU of the path; 0 = measured.",
        heritage="since 3.1.7",
    ),
    Option(
        path="totem.knet_compression_model",
        kind=Choice(("none", "zlib", "lz4", "lz4hc", "lzo2", "lzma", "bzip2", "zstd"), "Invalid compression model"),
        default="none",
        reload=True,
        effect=Effect.LATER,
        doc="What packets are compressed with.",
    ),
    Option(
        path="totem.knet_compression_threshold",
        kind=Integer(unit="bytes"),
        default=0,
        reload=True,
        effect=Effect.LATER,
        doc="Packets below this size are not compressed; 0 = 100.",
    ),
    Option(
        path="totem.knet_compression_level",
        kind=Integer(I32_MIN, I32_MAX),
        default=0,
        reload=True,
        effect=Effect.LATER,
        doc="Passed on to the compression.",
    ),
)


def _obsolete(key: str, kind: Integer | Choice | Switch, doc: str) -> Option:
    return Option(path=f"totem.{key}", kind=kind, field=None, effect=Effect.OBSOLETE, doc=doc)


OBSOLETE = (
    _obsolete("crypto_model", Choice(("nss", "openssl"), "Invalid crypto model"), "Library that encrypts."),
    _obsolete("crypto_type", Choice(("nss",)), "2.x: library that encrypts."),
    _obsolete("threads", Integer(), "1.x: number of sending threads."),
    _obsolete("rrp_mode", Choice(("none", "active", "passive")), "2.x: redundant rings; now `link_mode`."),
    _obsolete("rrp_problem_count_timeout", Integer(unit="ms"), "2.x: redundant rings."),
    _obsolete("rrp_problem_count_threshold", Integer(), "2.x: redundant rings."),
    _obsolete("rrp_problem_count_mcast_threshold", Integer(), "2.x: redundant rings."),
    _obsolete("rrp_token_expired_timeout", Integer(unit="ms"), "2.x: redundant rings."),
    _obsolete("rrp_autorecovery_check_timeout", Integer(unit="ms"), "2.x: redundant rings."),
)

TOTEM_OPTIONS: tuple[Option, ...] = (*ADDRESSING, *TIMERS, *FLOW, *SEALING, *KNET, *OBSOLETE)

TOTEM_RELATIONS = (
    Relation(
        "totem",
        ("consensus", "join"),
        lambda v: v.number("consensus") >= v.number("join"),
        lambda v: (
            f"The consensus timeout parameter ({v['consensus']} ms) may not be less than join timeout ({v['join']} ms)"
        ),
    ),
    Relation(
        "totem",
        ("crypto_hash", "crypto_cipher"),
        lambda v: v["crypto_cipher"] == "none" or v["crypto_hash"] != "none",
        lambda v: (
            f"crypto_cipher requires crypto_hash with value other than none, but {v['crypto_cipher']} has crypto_hash: "
            "none; leave crypto_hash out, every cipher authenticates by itself"
        ),
    ),
)
