"""What happens to an application, and what is to be done about it: the vocabulary of `machine.py`."""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable
from dataclasses import dataclass

import msgspec

from ..ipc.messages.sam import AppState

EXIT_SIGNAL_BASE = 128
"""A process that signal N killed is reported as exit code 128 + N, as shells do."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended: by itself with a code, or killed by a signal."""

    code: int = 0
    signal: int = 0
    """0: it ended by itself."""
    is_known: bool = True
    """False: nobody learned how; `code` stands for that."""

    @property
    def exit_code(self) -> int:
        """As a shell shows it."""
        return EXIT_SIGNAL_BASE + self.signal if self.signal else self.code


# -- events


@dataclass(frozen=True, slots=True)
class Begin:
    """The application shall run."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """What `Start` asked for has happened."""

    pid: int


@dataclass(frozen=True, slots=True)
class NotSpawned:
    """What `Start` asked for could not be done."""

    code: int
    """Exit code that says why: 126, 127."""
    reason: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The application's main process has ended."""

    ending: Ending
    left_behind: bool
    """Other processes of it exist."""


@dataclass(frozen=True, slots=True)
class TreeGone:
    """The last process of the application has ended; the main process had before."""


@dataclass(frozen=True, slots=True)
class Froze:
    """A signal has stopped the main process."""


@dataclass(frozen=True, slots=True)
class Thawed:
    """The main process goes on after it was stopped."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Somebody who watches says that an instance has failed though it lives."""

    instance: int
    why: str


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The application shall end, and sam-run with it."""

    signal: int
    """The signal that sam-run got."""
    within: float = math.inf
    """What lives so many seconds later is killed, however much time its policy gives it."""


@dataclass(frozen=True, slots=True)
class Parting:
    """A signal by which terminals and their users end programs: what the application does with it is its affair, but if
    it ends, that is intended."""

    signal: int
    pass_on: bool
    """The application has not got it from the kernel already."""
    only_if_killed: bool
    """Its end is intended only if this very signal killed it (SIGHUP: for many programs merely a reload)."""


@dataclass(frozen=True, slots=True)
class Passing:
    """A signal that is for the application alone."""

    signal: int


@dataclass(frozen=True, slots=True)
class SuspendAsked:
    """Job control wants the job, sam-run and application, to stop for a while."""

    signal: int
    pass_on: bool


@dataclass(frozen=True, slots=True)
class Resumed:
    """sam-run has been continued."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A process of the application that has asked something, and where its answer goes."""

    session: Hashable
    """Its connection; the machine only compares it."""
    pid: int
    request: int = 0


@dataclass(frozen=True, slots=True)
class Called:
    """The application itself says or asks something (`ipc/messages/sam_app.py`)."""

    caller: Caller
    message: msgspec.Struct


@dataclass(frozen=True, slots=True)
class QuorumChanged:
    """The node is quorate from now on, or is not."""

    quorate: bool
    problem: str = ""
    """Why it will never be: nobody counts votes here."""


Event = (
    Begin
    | Spawned
    | NotSpawned
    | Exited
    | TreeGone
    | Froze
    | Thawed
    | Failed
    | StopAsked
    | Parting
    | Passing
    | SuspendAsked
    | Resumed
    | Called
    | QuorumChanged
)


class Timer(enum.Enum):
    """Everything that is waited for with a deadline."""

    SILENT = "no sign of life for the interval"
    ASK = "a health check is due"
    STABLE = "the start period is over"
    FROZEN = "stopped for longer than the interval"
    KILL = "has not ended in time"
    GIVE_UP = "cannot be killed"
    RESTART = "the back-off is over"
    PARTING = "has not ended by a signal from the terminal"
    SUSPENDING = "has not stopped for job control"


# -- effects


class Scope(enum.Enum):
    """Which processes of an application a signal is for."""

    MAIN = "main"
    """The process that was started."""
    REST = "rest"
    """All that the main process, which has ended, left behind."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start the main process; answer with `Spawned` or `NotSpawned`."""

    instance: int


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to processes of the application."""

    signal: int
    scope: Scope = Scope.MAIN


@dataclass(frozen=True, slots=True)
class Continue:
    """Let a stopped main process go on (SIGCONT)."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill every process of the application, escaped grandchildren too."""


@dataclass(frozen=True, slots=True)
class Suspend:
    """Stop sam-run itself by this signal; answer with `Resumed`."""

    signal: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Send this to the caller, if it still waits."""

    caller: Caller
    message: msgspec.Struct


@dataclass(frozen=True, slots=True)
class WatchQuorum:
    """Say from now on, by `QuorumChanged`, whether the node is quorate."""


class Why(enum.Enum):
    """Why an application's life took a turn."""

    ASKED = "asked to start"
    RESTART = "restarted"
    BACKOFF_OVER = "restarted after the back-off"
    SPAWNED = "started"
    CANNOT_START = "cannot be started"
    ENDED = "ended"
    DONE = "is done"
    PARTED = "ended by a signal from outside"
    AT_WILL = "ended while it was not watched"
    LEFT_BEHIND = "left processes behind"
    FROZE = "was stopped by a signal"
    THAWED = "goes on"
    FROZEN_TOO_LONG = "was stopped for longer than the interval"
    FAILED = "failed"
    OVERDUE = "has not ended in time and is killed"
    UNKILLABLE = "cannot be killed"
    STOP_ASKED = "asked to stop"
    SUSPENDED = "suspended by job control"
    RESUMED = "resumed by job control"
    TOO_OFTEN = "failed too often"
    ENROLLED = "will say itself how it is"
    WATCHED = "is watched from now on"
    UNWATCHED = "is not watched from now on"
    NOT_QUORATE = "waits for quorum"
    QUORUM_LOST = "lost quorum"
    SILENT = "gave no sign of life for the interval"
    MARKED_FAILED = "has marked itself as failed"


@dataclass(frozen=True, slots=True)
class Report:
    """For the log and the sam process: the state that was entered, or is still there, and why."""

    state: AppState
    instance: int
    pid: int
    why: Why
    ending: Ending | None = None
    delay: float = 0.0
    """With BACKOFF: seconds until the next instance."""
    text: str = ""
    """What somebody else said about it."""


@dataclass(frozen=True, slots=True)
class Finish:
    """It is over: sam-run exits with this code."""

    code: int


Effect = Start | Signal | Continue | Kill | Suspend | Report | Finish | Answer | WatchQuorum
