"""Recovery as data: what to do when an application fails, how soon, how often, and how it is ended."""

from __future__ import annotations

import bisect
import enum
import signal
from dataclasses import dataclass, replace

from ..ipc.errors import InvalidArgument


class Recovery(enum.StrEnum):
    """What a failure leads to (corosync: sam_recovery_policy_t)."""

    RESTART = "restart"
    """The next instance is started, whatever the exit code was."""
    QUIT = "quit"
    """sam-run ends, with the application's exit code."""


class Quorum(enum.Enum):
    """When an application needs a quorate node (corosync: the flag SAM_RECOVERY_POLICY_QUORUM)."""

    IGNORED = "never"
    TO_BE_WATCHED = "from the moment it asks to be watched"
    """As corosync has it, for applications that wait in `sam.start`; they ask for it when they register."""
    TO_RUN = "always"
    """No instance is started without; for any program: what sam-run's command line asks for."""


QUORUM_WORD = "quorum"
CMAP_WORD = "cmap"


@dataclass(frozen=True, slots=True)
class Words:
    """A policy as it is written: `restart` or `quit`, then any of `+quorum` and `+cmap`."""

    recovery: Recovery
    quorum: bool = False
    cmap: bool = False

    @classmethod
    def parse(cls, text: str) -> Words:
        """
        Raises:
            InvalidArgument: *text* is no policy.
        """
        first, *more = text.split("+")
        fine = first in list(Recovery) and set(more) <= {QUORUM_WORD, CMAP_WORD} and len(set(more)) == len(more)
        _require(fine, f"{text!r} is no policy: restart or quit would be accepted, each with +quorum, +cmap or both")
        return cls(Recovery(first), QUORUM_WORD in more, CMAP_WORD in more)

    def __str__(self) -> str:
        return "+".join([self.recovery, *[QUORUM_WORD] * self.quorum, *[CMAP_WORD] * self.cmap])


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long to wait before the next instance.  Times in seconds.

    An instance that has outlived the start period is followed at once.  After one that has not, the wait is `initial`,
    and `factor` times longer with each further one in a row, up to `maximum`.
    """

    initial: float
    factor: float
    maximum: float
    jitter: float
    """Every wait is lengthened by a random share of itself, at most this one (0 to 1)."""

    def __post_init__(self) -> None:
        _require(self.initial >= 0, f"the first back-off is 0 or longer, not {self.initial:g} s")
        _require(self.factor >= 1, f"the back-off factor is 1 or more, not {self.factor:g}")
        _require(self.maximum >= 0, f"the longest back-off is 0 or longer, not {self.maximum:g} s")
        _require(0 <= self.jitter <= 1, f"the jitter of the back-off is 0 to 1, not {self.jitter:g}")

    def delay(self, failures: int, chance: float) -> float:
        """Seconds to wait after *failures* instances in a row that did not outlive the start period.

        *chance* in [0, 1) is the random share of the jitter.
        """
        if failures == 0 or self.initial == 0:
            return 0.0
        try:
            wait = self.initial * self.factor ** (failures - 1)
        except OverflowError:
            wait = self.maximum
        return min(wait, self.maximum) * (1 + self.jitter * chance)


@dataclass(frozen=True, slots=True)
class Intensity:
    """How many restarts are bearable: at most `restarts` within `within` seconds (OTP: restart intensity)."""

    restarts: int | None
    """None: any number."""
    within: float

    def __post_init__(self) -> None:
        _require(self.restarts is None or self.restarts >= 0, f"restarts are 0 or more, not {self.restarts}")
        _require(self.within > 0, f"the time within which restarts count is longer than 0, not {self.within:g} s")

    def recent(self, starts: tuple[float, ...], at: float) -> tuple[float, ...]:
        """Those of the earlier *starts*, which are sorted, that still count for a restart at the time *at*."""
        return starts[bisect.bisect_right(starts, at - self.within) :]

    def allows(self, starts: tuple[float, ...], at: float) -> bool:
        """Whether one more restart, at the time *at*, is bearable after those at *starts*."""
        return self.restarts is None or len(self.recent(starts, at)) < self.restarts


@dataclass(frozen=True, slots=True)
class Policy:
    """All that decides over one application's life.  Times in seconds."""

    recovery: Recovery
    interval: float
    """How long an application may show no sign of life (corosync: time interval).  0: only its end is a failure."""
    warn_signal: int
    """Sent to an application that has failed but lives (corosync: warn signal)."""
    start_period: float
    """An instance that lives longer has started well: its end is answered without back-off."""
    backoff: BackOff
    intensity: Intensity
    stop_signal: int
    """Asks the application to end."""
    stop_timeout: float
    """How long it may take to end before everything of it is killed."""
    done_codes: frozenset[int] = frozenset()
    """Exit codes that are no failure, but the end."""
    quorum: Quorum = Quorum.IGNORED
    cmap: bool = False
    """Its state can be read as `resources.process.PID.*` (corosync: SAM_RECOVERY_POLICY_CMAP)."""

    def __post_init__(self) -> None:
        for what, value in (
            ("interval", self.interval),
            ("start period", self.start_period),
            ("stop timeout", self.stop_timeout),
        ):
            _require(value >= 0, f"the {what} is 0 or longer, not {value:g} s")

    @property
    def grace(self) -> float:
        """How long an application may live after the warning."""
        return self.interval or self.stop_timeout

    def warning_by(self, number: int) -> Policy:
        """This one with another warn signal."""
        return replace(self, warn_signal=number)

    @property
    def words(self) -> Words:
        """As it is written."""
        return Words(self.recovery, self.quorum is not Quorum.IGNORED, self.cmap)

    def as_asked(self, words: Words, interval: float | None) -> Policy:
        """What an application that registers with these words gets; with an *interval* of None this one's.

        It cannot do without the quorum that sam-run's command line asks for.
        """
        quorum = Quorum.TO_BE_WATCHED if words.quorum else Quorum.IGNORED
        quorum = self.quorum if self.quorum is Quorum.TO_RUN else quorum
        interval = self.interval if interval is None else interval
        return replace(self, recovery=words.recovery, quorum=quorum, cmap=words.cmap, interval=interval)

    def stop_signal_for(self, asked: int) -> int:
        """What the application is sent when sam-run is asked to stop by the signal *asked*."""
        return self.stop_signal if asked == signal.SIGTERM else asked


def _require(fine: bool, otherwise: str) -> None:
    if not fine:
        raise InvalidArgument(otherwise)
