"""What holds for all lives: no instance meets another, none is started too often, and each life comes to its end."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from storykit import CRASH, POLICY, Story
from totemd.ipc.messages.sam import AppState
from totemd.sam.events import (
    Begin,
    Effect,
    Ending,
    Exited,
    Failed,
    Finish,
    Froze,
    Kill,
    NotSpawned,
    Parting,
    Passing,
    Resumed,
    Spawned,
    Start,
    StopAsked,
    Suspend,
    SuspendAsked,
    Thawed,
    TreeGone,
)
from totemd.sam.life import EXIT_FATAL, UNKILLABLE_SECONDS
from totemd.sam.policy import BackOff, Intensity, Recovery

signals = st.sampled_from([signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
events = st.one_of(
    st.just(Froze()),
    st.just(Thawed()),
    st.just(Resumed()),
    st.builds(Failed, st.integers(0, 6), st.just("")),
    st.builds(Parting, signals, st.booleans(), st.booleans()),
    st.builds(Passing, signals),
    st.builds(SuspendAsked, st.just(int(signal.SIGTSTP)), st.booleans()),
)
steps = st.lists(
    st.one_of(
        events,
        st.floats(0, 8),
        st.builds(Exited, st.builds(Ending, code=st.integers(0, 3), signal=st.sampled_from([0, 9, 15])), st.booleans()),
        st.just(TreeGone()),
        st.builds(NotSpawned, st.just(127), st.just("")),
    ),
    max_size=40,
)


class World:
    """What a process tree does that is driven by effects: it ends when killed (now and then not at once)."""

    def __init__(self, story: Story, can_start: Iterator[bool], can_be_killed: Iterator[bool]) -> None:
        self.story, self.can_start, self.can_be_killed = story, can_start, can_be_killed
        self.main = self.rest = False
        self.starts: list[float] = []
        self.finished: int | None = None

    def act(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Start():
                    assert not (self.main or self.rest), "an instance met the one before it"
                    assert self.finished is None
                    self.starts.append(self.story.now)
                    self.main = next(self.can_start)
                    answer = Spawned(len(self.starts)) if self.main else NotSpawned(127, "")
                    self.act(self.story.tell(answer))
                case Kill():
                    if next(self.can_be_killed):
                        self.end(Exited(Ending(signal=9), False), everything=True)
                case Suspend():
                    self.act(self.story.tell(Resumed()))
                case Finish(code):
                    assert not (self.main or self.rest), "something of the application was left"
                    self.finished = code

    def end(self, how: Exited, everything: bool = False) -> None:
        had_main, had_rest = self.main, self.rest
        self.main, self.rest = False, not everything and (had_rest or (had_main and how.left_behind))
        if had_main:
            self.act(self.story.tell(Exited(how.ending, self.rest)))
        elif had_rest and not self.rest:
            self.act(self.story.tell(TreeGone()))

    def live(self, step: Any) -> None:
        match step:
            case float():
                self.pass_time(step)
            case Exited():
                if self.main:
                    self.end(step)
            case TreeGone():
                if self.rest and not self.main:
                    self.end(Exited(Ending(), False), everything=True)
            case NotSpawned():
                pass
            case Froze() | Thawed() if not self.main:
                pass
            case _:
                self.act(self.story.tell(step))

    def pass_time(self, seconds: float) -> None:
        end = self.story.now + seconds
        while (due := self.story.machine.next_deadline()) is not None and due <= end:
            self.act(self.story.wait(max(0.0, due - self.story.now)))
        self.story.now = end


policies = st.fixed_dictionaries(
    {
        "recovery": st.sampled_from(Recovery),
        "interval": st.sampled_from([0.0, 0.5, 2.0]),
        "backoff": st.builds(BackOff, st.sampled_from([0, 0.1]), st.just(2), st.just(2), st.just(0)),
        "intensity": st.builds(Intensity, st.one_of(st.none(), st.integers(0, 3)), st.sampled_from([1.0, 10.0])),
        "stop_timeout": st.sampled_from([0.0, 3.0]),
    }
)


def assert_bearable(starts: list[float], intensity: Intensity) -> None:
    """At no time were there more restarts than the policy allows."""
    for start in starts[1:]:
        within = [each for each in starts[1:] if start - intensity.within < each <= start]
        assert intensity.restarts is None or len(within) <= intensity.restarts


@given(
    st.builds(Intensity, st.integers(0, 3), st.sampled_from([1.0, 3.0])),
    st.builds(BackOff, st.sampled_from([0, 0.1, 1]), st.just(2), st.sampled_from([0.5, 2]), st.just(0)),
    st.lists(st.sampled_from([0.0, 0.3, 0.5, 0.99, 1.5]), min_size=1, max_size=12),
)
@settings(deadline=None)
def test_the_intensity_is_never_exceeded(intensity: Intensity, backoff: BackOff, lives: list[float]) -> None:
    story = Story(intensity=intensity, backoff=backoff)
    world = World(story, itertools.repeat(True), itertools.repeat(True))
    world.act(story.tell(Begin()))
    for life in lives:
        world.pass_time(life)
        world.live(Exited(CRASH, left_behind=False))
        world.pass_time(2)
    assert_bearable(world.starts, intensity)
    assert (world.finished == EXIT_FATAL) is (story.state() is AppState.FATAL)


@given(policies, steps, st.lists(st.booleans(), max_size=5), st.lists(st.booleans(), max_size=8))
@settings(max_examples=100, deadline=None)
def test_never_twice_never_too_often_and_always_an_end(
    policy: dict[str, Any], steps: list[Any], can_start: list[bool], can_be_killed: list[bool]
) -> None:
    story = Story(**policy)
    always = itertools.repeat(True)
    world = World(story, itertools.chain(can_start, always), itertools.chain(can_be_killed, always))
    world.act(story.tell(Begin()))
    for step in steps:
        world.live(step)

    assert_bearable(world.starts, policy["intensity"])
    before = len(world.starts)
    world.act(story.tell(StopAsked(signal.SIGTERM)))
    world.pass_time(POLICY.stop_timeout + POLICY.interval + UNKILLABLE_SECONDS)
    assert world.finished is not None
    assert len(world.starts) == before, "something was started after the stop"
    assert story.machine.next_deadline() is None
    assert story.machine.take_effects() == []
