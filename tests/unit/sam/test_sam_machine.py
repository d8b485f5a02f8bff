"""One application's life as a table: every pair is decided, and the stories that the documentation tells are true."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from totemd.ipc.messages.sam import AppState
from totemd.sam.events import (
    Begin,
    Continue,
    Effect,
    Ending,
    Event,
    Exited,
    Failed,
    Finish,
    Froze,
    Kill,
    NotSpawned,
    Parting,
    Passing,
    Report,
    Resumed,
    Scope,
    Signal,
    Spawned,
    Start,
    StopAsked,
    Suspend,
    SuspendAsked,
    Thawed,
    Timer,
    TreeGone,
    Why,
)
from totemd.sam.life import EXIT_FATAL, KILL_AGAIN_SECONDS, UNKILLABLE_SECONDS
from totemd.sam.machine import EXPIRIES, REACTIONS, STATES, Machine
from totemd.sam.policy import BackOff, Intensity, Policy, Recovery
from totemd.sam.reactions import EXIT_KILLED, PARTING_SECONDS, SUSPEND_SECONDS

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
        return self._effects()

    def wait(self, seconds: float) -> list[Effect]:
        """What comes of letting time pass, deadline by deadline."""
        end, effects = self.now + seconds, list[Effect]()
        while (due := self.machine.next_deadline()) is not None and due <= end:
            self.now = max(due, self.now)
            self.machine.expire(self.now)
            effects += self._effects()
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

    def _effects(self) -> list[Effect]:
        effects = self.machine.take_effects()
        self.reports += [each for each in effects if isinstance(each, Report)]
        return [each for each in effects if not isinstance(each, Report)]


def test_every_event_and_every_deadline_is_decided_in_every_state() -> None:
    assert set(REACTIONS) == set(itertools.product(STATES, get_args(Event)))
    assert set(EXPIRIES) == set(itertools.product(STATES, Timer))
    assert set(STATES) == set(AppState) - {AppState.ORPHANED, AppState.LOST, AppState.UNREADY, AppState.STANDBY}


# -- starting, ending, starting again


def test_an_instance_that_has_started_well_is_followed_at_once() -> None:
    story = Story().run_for(1.0)
    assert story.tell(Exited(CRASH, left_behind=False)) == [Start(2)]
    assert story.state() is AppState.STARTING


def test_exit_code_0_is_a_failure_too() -> None:
    """corosync's SAM restarts whatever the exit code was."""
    assert Story().run_for(1.0).tell(Exited(Ending(0), left_behind=False)) == [Start(2)]


def test_short_lives_are_followed_by_longer_and_longer_waits() -> None:
    story = Story(intensity=Intensity(None, 60)).run()
    for instance, delay in ((2, 0.1), (3, 0.2), (4, 0.4), (5, 0.8), (6, 1.6), (7, 2.0), (8, 2.0)):
        assert story.tell(Exited(CRASH, left_behind=False)) == []
        assert story.state() is AppState.BACKOFF
        assert story.reports[-1].delay == pytest.approx(delay)
        assert story.wait(delay - 0.001) == []
        assert story.wait(0.002) == [Start(instance)]
        story.tell(Spawned(next(story.pids)))


def test_one_good_start_makes_the_next_failure_a_first_one() -> None:
    story = Story().run()
    story.tell(Exited(CRASH, left_behind=False))
    assert story.wait(0.2) == [Start(2)]
    story.tell(Spawned(2))
    story.wait(1.0)
    assert story.tell(Exited(CRASH, left_behind=False)) == [Start(3)]


def test_jitter_lengthens_the_wait() -> None:
    machine = Machine(replace(POLICY, backoff=BackOff(0.1, 2, 2, 0.5)), lambda: 0.5)
    for event in (Begin(), Spawned(1), Exited(CRASH, left_behind=False)):
        machine.happen(event, 10.0)
    assert machine.next_deadline() == pytest.approx(10.125)


def test_what_an_instance_left_behind_is_killed_before_the_next_one() -> None:
    story = Story().run_for(1.0)
    assert story.tell(Exited(CRASH, left_behind=True)) == [Kill()]
    assert story.state() is AppState.CLEARING
    assert story.wait(KILL_AGAIN_SECONDS) == [Kill()]
    assert story.tell(TreeGone()) == [Start(2)]


def test_the_back_off_counts_from_the_end_of_the_instance() -> None:
    story = Story().run()
    story.tell(Exited(CRASH, left_behind=True))
    story.wait(0.3)
    assert story.tell(TreeGone()) == [Start(2)], "the wait of 0.1 s was over before everything was gone"


def test_the_next_instance_does_not_wait_for_ever_for_a_process_that_cannot_be_killed() -> None:
    story = Story().run_for(1.0)
    story.tell(Exited(CRASH, left_behind=True))
    effects = story.wait(UNKILLABLE_SECONDS)
    assert effects[-1] == Start(2)
    assert Why.UNKILLABLE in story.whys()


def test_quit_ends_with_the_exit_code() -> None:
    story = Story(recovery=Recovery.QUIT).run_for(1.0)
    assert story.tell(Exited(Ending(5), left_behind=False)) == [Finish(5)]
    assert story.state() is AppState.STOPPED
    assert story.machine.next_deadline() is None


def test_quit_after_a_signal_ends_as_a_shell_would() -> None:
    story = Story(recovery=Recovery.QUIT).run()
    assert story.tell(Exited(Ending(signal=signal.SIGSEGV), left_behind=False)) == [Finish(139)]


def test_quit_ends_what_is_left_in_peace_and_then_by_force() -> None:
    story = Story(recovery=Recovery.QUIT).run()
    assert story.tell(Exited(Ending(5), left_behind=True)) == [Signal(signal.SIGTERM, Scope.REST)]
    assert story.wait(5.0) == [Kill()]
    assert story.tell(TreeGone()) == [Finish(5)]


def test_too_many_restarts_are_fatal() -> None:
    story = Story(backoff=BackOff(0, 1, 0, 0)).run()
    for instance in (2, 3, 4):
        assert story.tell(Exited(CRASH, left_behind=False)) == [Start(instance)]
        story.tell(Spawned(instance))
    assert story.tell(Exited(CRASH, left_behind=False)) == [Finish(EXIT_FATAL)]
    assert story.state() is AppState.FATAL
    assert story.reports[-1].why is Why.TOO_OFTEN
    assert story.tell(StopAsked(signal.SIGTERM)) == []


def test_restarts_long_ago_do_not_count() -> None:
    story = Story().run()
    for instance in range(2, 50):
        story.wait(25)
        assert story.tell(Exited(CRASH, left_behind=False)) == [Start(instance)]
        story.tell(Spawned(instance))


def test_a_life_that_is_over_can_begin_again() -> None:
    story = Story(recovery=Recovery.QUIT).run()
    story.tell(Exited(CRASH, left_behind=False))
    assert story.tell(Begin()) == [Start(2)]


def test_a_command_that_cannot_be_started_at_all_ends_everything() -> None:
    story = Story()
    story.tell(Begin())
    assert story.tell(NotSpawned(127, "no such file")) == [Finish(127)]
    assert story.reports[0].why is not None
    assert Why.CANNOT_START in story.whys()


def test_a_command_that_vanishes_later_is_a_failure_like_others() -> None:
    story = Story().run_for(1.0)
    assert story.tell(Exited(CRASH, left_behind=False)) == [Start(2)]
    assert story.tell(NotSpawned(127, "no such file")) == []
    assert story.state() is AppState.BACKOFF
    assert story.wait(0.2) == [Start(3)]


# -- failures of what lives


def test_a_frozen_application_is_warned_continued_killed_and_restarted() -> None:
    story = Story().run_for(1.0)
    assert story.tell(Froze()) == []
    assert story.state() is AppState.FROZEN
    assert story.wait(1.999) == []
    assert story.wait(0.002) == [Signal(signal.SIGUSR1), Continue()]
    assert story.state() is AppState.WARNED
    assert story.tell(Thawed()) == [], "nothing withdraws a warning"
    assert story.wait(2.0) == [Kill()]
    assert story.tell(Exited(Ending(signal=9), left_behind=False)) == [Start(2)]


def test_a_freeze_that_passes_in_time_is_none() -> None:
    story = Story().run_for(1.0)
    story.tell(Froze())
    story.wait(1.9)
    story.tell(Thawed())
    assert story.wait(100) == []
    assert story.state() is AppState.RUNNING


def test_interval_0_means_that_only_the_end_counts() -> None:
    story = Story(interval=0.0).run_for(1.0)
    story.tell(Froze())
    assert story.wait(1000) == []


def test_an_application_that_heeds_the_warning_is_restarted() -> None:
    story = Story().run_for(1.0)
    assert story.tell(Failed(1, "no answer")) == [Signal(signal.SIGUSR1), Continue()]
    assert story.reports[-1].text == "no answer"
    assert story.tell(Exited(Ending(0), left_behind=False)) == [Start(2)]


def test_a_failure_of_an_earlier_instance_is_void() -> None:
    story = Story().run_for(1.0)
    story.tell(Exited(CRASH, left_behind=False))
    story.tell(Spawned(2))
    assert story.tell(Failed(1, "late")) == []


def test_a_warned_application_is_killed_until_it_is_gone() -> None:
    story = Story().run_for(1.0)
    story.tell(Failed(1, "hangs"))
    effects = story.wait(POLICY.interval + UNKILLABLE_SECONDS + 1)
    assert set(effects) == {Kill()} and len(effects) > 10
    assert story.state() is AppState.WARNED, "while it exists nothing else is started"
    assert Why.UNKILLABLE in story.whys()


# -- being asked to stop


def test_stop_asks_waits_and_tells_the_exit_code() -> None:
    story = Story(stop_signal=signal.SIGQUIT).run()
    assert story.tell(StopAsked(signal.SIGTERM)) == [Signal(signal.SIGQUIT)]
    assert story.state() is AppState.STOPPING
    assert story.tell(Exited(Ending(7), left_behind=False)) == [Finish(7)]


def test_stop_by_sigint_is_passed_on_as_what_it_is() -> None:
    assert Story(stop_signal=signal.SIGQUIT).run().tell(StopAsked(signal.SIGINT)) == [Signal(signal.SIGINT)]


def test_stop_kills_after_the_timeout() -> None:
    story = Story().run()
    story.tell(StopAsked(signal.SIGTERM))
    assert story.wait(5.0) == [Kill()]
    assert story.tell(Exited(Ending(signal=9), left_behind=True)) == [Signal(signal.SIGTERM, Scope.REST)]
    assert story.wait(KILL_AGAIN_SECONDS) == [Kill()]
    assert story.tell(TreeGone()) == [Finish(137)]


def test_stop_gives_up_on_what_the_kernel_holds() -> None:
    story = Story().run()
    story.tell(StopAsked(signal.SIGTERM))
    assert story.wait(5.0 + UNKILLABLE_SECONDS)[-1] == Finish(EXIT_KILLED)


def test_a_second_stop_is_passed_on() -> None:
    story = Story().run()
    story.tell(StopAsked(signal.SIGTERM))
    assert story.tell(StopAsked(signal.SIGINT)) == [Signal(signal.SIGINT)]
    story.tell(Exited(Ending(0), left_behind=True))
    assert story.tell(StopAsked(signal.SIGTERM)) == [Signal(signal.SIGTERM, Scope.REST)]


def test_stop_lets_a_frozen_application_act() -> None:
    story = Story().run()
    story.tell(Froze())
    assert story.tell(StopAsked(signal.SIGTERM)) == [Signal(signal.SIGTERM), Continue()]
    assert story.tell(Froze()) == [Continue()]


def test_stop_of_a_warned_application_does_not_prolong_its_life() -> None:
    story = Story().run()
    story.tell(Failed(1, "hangs"))
    story.tell(StopAsked(signal.SIGTERM))
    assert story.wait(2.0) == [Kill()]


def test_stop_during_the_back_off_ends_like_a_program_killed_by_that_signal() -> None:
    story = Story().run()
    story.tell(Exited(CRASH, left_behind=False))
    assert story.tell(StopAsked(signal.SIGTERM)) == [Finish(143)]
    assert story.wait(100) == []


def test_stop_while_clearing_waits_for_the_rest() -> None:
    story = Story().run_for(1.0)
    story.tell(Exited(CRASH, left_behind=True))
    assert story.tell(StopAsked(signal.SIGINT)) == []
    assert story.tell(TreeGone()) == [Finish(130)]


def test_stop_while_starting_stops_what_has_started() -> None:
    story = Story()
    story.tell(Begin())
    story.tell(StopAsked(signal.SIGTERM))
    assert story.tell(Spawned(5)) == [Signal(signal.SIGTERM)]
    assert story.tell(Exited(Ending(0), left_behind=False)) == [Finish(0)]


# -- the terminal


def test_an_end_after_ctrl_c_is_final() -> None:
    story = Story().run_for(5)
    assert story.tell(Parting(signal.SIGINT, pass_on=False, only_if_killed=False)) == []
    story.wait(1)
    assert story.tell(Exited(Ending(0), left_behind=False)) == [Finish(0)]
    assert Why.PARTED in story.whys()


def test_an_application_may_make_of_ctrl_c_what_it_likes() -> None:
    story = Story().run_for(5)
    story.tell(Parting(signal.SIGINT, pass_on=False, only_if_killed=False))
    assert story.wait(PARTING_SECONDS + 1) == []
    assert story.tell(Exited(CRASH, left_behind=False)) == [Start(2)]


def test_a_hangup_is_final_only_for_those_who_die_of_it() -> None:
    hangup = Parting(signal.SIGHUP, pass_on=True, only_if_killed=True)
    story = Story().run_for(5)
    assert story.tell(hangup) == [Signal(signal.SIGHUP)]
    assert story.tell(Exited(Ending(1), left_behind=False)) == [Start(2)], "a reload that went wrong"
    story.tell(Spawned(2))
    story.tell(hangup)
    assert story.tell(Exited(Ending(signal=signal.SIGHUP), left_behind=False)) == [Finish(129)]


def test_ctrl_c_between_instances_ends_it() -> None:
    story = Story().run()
    story.tell(Exited(CRASH, left_behind=False))
    assert story.tell(Parting(signal.SIGHUP, pass_on=True, only_if_killed=True)) == []
    assert story.tell(Parting(signal.SIGINT, pass_on=False, only_if_killed=False)) == [Finish(130)]


def test_other_signals_are_for_the_application() -> None:
    story = Story().run()
    assert story.tell(Passing(signal.SIGUSR2)) == [Signal(signal.SIGUSR2)]
    story.tell(Exited(CRASH, left_behind=False))
    assert story.tell(Passing(signal.SIGUSR2)) == [], "nobody is there to get it"


@pytest.mark.parametrize("stops_first", [False, True])
def test_job_control_stops_the_job_as_a_whole(stops_first: bool) -> None:
    """The kernel tells sam-run and the application; which of the two is seen first is chance."""
    story = Story().run()
    ask = SuspendAsked(signal.SIGTSTP, pass_on=False)
    assert story.tell(Froze() if stops_first else ask) == []
    assert story.tell(ask if stops_first else Froze()) == [Suspend(signal.SIGTSTP)]
    assert story.state() is AppState.SUSPENDED
    assert story.wait(1000) == [], "being suspended is no failure"
    assert story.tell(Failed(1, "seen from outside")) == []
    assert story.tell(Resumed()) == [Continue()]
    assert story.state() is AppState.RUNNING


def test_a_job_that_is_stopped_again_at_once_stops_again() -> None:
    story = Story().run()
    story.tell(Froze())
    story.tell(SuspendAsked(signal.SIGTSTP, pass_on=False))
    assert story.tell(SuspendAsked(signal.SIGTTIN, pass_on=False)) == [Suspend(signal.SIGTTIN)]


def test_an_application_that_was_continued_with_the_job_is_seen_to_run() -> None:
    story = Story().run()
    story.tell(Froze())
    story.tell(SuspendAsked(signal.SIGTSTP, pass_on=False))
    assert story.tell(Thawed()) == []
    assert story.state() is AppState.RUNNING


def test_job_control_sent_to_sam_run_alone_is_passed_on() -> None:
    story = Story().run()
    assert story.tell(SuspendAsked(signal.SIGTSTP, pass_on=True)) == [Signal(signal.SIGTSTP)]


def test_who_ignores_job_control_and_freezes_later_has_failed() -> None:
    story = Story().run_for(1.0)
    story.tell(SuspendAsked(signal.SIGTSTP, pass_on=False))
    story.wait(SUSPEND_SECONDS + 1)
    story.tell(Froze())
    assert story.state() is AppState.FROZEN
    assert Signal(signal.SIGUSR1) in story.wait(2.0)


def test_job_control_between_instances_stops_sam_run_alone() -> None:
    story = Story().run()
    story.tell(Exited(CRASH, left_behind=False))
    assert story.tell(SuspendAsked(signal.SIGTSTP, pass_on=True)) == [Suspend(signal.SIGTSTP)]
    assert story.tell(Resumed()) == []
    assert story.wait(1) == [Start(2)]


# -- for all lives

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
