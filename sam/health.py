"""How an instance's health is judged from the answers of its checks.  Pure: asks for checks, is told their results.

Each check (a command, a connection, a request, or beats that the application sends) is repeated on its own.  One that
has succeeded so often in a row is *well*; when all are, the instance is healthy.  One that has failed so often in a
row makes the instance unhealthy, for good: it is ended.  In the start period, failures do not count until the check
has been well once.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ..ipc.errors import InvalidArgument

STARTING_INTERVAL_SECONDS = 0.25
"""A check that has never succeeded is repeated so soon: an application that is ready should not have to wait."""


class Kind(enum.StrEnum):
    """How a check asks."""

    EXEC = "exec"
    """A shell command; healthy is exit code 0."""
    HTTP = "http"
    """A GET; healthy is a status from 200 to 399."""
    TCP = "tcp"
    """Healthy is whoever accepts a connection."""
    HEARTBEAT = "heartbeat"
    """The application says so itself, in time."""


@dataclass(frozen=True, slots=True)
class Check:
    """One way to ask an application how it is."""

    kind: Kind
    target: str = ""
    """The command, `http://host:port/path`, or `host:port`."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}" if self.target and self.kind is not Kind.HTTP else self.target or self.kind


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """How often checks ask, and what their answers mean.  Times in seconds."""

    checks: tuple[Check, ...] = ()
    interval: float = 2.0
    """From the beginning of a check to that of the next; for heartbeats: after so long without one it counts as one
    that failed."""
    timeout: float = 1.0
    """A check that has no answer after so long has failed."""
    start_period: float = 5.0
    successes: int = 1
    failures: int = 3

    def __post_init__(self) -> None:
        if not (self.interval > 0 and self.timeout > 0 and self.start_period >= 0):
            raise InvalidArgument("interval and timeout of health checks are longer than 0")
        if not (self.successes >= 1 and self.failures >= 1):
            raise InvalidArgument("thresholds of health checks are 1 or more")


@dataclass(frozen=True, slots=True)
class Ask:
    """Do a check; answer by `Health.answered`."""

    index: int
    number: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """Nobody waits for this check any more."""

    index: int
    number: int


@dataclass(frozen=True, slots=True)
class Healthy:
    """All checks have been well; said once."""


@dataclass(frozen=True, slots=True)
class Unhealthy:
    """The instance has failed; the last that is said of it."""

    why: str


Effect = Ask | Abandon | Healthy | Unhealthy


@dataclass(slots=True)
class _State:
    """Where one check stands."""

    due: float
    """When it is to be asked, or has taken too long."""
    began: float = 0.0
    number: int = 0
    asking: bool = False
    successes: int = 0
    failures: int = 0
    well: bool = False
    """It has been, at least once."""


class Health:
    """The health of one instance.  The owner calls `expire` at `next_deadline()`, and carries out `take_effects()`."""

    def __init__(self, policy: HealthPolicy) -> None:
        self._policy = policy
        self._states: list[_State] = []
        self._effects: list[Effect] = []
        self._counts_from = 0.0
        self._over = True
        self._healthy = False
        self._failed = False
        self._numbers = 0

    def begin(self, now: float) -> None:
        """An instance has begun; nothing is known of it."""
        self.pause()
        self._healthy = self._failed = False
        self._counts_from = now + self._policy.start_period
        self._states = [_State(self._first_due(check, now)) for check in self._policy.checks]
        self._over = not self._states

    def pause(self) -> None:
        """The instance cannot answer, and need not: it is stopped, or has been told to end."""
        for index, state in enumerate(self._states):
            self._abandon(index, state)
        self._over = True

    def resume(self, now: float) -> None:
        """It can again; failures before do not count any more, unless they were too many."""
        if self._failed or not self._states:
            return
        for check, state in zip(self._policy.checks, self._states, strict=True):
            state.due, state.successes, state.failures = self._first_due(check, now), 0, 0
        self._over = False

    def answered(self, index: int, number: int, problem: str, now: float) -> None:
        """A check has an answer; *problem* is empty if it is a good one."""
        state = self._states[index] if index < len(self._states) else None
        if self._over or state is None or not state.asking or state.number != number:
            return  # it came too late
        state.asking = False
        self._judge(index, state, problem, now)
        state.due = max(now, state.began + self._pause_after(state))

    def beat(self, now: float) -> None:
        """The application says that it is well."""
        if self._over:
            return
        for index, (check, state) in enumerate(zip(self._policy.checks, self._states, strict=True)):
            if check.kind is Kind.HEARTBEAT:
                state.due = now + self._policy.interval
                self._judge(index, state, "", now)

    def expire(self, now: float) -> None:
        """Let what is due by *now* happen."""
        for index, state in enumerate(self._states):
            if self._over:
                return
            if state.due > now:
                continue
            if self._policy.checks[index].kind is Kind.HEARTBEAT:
                state.due = now + self._policy.interval
                self._judge(index, state, f"none for {self._policy.interval:g} s", now)
            elif state.asking:
                self._abandon(index, state)
                self._judge(index, state, f"no answer within {self._policy.timeout:g} s", now)
                state.due = max(now, state.began + self._pause_after(state))
            else:
                self._numbers += 1
                state.asking, state.number, state.began = True, self._numbers, now
                state.due = now + self._policy.timeout
                self._effects.append(Ask(index, state.number))

    def next_deadline(self) -> float | None:
        """When `expire` is to be called; None: nothing is waited for."""
        return None if self._over else min(state.due for state in self._states)

    def take_effects(self) -> list[Effect]:
        """What is to be done now, in this order."""
        effects, self._effects = self._effects, []
        return effects

    def _judge(self, index: int, state: _State, problem: str, now: float) -> None:
        if not problem:
            state.failures = 0 if state.successes + 1 >= self._policy.successes else state.failures
            state.successes += 1
            state.well = state.well or state.successes >= self._policy.successes
            if not self._healthy and all(each.well for each in self._states):
                self._healthy = True
                self._effects.append(Healthy())
            return
        state.successes = 0
        if not state.well and now < self._counts_from:
            return
        state.failures += 1
        if state.failures >= self._policy.failures:
            times = f" {state.failures} times in a row" if state.failures > 1 else ""
            self.pause()
            self._failed = True
            self._effects.append(Unhealthy(f"health check {self._policy.checks[index]} failed{times}: {problem}"))

    def _abandon(self, index: int, state: _State) -> None:
        if state.asking:
            state.asking = False
            self._effects.append(Abandon(index, state.number))

    def _first_due(self, check: Check, now: float) -> float:
        return now + self._policy.interval if check.kind is Kind.HEARTBEAT else now

    def _pause_after(self, state: _State) -> float:
        if not state.well and not state.failures:
            return min(self._policy.interval, STARTING_INTERVAL_SECONDS)
        return self._policy.interval
