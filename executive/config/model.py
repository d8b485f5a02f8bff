"""What the rest of totemd knows of the configuration: frozen structs with *effective* values.

Everything is resolved here: derived timeouts are numbers, names are addresses, a mapped transport is the one that
runs.  The text of the file stays readable under `Configuration.cmap`.  The structs travel to the child processes as
msgpack (`msgspec.msgpack.encode(configuration)`, `decode(raw, type=Configuration)`); times are milliseconds.
The defaults below are those of a lone node on loopback, so that any struct can be built with what a test cares about.
Meaning, bounds and defaults of each option: docs/configuration.md.
"""

from __future__ import annotations

import msgspec

from ...ipc.errors import NotFound

DEFAULT_PORT = 5405
"""UDP port of link 0; link n uses this + n."""

DEFAULT_KEY_FILE = "/etc/corosync/authkey"
"""Where the cluster key lies when neither the file nor the environment says."""

DEFAULT_STATE_DIR = "/var/lib/corosync"
"""Where root keeps the ring sequence when neither the file nor a run directory says."""

KEY_BITS_MIN = 1024
"""Shortest cluster key."""

KEY_BITS_MAX = 32768
"""Longest cluster key."""

LOOPBACK = "127.0.0.1"
"""Address of the lone node of a machine without configuration."""


class TotemOptions(msgspec.Struct, frozen=True):
    """`totem { }`: the ring's protocol."""

    version: int = 2
    cluster_name: str = ""
    transport: str = "udpu"
    """`udpu` or `udp`; `knet` in the file is mapped to `udpu`."""
    nodeid: int = 0
    """As configured; 0 = not given.  Which node this one is: `Configuration.local_node_id`."""
    config_version: int = 0
    """0 = not compared with other nodes."""
    ip_version: str = "ipv6-4"
    """How names were resolved: `ipv4`, `ipv6`, `ipv4-6` or `ipv6-4` (the first family is preferred)."""
    link_mode: str = "passive"
    """`passive`, `active` or `rr`: use of several links."""
    block_unlisted_ips: bool = True
    netmtu: int = 1500
    """Largest datagram, IP header included."""

    token: int = 3000
    """Effective token timeout: `token_configured` + coefficient for each node above two."""
    token_configured: int = 3000
    token_coefficient: int = 650
    token_warning: int = 75
    """Percent of `token` after which its absence is logged; 0 = never."""
    token_retransmits_before_loss_const: int = 4
    token_retransmit: int = 714
    hold: int = 561
    join: int = 50
    send_join: int = 0
    """Upper bound of the random delay before a join message."""
    consensus: int = 3600
    merge: int = 200
    downcheck: int = 1000
    max_network_delay: int = 50
    heartbeat_failures_allowed: int = 0
    """0 = the heartbeat is off."""
    cancel_token_hold_on_retransmit: bool = False

    fail_recv_const: int = 2500
    seqno_unchanged_const: int = 30
    miss_count_const: int = 5
    window_size: int = 50
    max_messages: int = 17

    cipher: str = "none"
    """`none`, `aes128`, `aes192`, `aes256` or `chacha20poly1305`."""
    integrity: bool = False
    """A hash without a cipher was asked for: packets are authenticated but can be read by others."""
    keyfile: str = DEFAULT_KEY_FILE
    key: str | None = None
    """The key itself, from the file; wins over `keyfile`."""

    knet_pmtud_interval: int = 30
    """Seconds."""
    knet_mtu: int = 0
    knet_compression_model: str = "none"
    knet_compression_threshold: int = 0
    knet_compression_level: int = 0

    @property
    def sealed(self) -> bool:
        """Whether packets are authenticated, and so whether a key is needed."""
        return self.integrity or self.cipher != "none"


class InterfaceOptions(msgspec.Struct, frozen=True):
    """One link.  `NodeEntry.addresses[i]` belongs to `Configuration.interfaces[i]`."""

    link: int = 0
    """Its number, 0 to 7."""
    bind_address: str = LOOPBACK
    """Numeric address of this node on the link."""
    mcast_address: str = ""
    """Numeric; empty unless the transport is multicast."""
    broadcast: bool = False
    port: int = DEFAULT_PORT
    """UDP port; corosync also uses the one below it."""
    ttl: int = 1
    knet_link_priority: int = 1
    knet_ping_interval: int = 0
    """0 = derived from the token timeout, as are the next two where they are 0."""
    knet_ping_timeout: int = 0
    knet_ping_precision: int = 2048
    knet_pong_count: int = 2


class NodeEntry(msgspec.Struct, frozen=True):
    """One node of the cluster.  Its position in `Configuration.nodes` is its position in the file."""

    node_id: int = 1
    name: str = ""
    """As configured; may be empty."""
    addresses: tuple[str, ...] = (LOOPBACK,)
    """Numeric, one for each link."""
    votes: int = 1

    @property
    def label(self) -> str:
        """What people call the node: its name, else its first address."""
        return self.name or self.addresses[0]


class SubsystemLogging(msgspec.Struct, frozen=True):
    """`logging { logger_subsys { } }`: what one subsystem does differently; `None` = as everything else."""

    subsys: str
    to_stderr: bool | None = None
    to_syslog: bool | None = None
    to_logfile: bool | None = None
    logfile: str | None = None
    syslog_facility: str | None = None
    syslog_priority: str | None = None
    logfile_priority: str | None = None
    debug: str | None = None


class LoggingOptions(msgspec.Struct, frozen=True):
    """`logging { }`: where log lines go, and which."""

    to_stderr: bool = True
    to_syslog: bool = True
    to_logfile: bool = False
    logfile: str = ""
    """Path; not empty when `to_logfile` is set."""
    syslog_facility: str = "daemon"
    syslog_priority: str = "info"
    """Lowest that goes to syslog: emerg, alert, crit, err, warning, notice, info or debug."""
    logfile_priority: str = "info"
    """Lowest that goes to the log file and to stderr."""
    debug: str = "off"
    """`off`, `on` or `trace`; `on` and `trace` override the priorities."""
    timestamp: str = "hires"
    """`off`, `on` (seconds) or `hires` (milliseconds); file and stderr only."""
    fileline: bool = False
    function_name: bool = False
    blackbox: bool = True
    blackbox_size: int = 8192
    """KiB of the recording."""
    blackbox_dumps: int = 10
    """Dumps that are kept."""
    subsystems: tuple[SubsystemLogging, ...] = ()
    """Sorted by name; names are upper case."""

    def effective_for(self, subsys: str) -> LoggingOptions:
        """The options that hold for one subsystem (its name in any case)."""
        for override in self.subsystems:
            if override.subsys == subsys.upper():
                given = {name: value for name, value in msgspec.structs.asdict(override).items() if value is not None}
                del given["subsys"]
                return msgspec.structs.replace(self, **given)
        return self


class QuorumDevice(msgspec.Struct, frozen=True):
    """`quorum { device { } }`: an extra voter."""

    model: str = ""
    votes: int = 0
    """0 = not given."""
    timeout: int = 10_000
    sync_timeout: int = 30_000
    master_wins: bool = False


class QuorumOptions(msgspec.Struct, frozen=True):
    """`quorum { }`: how votes are counted."""

    provider: str = ""
    """`corosync_votequorum`, or empty: no quorum is kept."""
    expected_votes: int = 1
    """Effective: as configured, else the sum of the votes of the node list."""
    votes: int = 1
    """Of this node, for a cluster without node list."""
    two_node: bool = False
    wait_for_all: bool = False
    last_man_standing: bool = False
    last_man_standing_window: int = 10_000
    auto_tie_breaker: bool = False
    auto_tie_breaker_node: str = "lowest"
    """`lowest`, `highest`, or node ids separated by blanks."""
    allow_downscale: bool = False
    expected_votes_tracking: bool = False
    device: QuorumDevice | None = None


class AccessRules(msgspec.Struct, frozen=True):
    """`uidgid { }`: which users, besides root, may use the sockets.  Both tuples are sorted."""

    uids: tuple[int, ...] = ()
    gids: tuple[int, ...] = ()

    def allow(self, uid: int, gid: int) -> bool:
        """Whether a process with these (effective) ids may connect; root and group 0 always may."""
        return uid == 0 or gid == 0 or uid in self.uids or gid in self.gids


class SystemOptions(msgspec.Struct, frozen=True):
    """`system { }`: this node's processes."""

    sched_rr: bool = True
    priority: str = "max"
    """Nice value when `sched_rr` is off or refused: `max`, `min` or a decimal integer."""
    move_to_root_cgroup: str = "auto"
    state_dir: str = DEFAULT_STATE_DIR
    """Effective directory of the ring-sequence file."""


class WatchedOptions(msgspec.Struct, frozen=True):
    """`resources { system { NAME { } } }`: a figure of the machine."""

    max: int | str | None = None
    """Above it the resource has failed; None: it is shown only.  A number with a fraction is text."""
    poll_period: int = 3000
    """Milliseconds."""
    recovery: str = ""


class ResourceOptions(msgspec.Struct, frozen=True):
    """`resources { }`: what is looked at on this machine, and what a failure leads to."""

    watchdog_device: str = "off"
    """Path, or `off`."""
    watchdog_timeout: int = 6
    """Seconds."""
    memory_used: WatchedOptions = WatchedOptions()
    load_15min: WatchedOptions = WatchedOptions()


class CpgOptions(msgspec.Struct, frozen=True):
    """`cpg { }`: what clients of the group service may do."""

    max_message_size: int = 1024 * 1024
    """Bytes."""
    backlog: int = 64 * 1024 * 1024
    """Bytes."""
    unread_timeout: int = 0
    """Milliseconds; 0: none."""


class AppEntry(msgspec.Struct, frozen=True):
    """`sam { app { } }`: an application that starts and stops with the node."""

    name: str
    command: tuple[str, ...]
    options: dict[str, tuple[str, ...]] = {}
    """What sam-run would be told (`sam.section`): the texts of each key that is set, checked already."""
    groups: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    """Names of the applications that it starts after; groups are taken apart."""
    requires: tuple[str, ...] = ()
    """The same for those that it cannot be without."""
    autostart: bool = True


class Configuration(msgspec.Struct, frozen=True):
    """Everything that was configured, with effective values."""

    totem: TotemOptions = TotemOptions()
    interfaces: tuple[InterfaceOptions, ...] = (InterfaceOptions(),)
    """One for each link, sorted by number; never empty."""
    nodes: tuple[NodeEntry, ...] = (NodeEntry(),)
    """In the order of the file; never empty, and always with the local node in it."""
    local_node_id: int = 1
    logging: LoggingOptions = LoggingOptions()
    quorum: QuorumOptions = QuorumOptions()
    access: AccessRules = AccessRules()
    cpg: CpgOptions = CpgOptions()
    resources: ResourceOptions = ResourceOptions()
    system: SystemOptions = SystemOptions()
    apps: tuple[AppEntry, ...] = ()
    """In the order of the file."""
    cmap: dict[str, str | int] = {}
    """The file as dotted paths, unknown names included: `nodelist.node.0.ring0_addr`."""
    idle: tuple[str, ...] = ()
    """Keys of `cmap` that nothing acts on: unknown names, options without effect, what other programs read; sorted."""
    sources: tuple[str, ...] = ()
    """The files that were read, main file first; empty when there was none."""
    notices: tuple[str, ...] = ()
    """What an operator should know; to be logged as warnings at the start, and after a reload."""

    def node(self, node_id: int) -> NodeEntry:
        """The entry of a node.

        Raises:
            NotFound: no node of the list has this id.
        """
        for entry in self.nodes:
            if entry.node_id == node_id:
                return entry
        known = ", ".join(str(entry.node_id) for entry in self.nodes)
        raise NotFound(f"node {node_id} is not in the node list; there are {known}")

    @property
    def local_node(self) -> NodeEntry:
        """The entry of this node."""
        return self.node(self.local_node_id)

    @property
    def node_ids(self) -> tuple[int, ...]:
        """All node ids, sorted."""
        return tuple(sorted(entry.node_id for entry in self.nodes))
