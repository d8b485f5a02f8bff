"""One application's life as a table: every pair is decided, and the stories that the documentation tells are true."""

from __future__ import annotations

import itertools
import signal
from dataclasses import replace
from typing import get_args

import pytest
from storykit import CRASH, POLICY, Story
from totemd.ipc.messages.sam import AppState
from totemd.sam.events import (
    Begin,
    Continue,
    Ending,
    Event,
    Exited,
    Failed,
    Finish,
    Froze,
    Kill,
    NotSpawned,
    Scope,
    Signal,
    Spawned,
    Start,
    StopAsked,
    Thawed,
    Timer,
    TreeGone,
    Why,
)
from totemd.sam.life import EXIT_FATAL, KILL_AGAIN_SECONDS, UNKILLABLE_SECONDS
from totemd.sam.machine import EXPIRIES, REACTIONS, STATES, Machine
from totemd.sam.policy import BackOff, Intensity, Recovery


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
