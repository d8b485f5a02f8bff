"""How an application ends because somebody wants it: asked to stop, by the terminal, by job control."""

from __future__ import annotations

import signal

import pytest
from storykit import CRASH, Story
from totemd.ipc.messages.sam import AppState
from totemd.sam.events import (
    Begin,
    Continue,
    Ending,
    Exited,
    Failed,
    Finish,
    Froze,
    Kill,
    Parting,
    Passing,
    Resumed,
    Scope,
    Signal,
    Spawned,
    Start,
    StopAsked,
    Suspend,
    SuspendAsked,
    Thawed,
    TreeGone,
    Why,
)
from totemd.sam.life import KILL_AGAIN_SECONDS, UNKILLABLE_SECONDS
from totemd.sam.reactions import EXIT_KILLED, PARTING_SECONDS, SUSPEND_SECONDS

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
