"""SAM's acceptance scenarios whose clock a test can turn.

The numbers are those of the table in docs/sam.md; scenarios that need real processes are in
tests/integration/test_sam_acceptance.py.
"""

from __future__ import annotations

import signal

import msgspec
import pytest
from storykit import CRASH, KILLED, WARNED, T, refused, spoken
from totemd.ipc.errors import Status
from totemd.ipc.messages.common import Done
from totemd.ipc.messages.sam import AppState, ResourceState
from totemd.ipc.messages.sam_app import (
    FROM_APP,
    STORED_BYTES_MAX,
    AskMe,
    Beat,
    Check,
    Enrol,
    MarkFailed,
    Restore,
    SetWarnSignal,
    StartWatch,
    StopWatch,
    Store,
)
from totemd.sam.events import (
    Answer,
    Begin,
    Continue,
    Ending,
    Exited,
    Failed,
    Finish,
    Kill,
    QuorumChanged,
    Signal,
    Spawned,
    Start,
    StopAsked,
)
from totemd.sam.life import EXIT_FATAL
from totemd.sam.policy import Recovery


def test_s01_silence_for_two_intervals_leads_to_the_next_instance() -> None:
    story = spoken().watched().beats(10)
    assert story.wait(T - 0.001) == []
    assert story.wait(0.002) == WARNED
    assert story.wait(T - 0.002) == []
    assert story.wait(0.002) == [Kill()]
    assert story.tell(KILLED) == [Start(2)]


def test_s02_who_is_stopped_may_be_silent() -> None:
    story = spoken().watched().beats(10).done(StopWatch())
    assert story.wait(3) == []
    story.done(StartWatch())
    assert story.wait(2 * T) == [*WARNED, Kill()]
    assert story.tell(KILLED) == [Start(2)]


def test_s03_registering_twice_is_refused_and_harms_nothing() -> None:
    story = spoken().done(Enrol())
    assert refused(story.ask(Enrol())) is Status.WRONG_STATE
    story.done(StartWatch(), StopWatch(), StartWatch())


@pytest.mark.parametrize("message", [StartWatch(), StopWatch(), AskMe(), SetWarnSignal(10), MarkFailed()])
def test_s04_everything_comes_after_registering(message: msgspec.Struct) -> None:
    assert refused(spoken().ask(message)) is Status.WRONG_STATE


def test_s05_policy_quit_warns_kills_and_restarts_nothing() -> None:
    story = spoken(recovery=Recovery.QUIT).watched()
    assert story.wait(2 * T) == [*WARNED, Kill()]
    assert story.tell(KILLED) == [Finish(137)]


def test_s06_interval_0_needs_no_sign_of_life_and_knows_no_limit() -> None:
    story = spoken(interval=0.0)
    for instance in range(2, 101):
        story.watched()
        assert story.wait(60) == []
        assert story.tell(Exited(Ending(signal=signal.SIGSEGV), left_behind=False)) == [Start(instance)]
        story.tell(Spawned(instance))
    story.done(Enrol())
    assert story.tell(Exited(Ending(0), left_behind=False)) == [Finish(0)]


def test_s07_and_s08_storing_comes_after_registering_and_has_a_limit() -> None:
    story = spoken()
    assert refused(story.ask(Store(b"x"))) is refused(story.ask(Restore())) is Status.WRONG_STATE
    encoded = msgspec.msgpack.encode(Store(bytes(STORED_BYTES_MAX + 1)))
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(encoded, type=FROM_APP)


def test_s09_what_is_stored_is_what_is_restored() -> None:
    story = spoken().done(Enrol(), Store(b"long enough"))
    assert story.ask(Restore()).data == b"long enough"
    assert story.done(Store(b"short")).ask(Restore()).data == b"short"
    assert story.done(Store(b"")).ask(Restore()).data == b""


def test_s10_stored_data_survive_instances_until_they_are_cleared() -> None:
    story = spoken().watched().done(Store(b"from 1"))
    assert story.tell(Exited(CRASH, left_behind=False)) == [Start(2)]
    story.tell(Spawned(2))
    assert story.watched().ask(Restore()).data == b"from 1"
    story.done(Store(b""))
    story.tell(Exited(CRASH, left_behind=False))
    story.tell(Spawned(3))
    assert story.watched().ask(Restore()).data == b""


def test_s11_each_fourth_check_is_a_full_one_and_no_answer_is_silence() -> None:
    story = spoken(interval=0.4).done(Enrol(), AskMe(), StartWatch())
    for number in range(1, 45):
        (check,) = story.wait(0.1)
        assert isinstance(check, Answer) and check.message == Check(full=number % 4 == 0)
        if number < 44:
            assert story.say(Beat()) == []
    quiet = [each for each in story.wait(0.71) if not isinstance(each, Answer)]
    assert quiet == [*WARNED, Kill()]


@pytest.mark.parametrize(
    ("interval", "before", "status"),
    [(0.0, [Enrol()], Status.INVALID_ARGUMENT), (T, [Enrol(), StartWatch()], Status.WRONG_STATE)],
)
def test_s12_checks_need_an_interval_and_are_asked_for_before_the_start(
    interval: float, before: list[msgspec.Struct], status: Status
) -> None:
    assert refused(spoken(interval=interval).done(*before).ask(AskMe())) is status


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGKILL], ids=["s13", "s14"])
def test_s13_and_s14_the_warn_signal_can_be_chosen(number: int) -> None:
    story = spoken().done(Enrol(), SetWarnSignal(number), StartWatch())
    assert story.wait(T) == [Signal(number), Continue()]
    assert story.wait(T) == [Kill()]


def test_s15_the_start_waits_for_quorum() -> None:
    story = spoken()
    story.done(Enrol(policy="restart+quorum+cmap"))
    assert story.say(StartWatch()) == []
    assert story.resource is ResourceState.WAITING
    assert story.wait(100) == [], "who waits is not watched"
    (answer,) = story.tell(QuorumChanged(quorate=True))
    assert isinstance(answer, Answer) and isinstance(answer.message, Done)
    assert story.resource is ResourceState.RUNNING
    assert story.wait(T) == WARNED


def test_s16_quorum_lost_is_a_failure_and_the_next_instance_waits() -> None:
    story = spoken()
    story.tell(QuorumChanged(quorate=True))
    story.done(Enrol(policy="restart+quorum"), StartWatch())
    assert story.tell(QuorumChanged(quorate=False)) == WARNED
    assert story.wait(T) == [Kill()]
    assert story.tell(KILLED) == [Start(2)]
    story.tell(Spawned(2))
    story.done(Enrol(policy="restart+quorum"))
    assert story.say(StartWatch()) == []
    (answer,) = story.tell(QuorumChanged(quorate=True))
    assert isinstance(answer, Answer) and isinstance(answer.message, Done)


def test_s16_beats_do_not_put_off_the_end_after_quorum_was_lost() -> None:
    """Otherwise than corosync, which never kills who ignores the warning and goes on beating."""
    story = spoken()
    story.tell(QuorumChanged(quorate=True))
    story.done(Enrol(policy="restart+quorum"), StartWatch())
    story.tell(QuorumChanged(quorate=False))
    story.wait(T - 0.5)
    story.say(Beat())
    assert story.wait(0.5) == [Kill()]


def test_s16_without_an_interval_it_gets_the_time_of_a_stop() -> None:
    story = spoken(interval=0.0, stop_timeout=5.0)
    story.tell(QuorumChanged(quorate=True))
    story.done(Enrol(policy="restart+quorum"), StartWatch())
    story.tell(QuorumChanged(quorate=False))
    assert story.wait(4.9) == []
    assert story.wait(0.1) == [Kill()]


def test_s17_cmap_shows_what_an_application_does() -> None:
    story = spoken(recovery=Recovery.QUIT, cmap=True)
    shown = [story.resource]
    unregistered = story.machine.life.resource
    assert unregistered is not None and unregistered.poll_period == 0, "nobody expects anything of it"
    for message in (Enrol(), StartWatch()):
        story.done(message)
        shown.append(story.resource)
    before = story.machine.life.resource
    story.beats(1)
    after = story.machine.life.resource
    assert before is not None and after is not None
    assert (after.recovery, after.poll_period) == ("quit", 2000)
    assert after.last_updated - before.last_updated == pytest.approx(1e9, rel=0.01)
    shown.append(story.done(StopWatch()).resource)
    running, stopped = ResourceState.RUNNING, ResourceState.STOPPED
    assert shown == [running, stopped, running, stopped]


def test_s18_and_s19_failed_remains_and_a_good_end_does_not() -> None:
    story = spoken(recovery=Recovery.QUIT, cmap=True).watched().done(StopWatch())
    assert story.tell(Exited(Ending(0), left_behind=False)) == [Finish(0)]
    assert story.resource is ResourceState.STOPPED
    story = spoken(recovery=Recovery.QUIT, cmap=True).watched()
    story.wait(2 * T)
    assert story.tell(KILLED) == [Finish(137)]
    assert story.resource is ResourceState.FAILED


def test_s20_each_instance_is_shown_as_running() -> None:
    story = spoken(cmap=True).watched()
    for instance in (2, 3):
        story.wait(2 * T)
        assert story.tell(KILLED) == [Start(instance)]
        story.tell(Spawned(instance))
        assert story.watched().resource is ResourceState.RUNNING


def test_s21_who_marks_itself_as_failed_is_killed_and_not_restarted() -> None:
    story = spoken(cmap=True).watched()
    answer, kill = story.say(MarkFailed())
    assert isinstance(answer, Answer) and isinstance(answer.message, Done)
    assert kill == Kill()
    assert story.tell(KILLED) == [Finish(EXIT_FATAL)]
    assert (story.state(), story.resource) == (AppState.FATAL, ResourceState.FAILED)


def test_s21_who_is_started_again_by_hand_is_not_marked_any_more() -> None:
    story = spoken(cmap=True).watched()
    story.say(MarkFailed())
    story.tell(KILLED)
    assert story.tell(Begin()) == [Start(2)]
    story.tell(Spawned(2))
    assert story.resource is ResourceState.RUNNING
    assert story.watched().tell(Exited(CRASH, left_behind=False)) == [Start(3)]


def test_s22_marking_needs_cmap() -> None:
    assert refused(spoken().watched().ask(MarkFailed())) is Status.INVALID_ARGUMENT


@pytest.mark.parametrize("code", [0, 3])
def test_s23_any_end_while_watched_is_a_failure(code: int) -> None:
    assert spoken().watched().tell(Exited(Ending(code), left_behind=False)) == [Start(2)]


@pytest.mark.parametrize("before", [[Enrol()], [Enrol(), StartWatch(), StopWatch()]])
def test_s24_an_end_while_not_watched_is_final(before: list[msgspec.Struct]) -> None:
    assert spoken().done(*before).tell(Exited(Ending(3), left_behind=False)) == [Finish(3)]


def test_s24_the_end_after_a_warning_is_a_failure_even_so() -> None:
    story = spoken().done(Enrol())
    assert story.tell(Failed(1, "stopped for too long")) == WARNED
    assert story.tell(Exited(Ending(0), left_behind=False)) == [Start(2)]


def test_s24_who_never_registers_is_any_program() -> None:
    assert spoken().tell(Exited(Ending(3), left_behind=False)) == [Start(2)]


def test_s25_policy_quit_hands_the_exit_code_on() -> None:
    story = spoken(recovery=Recovery.QUIT).watched()
    assert story.tell(Exited(Ending(5), left_behind=False)) == [Finish(5)]


def test_s26_sigterm_to_the_supervisor_takes_the_application_along() -> None:
    story = spoken().watched()
    assert story.tell(StopAsked(signal.SIGTERM)) == [Signal(signal.SIGTERM)]
    assert story.tell(Exited(Ending(0), left_behind=False)) == [Finish(0)]


def test_s27_a_late_sign_of_life_puts_the_end_off_and_withdraws_nothing() -> None:
    story = spoken().watched()
    assert story.wait(T + 1.5) == WARNED
    assert story.say(Beat()) == []
    assert story.state() is AppState.WARNED
    assert story.wait(T - 0.01) == []
    assert story.wait(0.02) == [Kill()], "without a second warning"
