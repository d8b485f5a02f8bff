"""All that one supervised application is, as options of sam-run or a section of the configuration say it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..ipc.messages.sam import Limits
from .health import HealthPolicy
from .launch import Launch
from .policy import Policy

NOTIFY_FD = 3
"""The descriptor by which an application says that it is ready, unless another is named (as s6 has it)."""


ANY_STATE = "any"
"""A hook for every turn."""


class ReadyBy(enum.StrEnum):
    """How an application says that it is ready."""

    NOTIFY = "notify"
    """`READY=1` to the socket in NOTIFY_SOCKET (sd_notify(3))."""
    FD = "fd"
    """A line on a descriptor (s6: notification-fd)."""
    PROBE = "probe"
    """All its health checks have succeeded."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """When an instance is ready."""

    by: ReadyBy
    fd: int = NOTIFY_FD
    timeout: float = 0.0
    """An instance that is not ready after so many seconds has failed; 0: it may take its time."""


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """Where the output of an application goes."""

    file: Path
    size: int
    """Bytes after which another file is begun."""
    keep: int
    """Older files that are kept."""
    stamped: bool
    """Whether each line begins with the time."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A command that is run when the application's life takes a turn."""

    state: str
    """The state that was entered, or `ANY_STATE`."""
    command: str


@dataclass(frozen=True, slots=True)
class Hooks:
    """All hooks of an application."""

    hooks: tuple[Hook, ...] = ()
    timeout: float = 10.0
    """Seconds after which a hook that still runs is killed."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One application."""

    name: str
    policy: Policy
    launch: Launch
    variables: Mapping[str, str]
    """The environment of every instance, without our own variables."""
    health: HealthPolicy = field(default_factory=HealthPolicy)
    ready: Readiness | None = None
    """None: it is ready when it runs."""
    logs: Mapping[int, LogPolicy] = field(default_factory=dict)
    """By the descriptor that is captured: 1, 2; both may have the same.  Others are as in this process."""
    hooks: Hooks = field(default_factory=Hooks)
    limits: Limits = field(default_factory=Limits)
    """What the sam process watches from outside; the owner registers it."""
