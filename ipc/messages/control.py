"""executive.sock: the executive and its children, and totemctl.

A child says hello with its name as role; the executive checks the kernel's pid against the process it started, sends
`Configure`, and waits for `Ready`.  totemctl says hello as `totemctl` and sends requests; what another process knows
(ring, groups, applications) the executive asks that process with the matching question.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ..ids import NodeNumber, RingId
from .common import Refused, Wire

# -- executive -> child


class Configure(Wire, frozen=True, tag="configure"):
    """Everything a child needs to start.  Payload frame 0: the cluster key (empty unless the child is totem)."""

    configuration: msgspec.Raw
    """`executive.config.model.Configuration` as msgpack; this layer does not know its fields."""
    run_dir: str


class Reconfigure(Wire, frozen=True, tag="reconfigure"):
    """The configuration after a reload; only reloadable options differ."""

    configuration: msgspec.Raw


class Ping(Wire, frozen=True, tag="ping"):
    """Answer with `Pong`, from the loop that does the work."""

    sequence: int


class Stop(Wire, frozen=True, tag="stop"):
    """End cleanly: leave, close, exit 0."""

    failed: bool = False
    """The node ends because something has failed, and may be started again at once; else somebody wants it to end."""


class RingQuestion(Wire, frozen=True, tag="ask.ring"):
    """To totem: where does the ring stand?"""

    asks: ClassVar[bool] = True

    request: int


class GroupsQuestion(Wire, frozen=True, tag="ask.groups"):
    """To cpg: which groups, with which members, are there in the cluster?"""

    asks: ClassVar[bool] = True

    request: int


class AppsQuestion(Wire, frozen=True, tag="ask.apps"):
    """To sam: which applications are supervised?"""

    asks: ClassVar[bool] = True

    request: int


class QuorumQuestion(Wire, frozen=True, tag="ask.quorum"):
    """To quorum: is this node quorate?"""

    asks: ClassVar[bool] = True

    request: int
    cancel_wait_for_all: bool = False
    """First have the cluster wait for all nodes no more; what comes of it is not in the answer yet."""


class ResourcesQuestion(Wire, frozen=True, tag="ask.resources"):
    """To sam: which keys of `resources.*` are there?"""

    asks: ClassVar[bool] = True

    request: int
    forget: str = ""
    """First forget the application of this key, which has failed and ended."""


class MetricsQuestion(Wire, frozen=True, tag="ask.metrics"):
    """To any child: your counters and gauges."""

    asks: ClassVar[bool] = True

    request: int


class BlackboxQuestion(Wire, frozen=True, tag="ask.blackbox"):
    """To totem: dump your flight recorder."""

    asks: ClassVar[bool] = True

    request: int


# -- child -> executive


class Ready(Wire, frozen=True, tag="ready"):
    """The child serves."""


class Pong(Wire, frozen=True, tag="pong"):
    """Answer to `Ping`."""

    sequence: int


class Fatal(Wire, frozen=True, tag="fatal"):
    """The child cannot go on and a restart will not help; the executive stops with this reason."""

    reason: str


class Obituary(Wire, frozen=True, tag="obituary"):
    """From totem: what the executive is to send when this process has ended.  The last one counts."""

    address: str
    """Numeric address to send from."""
    port: int
    """UDP port at both ends."""
    receivers: tuple[str, ...]
    """Numeric addresses of the other nodes."""
    datagram: bytes


class StillStopping(Wire, frozen=True, tag="stopping"):
    """After `Stop`: there is progress, and it will take some more time."""


class RingAnswer(Wire, frozen=True, tag="ring"):
    """Where this node's ring stands."""

    request: int
    state: str
    """`operational`, `gather`, `commit` or `recovery`."""
    ring: RingId
    """The installed ring."""
    members: tuple[NodeNumber, ...]
    cipher: str
    """Effective: what packets are sealed with, `none` if they are not."""


class GroupInfo(msgspec.Struct, frozen=True):
    """One group of the cluster."""

    name: bytes
    members: tuple[tuple[int, int], ...]
    """(node id, pid), sorted."""


class GroupsAnswer(Wire, frozen=True, tag="groups"):
    """All groups of the cluster, sorted by name."""

    request: int
    groups: tuple[GroupInfo, ...]


class AppInfo(msgspec.Struct, frozen=True):
    """One supervised application."""

    name: str
    node_id: int
    pid: int
    """0 while none runs."""
    state: str
    instance: int
    policy: str


class AppsAnswer(Wire, frozen=True, tag="apps"):
    """The applications supervised on all nodes, sorted by name, then by node."""

    request: int
    apps: tuple[AppInfo, ...]


class QuorumAnswer(Wire, frozen=True, tag="quorum"):
    """Whether this node is quorate."""

    request: int
    quorate: bool
    keys: dict[str, str | int]
    """`runtime.votequorum.*`, for cmap."""


class ResourcesAnswer(Wire, frozen=True, tag="resources"):
    """Figures of the machine, and the applications that are shown in cmap."""

    request: int
    keys: dict[str, str | int]


class BlackboxAnswer(Wire, frozen=True, tag="blackbox"):
    """The flight recorder was dumped."""

    request: int
    path: str
    bytes: int
    seconds: float
    """From the first recorded input to the last."""


class Metric(msgspec.Struct, frozen=True):
    """One number; `kind` is `counter` or `gauge`."""

    name: str
    kind: str
    value: float
    help: str
    labels: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        # A condition is a number here (1 or 0), but msgpack would keep it a bool, which is none to the receiver.
        if isinstance(self.value, bool):
            msgspec.structs.force_setattr(self, "value", int(self.value))


class MetricsAnswer(Wire, frozen=True, tag="metrics"):
    """A child's numbers."""

    request: int
    metrics: tuple[Metric, ...]


TO_CHILD = (
    Configure
    | Reconfigure
    | Ping
    | Stop
    | RingQuestion
    | GroupsQuestion
    | AppsQuestion
    | QuorumQuestion
    | ResourcesQuestion
    | MetricsQuestion
    | BlackboxQuestion
)
FROM_CHILD = (
    Ready
    | Pong
    | Fatal
    | Obituary
    | StillStopping
    | RingAnswer
    | GroupsAnswer
    | AppsAnswer
    | QuorumAnswer
    | ResourcesAnswer
    | MetricsAnswer
    | BlackboxAnswer
    | Refused
)

# -- totemctl -> executive


class StatusRequest(Wire, frozen=True, tag="ctl.status"):
    """How is this node?"""

    request: int = 0


class MembersRequest(Wire, frozen=True, tag="ctl.members"):
    """Which nodes are there, and which of them are in the ring?"""

    request: int = 0


class GroupsRequest(Wire, frozen=True, tag="ctl.groups"):
    """All groups of the cluster."""

    request: int = 0


class AppsRequest(Wire, frozen=True, tag="ctl.apps"):
    """The applications supervised on the nodes of the cluster."""

    request: int = 0


class MetricsRequest(Wire, frozen=True, tag="ctl.metrics"):
    """The numbers of all processes of this node."""

    request: int = 0


class BlackboxRequest(Wire, frozen=True, tag="ctl.blackbox"):
    """Dump the flight recorder of this node's totem process."""

    request: int = 0


class CmapRequest(Wire, frozen=True, tag="ctl.cmap"):
    """Configuration and run-time values by key."""

    prefix: str = ""
    """Only keys that begin so; all when empty."""
    request: int = 0


class CmapSetRequest(Wire, frozen=True, tag="ctl.cmap.set"):
    """Change a reloadable option of this node until the next reload.  Answered with `Done`."""

    key: str
    value: str
    request: int = 0


class CmapDeleteRequest(Wire, frozen=True, tag="ctl.cmap.delete"):
    """Forget an application that has failed and ended, named by one of its keys.  Answered with `Done`."""

    key: str
    request: int = 0


class ReloadRequest(Wire, frozen=True, tag="ctl.reload"):
    """Read the configuration again, as SIGHUP does."""

    request: int = 0


class ShutdownRequest(Wire, frozen=True, tag="ctl.shutdown"):
    """Stop this node: leave the ring, end.  Answered with `Done` before it begins."""

    request: int = 0


# -- executive -> totemctl


class ProcessInfo(msgspec.Struct, frozen=True):
    """One child of the executive."""

    pid: int
    """0 while none runs."""
    restarts: int
    """Since the executive started."""
    state: str
    """`waiting`, `starting`, `running`, `backoff`, `stopping`, `stopped` or `fatal`."""
    last_exit: str = ""
    """How it ended last, in words; empty if it never did."""


class StatusReply(Wire, frozen=True, tag="ctl.status.reply"):
    """How this node is."""

    request: int
    node_id: int
    name: str
    cluster_name: str
    state: str
    """As in `RingAnswer`, or `down` while the totem process does not answer."""
    ring: RingId | None
    """None while `down`."""
    members: tuple[int, ...]
    quorate: bool | None
    """None without a quorum provider."""
    processes: dict[str, ProcessInfo]
    """In the order of their start."""
    pid: int
    """Of the executive."""
    uptime_seconds: float
    version: str
    transport: str
    cipher: str
    """Effective; `none` if packets are not encrypted."""
    token_ms: int
    consensus_ms: int
    """Effective timeouts."""
    config_version: int
    configuration_files: tuple[str, ...]
    run_dir: str


class NodeInfo(msgspec.Struct, frozen=True):
    """One node of the cluster."""

    node_id: int
    name: str
    """Empty if the configuration gives none."""
    addresses: tuple[str, ...]
    """One per link; empty for a member that the node list does not know (multicast)."""
    state: str
    """`joined`: in this node's ring; `absent`: in the node list only."""
    local: bool


class MembersReply(Wire, frozen=True, tag="ctl.members.reply"):
    """All nodes of the node list and of the ring, sorted by id."""

    request: int
    nodes: tuple[NodeInfo, ...]


class GroupsReply(Wire, frozen=True, tag="ctl.groups.reply"):
    """All groups of the cluster, sorted by name."""

    request: int
    groups: tuple[GroupInfo, ...]


class AppsReply(Wire, frozen=True, tag="ctl.apps.reply"):
    """The applications supervised on all nodes, sorted by name, then by node."""

    request: int
    apps: tuple[AppInfo, ...]


class MetricsReply(Wire, frozen=True, tag="ctl.metrics.reply"):
    """Numbers of all processes that answered in time."""

    request: int
    metrics: tuple[Metric, ...]


class BlackboxReply(Wire, frozen=True, tag="ctl.blackbox.reply"):
    """The flight recorder was dumped."""

    request: int
    path: str
    bytes: int
    seconds: float
    """From the first recorded input to the last."""


class CmapReply(Wire, frozen=True, tag="ctl.cmap.reply"):
    """Keys with their values, sorted by key."""

    request: int
    values: dict[str, str | int]


class ReloadReply(Wire, frozen=True, tag="ctl.reload.reply"):
    """A reload has been done."""

    request: int
    changed: tuple[str, ...]
    """Options that have a new value: `KEY: OLD -> NEW`."""
    refused: tuple[str, ...]
    """The same for options that differ in the file but cannot change while the node runs."""
    notices: tuple[str, ...] = ()
    """What an operator should know about the new configuration: misspelt names, options without effect."""


FROM_TOTEMCTL = (
    StatusRequest
    | MembersRequest
    | GroupsRequest
    | AppsRequest
    | MetricsRequest
    | BlackboxRequest
    | CmapRequest
    | CmapSetRequest
    | CmapDeleteRequest
    | ReloadRequest
    | ShutdownRequest
)
TO_TOTEMCTL = (
    StatusReply | MembersReply | GroupsReply | AppsReply | MetricsReply | BlackboxReply | CmapReply | ReloadReply
)
