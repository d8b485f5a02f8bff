"""keeper.sock: the keeper of a node's declared applications, which the sam process and totemctl connect to.

The keeper outlives the sam process and the executive, so it serves and they come and go.  The sam process says hello as
`sam`, sends `Follow` and `Declare`, and gets `Kept` at once and `Turns` from then on.  totemctl sends `Describe` and
`Order`.  Only root and the node's owner are let in.
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from .common import Wire
from .sam import AppName, Detail, Instance, Limits, Progress

NAMES_MAX = 4096
"""Names in one request."""

Names = Annotated[tuple[AppName, ...], msgspec.Meta(max_length=NAMES_MAX)]


class Verb(enum.StrEnum):
    """What can be ordered."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"


class Turn(msgspec.Struct, frozen=True):
    """Where one application stands."""

    name: AppName
    progress: Progress
    created: float = 0.0
    """When its main process was created, seconds since boot (psutil's and the kernel's second name of a process)."""


class KeptApp(msgspec.Struct, frozen=True):
    """One application, in full."""

    name: AppName
    progress: Progress
    policy: str
    interval_ms: int
    command: tuple[str, ...]
    options: dict[str, tuple[str, ...]]
    groups: tuple[str, ...]
    after: tuple[str, ...]
    requires: tuple[str, ...]
    autostart: bool
    is_wanted: bool
    """It runs, or would as soon as it can."""
    waits_for: tuple[str, ...]
    """What it would start after, and which is not up yet."""
    since: float
    """When it entered its state, seconds since the epoch."""
    restarts: Instance
    log: str
    """Its log file; empty: none."""
    is_adopted: bool
    """An earlier keeper, which was killed, had started it."""
    limits: Limits = Limits()
    """What the sam process watches from outside."""


# -- sam -> keeper


class Declare(Wire, frozen=True, tag="keeper.declare"):
    """These are the applications of the node from now on.  Answered with `Declared`."""

    apps: msgspec.Raw
    """`tuple[executive.config.model.AppEntry, ...]`; this layer does not know its fields."""
    request: int = 0


class Follow(Wire, frozen=True, tag="keeper.follow"):
    """Tell me what happens.  Answered with `Kept`; `Turns` follow."""

    request: int = 0


class Fail(Wire, frozen=True, tag="keeper.fail"):
    """This instance has failed, seen from outside.  Never answered."""

    name: AppName
    instance: Instance
    why: Detail


class Leave(Wire, frozen=True, tag="keeper.leave"):
    """The node stops: end all applications in order, then yourself.  Answered with `Done` when they have ended."""

    request: int = 0


# -- anybody who is let in -> keeper


class Order(Wire, frozen=True, tag="keeper.order"):
    """Start, stop or restart applications (groups stand for their members).  Answered with `Settled` at the end."""

    verb: Verb
    names: Names
    request: int = 0


class Describe(Wire, frozen=True, tag="keeper.describe"):
    """These applications in full; all, if none is named.  Answered with `Kept`."""

    names: Names = ()
    request: int = 0


# -- keeper -> others


class Declared(Wire, frozen=True, tag="keeper.declared"):
    """What a declaration changes."""

    request: int
    started: tuple[str, ...]
    restarted: tuple[str, ...]
    stopped: tuple[str, ...]


class Kept(Wire, frozen=True, tag="keeper.kept"):
    """Applications in full, sorted by name."""

    request: int
    apps: tuple[KeptApp, ...]


class Turns(Wire, frozen=True, tag="keeper.turns"):
    """Applications whose life took a turn since the last message."""

    turns: tuple[Turn, ...]


class Listed(Wire, frozen=True, tag="keeper.listed"):
    """The set of applications has changed: this is the new one."""

    apps: tuple[KeptApp, ...]


class Outcome(msgspec.Struct, frozen=True):
    """What became of an order for one application."""

    name: str
    is_done: bool
    progress: Progress
    detail: str = ""


class Settled(Wire, frozen=True, tag="keeper.settled"):
    """An order has come to its end, good or bad."""

    request: int
    outcomes: tuple[Outcome, ...]


TO_KEEPER = Declare | Follow | Fail | Leave | Order | Describe
FROM_KEEPER = Declared | Kept | Turns | Listed | Settled
