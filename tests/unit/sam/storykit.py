"""Lives of applications as stories: a machine, a clock that a test turns, and an application that may speak."""

from __future__ import annotations

import itertools
import signal
from dataclasses import replace
from typing import Any

import msgspec
from totemd.ipc.errors import Status
from totemd.ipc.messages.common import Done, Refused
from totemd.ipc.messages.sam import AppState, ResourceState
from totemd.ipc.messages.sam_app import (
    Beat,
    Enrol,
    Enrolled,
    StartWatch,
)
from totemd.sam.events import (
    Answer,
    Begin,
    Called,
    Caller,
    Continue,
    Effect,
    Ending,
    Event,
    Exited,
    Report,
    Signal,
    Spawned,
    Start,
    WatchQuorum,
    Why,
)
from totemd.sam.machine import Machine
from totemd.sam.policy import BackOff, Intensity, Policy, Recovery

POLICY = Policy(
    recovery=Recovery.RESTART,
    interval=2.0,
    warn_signal=signal.SIGUSR1,
    start_period=1.0,
    backoff=BackOff(initial=0.1, factor=2, maximum=2, jitter=0),
    intensity=Intensity(restarts=3, within=60),
    stop_signal=signal.SIGTERM,
    stop_timeout=5.0,
)
CRASH = Ending(code=3)


class Story:
    """A machine with a clock, and what it wanted done so far."""

    def __init__(self, **policy: Any) -> None:
        self.machine = Machine(replace(POLICY, **policy), lambda: 0.0)
        self.now = 100.0
        self.pids = itertools.count(1000)
        self.reports: list[Report] = []

    def state(self) -> AppState:
        """Where it stands."""
        return self.machine.life.state

    def tell(self, event: Event) -> list[Effect]:
        """What an event leads to, reports apart."""
        self.machine.happen(event, self.now)
        return self.take()

    def wait(self, seconds: float) -> list[Effect]:
        """What comes of letting time pass, deadline by deadline."""
        end, effects = self.now + seconds, list[Effect]()
        while (due := self.machine.next_deadline()) is not None and due <= end:
            self.now = max(due, self.now)
            self.machine.expire(self.now)
            effects += self.take()
        self.now = end
        return effects

    def run(self) -> Story:
        """Start the first instance."""
        assert self.tell(Begin()) == [Start(1)]
        assert self.tell(Spawned(next(self.pids))) == []
        return self

    def run_for(self, seconds: float) -> Story:
        self.run()
        assert self.wait(seconds) == []
        return self

    def whys(self) -> list[Why]:
        return [report.why for report in self.reports]

    def take(self) -> list[Effect]:
        """What is to be done now, reports apart."""
        effects = self.machine.take_effects()
        self.reports += [each for each in effects if isinstance(each, Report)]
        return [each for each in effects if not isinstance(each, Report)]


AT_ONCE: dict[str, Any] = {
    "backoff": BackOff(0, 1, 0, 0),
    "intensity": Intensity(None, 1.0),
    "warn_signal": signal.SIGTERM,
}
"""As corosync restarts: without any wait or limit."""
T = 2.0
WARNED = [Signal(signal.SIGTERM), Continue()]
KILLED = Exited(Ending(signal=9), left_behind=False)


class Spoken(Story):
    """A story with an application that speaks."""

    def __init__(self, **policy: Any) -> None:
        super().__init__(**{**AT_ONCE, "interval": T, **policy})
        self.requests = itertools.count(1)

    def say(self, message: msgspec.Struct, *, pid: int = 5, session: str = "one") -> list[Effect]:
        """What comes of a message."""
        return self.tell(Called(Caller(session, pid, next(self.requests)), message))

    def ask(self, message: msgspec.Struct, **caller: Any) -> Any:
        """The answer to a message, which leads to nothing else."""
        (effect,) = [each for each in self.say(message, **caller) if not isinstance(each, WatchQuorum)]
        assert isinstance(effect, Answer)
        return effect.message

    def done(self, *messages: msgspec.Struct) -> Spoken:
        """Messages that are answered by `Done` or `Enrolled`."""
        for message in messages:
            answer = self.ask(message)
            assert isinstance(answer, Done | Enrolled), answer
        return self

    def watched(self) -> Spoken:
        """The instance that runs registers and starts."""
        return self.done(Enrol(), StartWatch())

    def beats(self, count: int, pause: float = 1.0) -> Spoken:
        """So many signs of life, at this pace."""
        for _ in range(count):
            assert self.wait(pause) == []
            assert self.say(Beat()) == []
        return self

    @property
    def resource(self) -> ResourceState | None:
        """What cmap shows."""
        resource = self.machine.life.resource
        return None if resource is None else resource.state


def spoken(**policy: Any) -> Spoken:
    story = Spoken(**policy)
    story.run()
    return story


def refused(answer: Any) -> Status:
    assert isinstance(answer, Refused), answer
    return answer.status
