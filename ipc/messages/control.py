"""executive.sock: the executive and its children, and totemctl.

A child says hello with its name as role; the executive checks the kernel's pid against the process it started, sends
`Configure`, and waits for `Ready`.  totemctl says hello as `totemctl` and sends requests; what another process knows
(ring, groups, applications) the executive asks that process with the matching question.
"""

from __future__ import annotations

import msgspec

from ..ids import NodeNumber, RingId
from .common import Wire

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


class RingQuestion(Wire, frozen=True, tag="ask.ring"):
    """To totem: where does the ring stand?"""

    request: int


class GroupsQuestion(Wire, frozen=True, tag="ask.groups"):
    """To cpg: which groups, with which members, are there in the cluster?"""

    request: int


class AppsQuestion(Wire, frozen=True, tag="ask.apps"):
    """To sam: which applications are supervised?"""

    request: int


class MetricsQuestion(Wire, frozen=True, tag="ask.metrics"):
    """To any child: your counters and gauges."""

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
    """The applications supervised on this node, sorted by name."""

    request: int
    apps: tuple[AppInfo, ...]


class Metric(msgspec.Struct, frozen=True):
    """One number; `kind` is `counter` or `gauge`."""

    name: str
    kind: str
    value: float
    help: str
    labels: tuple[tuple[str, str], ...] = ()


class MetricsAnswer(Wire, frozen=True, tag="metrics"):
    """A child's numbers."""

    request: int
    metrics: tuple[Metric, ...]


TO_CHILD = Configure | Reconfigure | Ping | Stop | RingQuestion | GroupsQuestion | AppsQuestion | MetricsQuestion
FROM_CHILD = Ready | Pong | Fatal | RingAnswer | GroupsAnswer | AppsAnswer | MetricsAnswer
