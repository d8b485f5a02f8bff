"""What is to be done with the children, decided from what happens to them and when: pure.

```
            spawn             Ready                      exit
 WAITING ──────────▶ STARTING ─────▶ RUNNING ──────────────────────▶ BACKOFF ──▶ STARTING …
                        │ exit, or not ready in time: killed            ▲
                        └───────────────────────────────────────────────┘
 any ── Stop, or killed ──▶ STOPPING ── exit ──▶ STOPPED (the tree stops) or BACKOFF (it does not)
 any ── Fatal ──▶ FATAL: the tree stops
```

Children start one after the other, each when the one before it is ready, and stop in the reverse order, each when
the one after it is gone.  A restart concerns one child only.  Times are seconds of one monotonic clock.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass

from .actions import (
    Action,
    AskAlive,
    AskToStop,
    Exit,
    Initialised,
    Kill,
    Quit,
    ReportEnded,
    ReportPause,
    ReportReady,
    Spawn,
)
from .exits import ExitCode
from .specs import ChildSpec, RestartIntensity, Tree

PAUSE_SECONDS = 1.0
"""Woken so much too late, the executive itself was stopped or starved, and its children get their time anew."""

KILL_SECONDS = 5.0
"""A killed child that has not ended after so long (it hangs in the kernel) is left behind when the tree stops."""


class ChildState(enum.StrEnum):
    """Where a child stands."""

    WAITING = "waiting"
    """For the children before it, at the first start."""
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    """Ended; will be started again after a pause."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    FATAL = "fatal"
    """It said that a restart would not help."""


class RestartHistory:
    """When children were restarted, as far back as it matters."""

    def __init__(self, intensity: RestartIntensity) -> None:
        self._intensity = intensity
        self._times: deque[float] = deque()

    def allow(self, now: float) -> bool:
        """Whether one more restart keeps within the intensity; if so it is remembered."""
        while self._times and now - self._times[0] >= self._intensity.seconds:
            self._times.popleft()
        if len(self._times) >= self._intensity.restarts:
            return False
        self._times.append(now)
        return True


@dataclass(slots=True)
class ChildRecord:
    """What the plan knows of one child."""

    spec: ChildSpec
    state: ChildState = ChildState.WAITING
    alive: bool = False
    """Whether a process may exist."""
    started_at: float = 0.0
    deadline: float | None = None
    """When something must be done: by state, the kill, the next `Ping`, the restart."""
    ping: int = 0
    """Number of the last `Ping`."""
    ping_sent_at: float | None = None
    """None: the last one has been answered."""
    killed_because: str = ""
    failures: int = 0
    """Quick failures in a row."""
    restarts: int = 0
    last_exit: str = ""


def _allowance(child: ChildRecord) -> float:
    """How long the child may stay as it is."""
    if child.killed_because:
        return KILL_SECONDS
    match child.state:
        case ChildState.STARTING:
            return child.spec.ready_seconds
        case ChildState.RUNNING if child.ping_sent_at is None:
            return child.spec.heartbeat_seconds
        case ChildState.RUNNING:
            return child.spec.heartbeat_deadline_seconds
        case _:
            return child.spec.stop_seconds


class Plan:
    """The supervisor's mind.  Every method takes the time and returns what to do, in order."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._history = RestartHistory(tree.intensity)
        self.children: dict[str, ChildRecord] = {spec.name: ChildRecord(spec) for spec in tree.children}
        """In the order of their start; to be read only."""
        self._initialised = False
        self._quit: Quit | None = None
        """Set once the tree stops: what to do at the end."""
        self._finished = False

    @property
    def is_stopping(self) -> bool:
        """Whether the tree stops, or has stopped."""
        return self._quit is not None

    @property
    def has_failed(self) -> bool:
        """Whether the tree stops because of a failure."""
        return self._quit is not None and self._quit.code is not ExitCode.DONE

    def begin(self, now: float) -> list[Action]:
        """Start the tree."""
        return self._start_next(now)

    def ready(self, name: str, now: float) -> list[Action]:
        """A child said `Ready`."""
        child = self.children[name]
        if child.state is not ChildState.STARTING:
            return []
        child.state, child.ping_sent_at = ChildState.RUNNING, None
        child.deadline = now + _allowance(child)
        return [ReportReady(name, now - child.started_at), *self._start_next(now)]

    def pong(self, name: str, sequence: int, now: float) -> list[Action]:
        """A child answered a `Ping`; late answers to earlier ones count for nothing."""
        child = self.children[name]
        if child.state is ChildState.RUNNING and child.ping_sent_at is not None and sequence == child.ping:
            child.deadline = max(now, child.ping_sent_at + child.spec.heartbeat_seconds)
            child.ping_sent_at = None
        return []

    def still_stopping(self, name: str, now: float) -> list[Action]:
        """A child that was asked to stop is about it, and gets its time anew."""
        child = self.children[name]
        if child.state in (ChildState.STOPPING, ChildState.FATAL) and not child.killed_because:
            child.deadline = now + _allowance(child)
        return []

    def fatal(self, name: str, reason: str, now: float) -> list[Action]:
        """A child said that a restart will not help."""
        child = self.children[name]
        if not child.alive or child.state is ChildState.FATAL:
            return []
        child.state = ChildState.FATAL
        child.deadline = now + _allowance(child)
        return [AskToStop(name), *self.stop(now, ExitCode.CHILD_FAILED, reason)]

    def exited(self, name: str, how: Exit, now: float) -> list[Action]:
        """A child's process is gone, or could not be started."""
        child = self.children[name]
        if not child.alive:
            return []
        because, uptime = child.killed_because, now - child.started_at
        asked = child.state in (ChildState.STOPPING, ChildState.FATAL) and not because
        child.alive, child.deadline, child.killed_because, child.last_exit = False, None, "", str(how)
        if child.state is not ChildState.FATAL:
            child.state = ChildState.STOPPED
        if self.is_stopping:
            report: list[Action] = [] if asked else [ReportEnded(name, how, because, uptime, None)]
            return [*report, *self._stop_next(now)]
        child.failures = 0 if uptime >= self._tree.backoff.stable_seconds else child.failures + 1
        if not self._history.allow(now):
            report = [ReportEnded(name, how, because, uptime, None)]
            limit = self._tree.intensity
            reason = (
                f"restart intensity exceeded: {limit.restarts} restarts in {limit.seconds:g} s, and {name} ended again"
            )
            return [*report, *self.stop(now, ExitCode.FAILED, f"{reason} ({because or how})")]
        pause = self._tree.backoff.pause(child.failures)
        child.state, child.deadline = ChildState.BACKOFF, now + pause
        child.restarts += 1
        return [ReportEnded(name, how, because, uptime, pause)]

    def stop(self, now: float, code: ExitCode = ExitCode.DONE, because: str = "asked to stop") -> list[Action]:
        """Stop the tree; the first reason counts."""
        if self.is_stopping:
            return []
        self._quit = Quit(code, because)
        for child in self.children.values():
            if not child.alive and child.state is not ChildState.FATAL:
                child.state, child.deadline = ChildState.STOPPED, None
        return self._stop_next(now)

    def next_deadline(self) -> float | None:
        """When `expire` must be called next."""
        return min((child.deadline for child in self.children.values() if child.deadline is not None), default=None)

    def expire(self, now: float) -> list[Action]:
        """Do what is due."""
        actions: list[Action] = []
        due = self.next_deadline()
        if due is not None and now - due > PAUSE_SECONDS:
            actions.append(ReportPause(now - due))
            for child in self.children.values():
                if child.deadline is not None and child.state is not ChildState.BACKOFF:
                    child.deadline = now + _allowance(child)
        for child in self.children.values():
            if child.deadline is not None and child.deadline <= now:
                actions += self._expire(child, now)
        return actions

    def _expire(self, child: ChildRecord, now: float) -> list[Action]:
        name, spec = child.spec.name, child.spec
        match child.state:
            case ChildState.BACKOFF:
                return self._spawn(child, now)
            case ChildState.STARTING:
                return self._kill(child, f"not ready {spec.ready_seconds:g} s after its start", now)
            case ChildState.RUNNING if child.ping_sent_at is None:
                child.ping += 1
                child.ping_sent_at = now
                child.deadline = now + _allowance(child)
                return [AskAlive(name, child.ping)]
            case ChildState.RUNNING:
                return self._kill(child, f"no heartbeat for {spec.heartbeat_deadline_seconds:g} s", now)
            case ChildState.STOPPING | ChildState.FATAL if not child.killed_because:
                return self._kill(child, f"not stopped after {spec.stop_seconds:g} s", now)
            case _ if self.is_stopping:
                return self.exited(name, Exit(reason="it does not even end when it is killed"), now)
            case _:
                child.deadline = None  # nothing but its end can help, and that will be reported
                return []

    def _kill(self, child: ChildRecord, because: str, now: float) -> list[Action]:
        if child.state is not ChildState.FATAL:
            child.state = ChildState.STOPPING
        child.killed_because = because
        child.deadline = now + _allowance(child)
        return [Kill(child.spec.name, because)]

    def _spawn(self, child: ChildRecord, now: float) -> list[Action]:
        child.state, child.alive, child.started_at = ChildState.STARTING, True, now
        child.deadline = now + _allowance(child)
        return [Spawn(child.spec.name)]

    def _start_next(self, now: float) -> list[Action]:
        """The first start goes child by child."""
        if self.is_stopping:
            return []
        for child in self.children.values():
            if child.state is ChildState.WAITING:
                return self._spawn(child, now)
            if child.state is not ChildState.RUNNING:
                return []
        if self._initialised:
            return []
        self._initialised = True
        return [Initialised()]

    def _stop_next(self, now: float) -> list[Action]:
        """Ask the last child that is still there to stop; when none is left, the end."""
        assert self._quit is not None
        for child in reversed(self.children.values()):
            if not child.alive:
                continue
            if child.state in (ChildState.STARTING, ChildState.RUNNING):
                child.state = ChildState.STOPPING
                child.deadline = now + _allowance(child)
                return [AskToStop(child.spec.name)]
            if child.deadline is None:  # killed before the tree began to stop
                child.deadline = now + _allowance(child)
            return []
        if self._finished:
            return []
        self._finished = True
        return [self._quit]
