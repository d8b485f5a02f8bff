"""What the plan wants done, and what it is told about the end of a process: plain data."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from .exits import ExitCode


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended."""

    code: int = 0
    signal: int = 0
    """0 unless a signal ended it."""
    reason: str = ""
    """Instead of both: why it could not even be started."""
    last_words: str = ""
    """Why it ended, as it said itself; empty if it did not."""

    def __str__(self) -> str:
        return f"{self._outcome}: {self.last_words}" if self.last_words else self._outcome

    @property
    def _outcome(self) -> str:
        if self.reason:
            return self.reason
        if self.signal:
            try:
                return f"signal {self.signal} ({signal.Signals(self.signal).name})"
            except ValueError:
                return f"signal {self.signal}"
        return f"exit code {self.code}"


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the child's process."""

    child: str


@dataclass(frozen=True, slots=True)
class AskAlive:
    """Send the child a `Ping`."""

    child: str
    sequence: int


@dataclass(frozen=True, slots=True)
class AskToStop:
    """Send the child a `Stop`."""

    child: str


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL."""

    child: str
    because: str


@dataclass(frozen=True, slots=True)
class ReportReady:
    """Say that a child serves."""

    child: str
    took_seconds: float


@dataclass(frozen=True, slots=True)
class ReportEnded:
    """Say that a child has ended though nobody asked it to."""

    child: str
    how: Exit
    because: str
    """Why it was killed; empty if it ended by itself."""
    uptime_seconds: float
    restart_in_seconds: float | None
    """None: it is not started again."""


@dataclass(frozen=True, slots=True)
class ReportPause:
    """Say that the executive itself was not scheduled for a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Initialised:
    """All children serve for the first time."""


@dataclass(frozen=True, slots=True)
class Quit:
    """No child is left: end."""

    code: ExitCode
    because: str


Action = Spawn | AskAlive | AskToStop | Kill | ReportReady | ReportEnded | ReportPause | Initialised | Quit
