"""sam.sock: the availability manager, the `sam-run` processes that keep applications, and whoever wants to look.

A `sam-run` says hello with that role, sends `Register`, and from then on `Changed` whenever its application's life
takes a turn; its last word is `Ended`.  The sam process answers, and sends `Recover` when it sees from outside that
an application needs it.  Any other role may ask with `ListApps`.
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from .common import Wire
from .control import AppInfo

APP_NAME_LENGTH_MAX = 64
"""Characters of an application's name."""

APP_NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.@:+-]*$"
"""What an application's name is made of: it appears in command lines, tables and metrics."""

AppName = Annotated[str, msgspec.Meta(min_length=1, max_length=APP_NAME_LENGTH_MAX, pattern=APP_NAME_PATTERN)]
"""An application's name as it is checked on decode; unique on a node."""

PID_MAX = 2**22
"""The kernel's highest process number (PID_MAX_LIMIT)."""

DETAIL_LENGTH_MAX = 500
"""Characters of a text that says what happened."""

Pid = Annotated[int, msgspec.Meta(ge=0, le=PID_MAX)]
Instance = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Detail = Annotated[str, msgspec.Meta(max_length=DETAIL_LENGTH_MAX)]


class AppState(enum.StrEnum):
    """Where an application's life stands; the words that `totemctl apps` shows."""

    STANDBY = "standby"
    """It runs on one node of the cluster at a time, and not on this one."""
    WAITING = "waiting"
    """The next instance is started when the node is quorate."""
    STARTING = "starting"
    """The next instance is being started."""
    UNREADY = "unready"
    """The application's process runs, and has not said yet that it is ready."""
    RUNNING = "running"
    """The application's process runs."""
    FROZEN = "frozen"
    """A signal has stopped it (SIGSTOP); it has failed if that lasts for the interval."""
    SUSPENDED = "suspended"
    """Stopped by job control, together with its sam-run: intended, and no failure."""
    WARNED = "warned"
    """It has failed and got the warn signal; it is killed if it still exists after the interval."""
    CLEARING = "clearing"
    """Its process has ended; what it left behind is being killed before the next instance."""
    BACKOFF = "backoff"
    """The next instance starts when the back-off is over."""
    STOPPING = "stopping"
    """Nothing will be started any more; what runs is being ended."""
    STOPPED = "stopped"
    """Over: nothing is left of it."""
    FATAL = "fatal"
    """Given up: it failed more often than its policy allows."""
    ORPHANED = "orphaned"
    """Its sam-run was killed; the process runs on, watched by the sam process alone."""
    LOST = "lost"
    """Its sam-run was killed, and the application has ended; nobody will start it again."""


class ResourceState(enum.StrEnum):
    """What `resources.process.PID.state` says, in corosync's words."""

    STOPPED = "stopped"
    RUNNING = "running"
    WAITING = "waiting for quorum"
    FAILED = "failed"


class Resource(msgspec.Struct, frozen=True):
    """What an application with `+cmap` in its policy lets everybody read as `resources.process.PID.*`."""

    state: ResourceState
    recovery: Annotated[str, msgspec.Meta(max_length=32)]
    """`restart` or `quit`."""
    poll_period: Annotated[int, msgspec.Meta(ge=0, le=2**31)]
    """The interval, in milliseconds."""
    last_updated: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    """The last sign of life, in nanoseconds of the monotonic clock."""


class Progress(msgspec.Struct, frozen=True):
    """Where an application stands, as its sam-run says."""

    state: AppState
    instance: Instance
    """1 for the first; 0 before it."""
    pid: Pid
    """Its main process; 0 while there is none."""
    detail: Detail = ""
    """What happened, in words."""
    policy: Annotated[str, msgspec.Meta(max_length=32)] = ""
    """The policy now: an application may ask for another than its sam-run has registered.  Empty: as registered."""
    interval_ms: Annotated[int, msgspec.Meta(ge=0, le=2**31)] | None = None
    """The same for the interval; None: as registered."""
    resource: Resource | None = None
    """None without `+cmap`."""


class Limits(msgspec.Struct, frozen=True):
    """What all processes of an application together may use; more than that for the whole window is a failure.

    0: any amount.
    """

    rss_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    """Resident memory."""
    cpu_share: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)] = 0.0
    """Processor time; 1.0 is a whole processor, on average over the window."""
    open_files: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    threads: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    window_seconds: Annotated[float, msgspec.Meta(ge=0, le=2**31)] = 10.0


class WhenOrphaned(enum.StrEnum):
    """What the sam process does with an application whose sam-run was killed."""

    KEEP = "keep"
    """Lets it run, and watches it until it ends or another sam-run takes it over."""
    END = "end"
    """Ends it with all its processes."""


# -- sam-run -> sam


class Register(Wire, frozen=True, tag="sam.register"):
    """Put an application on the list; answered with `Registered`."""

    request: int
    name: AppName
    exact: bool
    """Refuse if the name is taken; otherwise another one is found."""
    policy: Annotated[str, msgspec.Meta(max_length=32)]
    interval_ms: Annotated[int, msgspec.Meta(ge=0, le=2**31)]
    """After so long without a sign of life it has failed; 0: only its end counts."""
    progress: Progress
    limits: Limits = Limits()
    when_orphaned: WhenOrphaned = WhenOrphaned.KEEP
    stop_signal: Annotated[int, msgspec.Meta(ge=1, le=64)] = 15
    """What an orphan that shall end gets first."""
    stop_timeout_ms: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 10_000
    """What of it lives so long after that is killed."""
    adopts: bool = False
    """`progress.pid` is an orphan of this name, which this sam-run has taken over."""


class Changed(Wire, frozen=True, tag="sam.changed"):
    """The application's life has taken a turn.  Never answered."""

    progress: Progress


class Ended(Wire, frozen=True, tag="sam.ended"):
    """The last word about the application; answered with `Done`."""

    request: int
    progress: Progress


# -- anybody -> sam


class ListApps(Wire, frozen=True, tag="sam.list"):
    """Which applications are there on this node?"""

    request: int


# -- sam -> sam-run


class Registered(Wire, frozen=True, tag="sam.registered"):
    """The application is on the list, under this name."""

    request: int
    name: AppName


class Recover(Wire, frozen=True, tag="sam.recover"):
    """This instance has failed, seen from outside: warn it, kill it after the interval, act by the policy."""

    instance: Instance
    """An order for an instance that is gone meanwhile is void."""
    why: Detail


# -- sam -> anybody


class AppList(Wire, frozen=True, tag="sam.apps"):
    """The applications of this node, sorted by name."""

    request: int
    apps: tuple[AppInfo, ...]


TO_SAM = Register | Changed | Ended | ListApps
FROM_SAM = Registered | Recover | AppList
