"""What an application may say, and when: a table, and what the acceptance scenarios do not tell."""

from __future__ import annotations

import itertools
import signal
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storykit import CRASH, WARNED, Spoken, Story, T, refused, spoken
from totemd.ipc.errors import InvalidArgument, Status
from totemd.ipc.messages.common import Done, Refused
from totemd.ipc.messages.sam import AppState, ResourceState
from totemd.ipc.messages.sam_app import (
    FROM_APP,
    AskMe,
    Beat,
    Enrol,
    Enrolled,
    MarkFailed,
    Restore,
    SetWarnSignal,
    StartWatch,
    StopWatch,
    Store,
    Stored,
)
from totemd.sam.calls import CALLS
from totemd.sam.events import (
    Answer,
    Begin,
    Called,
    Caller,
    Effect,
    Ending,
    Exited,
    Finish,
    Froze,
    QuorumChanged,
    Signal,
    Spawned,
    Start,
    SuspendAsked,
    Thawed,
    Why,
)
from totemd.sam.launch import EXIT_FAILED
from totemd.sam.life import Stage
from totemd.sam.policy import BackOff, Intensity, Quorum, Recovery, Words
from totemd.sam.reactions import OVERSLEPT_SECONDS

# -- beyond the scenarios


def test_quorum_for_any_program_decides_over_the_start_of_instances() -> None:
    story = Spoken(quorum=Quorum.TO_RUN, cmap=True)
    assert story.tell(Begin()) == []
    assert (story.state(), story.resource) == (AppState.WAITING, ResourceState.WAITING)
    assert story.tell(QuorumChanged(quorate=True)) == [Start(1)]
    story.tell(Spawned(7))
    assert story.tell(QuorumChanged(quorate=False)) == WARNED
    assert story.tell(Exited(Ending(signal=15), left_behind=False)) == []
    assert story.state() is AppState.WAITING
    assert story.tell(QuorumChanged(quorate=True)) == [Start(2)]


def test_where_nobody_counts_votes_no_first_instance_is_waited_for() -> None:
    story = Spoken(quorum=Quorum.TO_RUN, cmap=True)
    story.tell(Begin())
    assert story.tell(QuorumChanged(quorate=False, problem="no provider")) == [Finish(EXIT_FAILED)]
    assert (story.state(), story.resource) == (AppState.STOPPED, ResourceState.FAILED)
    assert [each.text for each in story.reports if each.why is Why.CANNOT_START] == ["no provider"]


def test_an_instance_that_is_not_the_first_waits_until_votes_are_counted_again() -> None:
    story = Spoken(quorum=Quorum.TO_RUN)
    story.tell(QuorumChanged(quorate=True))
    story.run()
    story.tell(QuorumChanged(quorate=False, problem="no provider"))
    assert story.tell(Exited(Ending(signal=15), left_behind=False)) == []
    assert story.tell(QuorumChanged(quorate=False, problem="no provider")) == []
    assert story.tell(QuorumChanged(quorate=True)) == [Start(2)]


def test_lost_quorum_is_not_counted_as_failing_too_often() -> None:
    story = Spoken(quorum=Quorum.TO_RUN, intensity=Intensity(1, 60), backoff=BackOff(1, 1, 1, 0))
    story.tell(QuorumChanged(quorate=True))
    story.run()
    for instance in range(2, 6):
        story.tell(QuorumChanged(quorate=False))
        story.tell(Exited(Ending(signal=15), left_behind=False))
        assert story.tell(QuorumChanged(quorate=True)) == [Start(instance)]
        story.tell(Spawned(instance))


def test_an_application_cannot_do_without_the_quorum_that_its_operator_asks_for() -> None:
    story = Spoken(quorum=Quorum.TO_RUN)
    story.tell(QuorumChanged(quorate=True))
    story.run()
    story.done(Enrol(policy="restart"), StartWatch())
    assert story.tell(QuorumChanged(quorate=False)) == WARNED


def test_where_nobody_counts_votes_the_start_is_refused() -> None:
    story = spoken()
    story.done(Enrol(policy="quit+quorum"))
    story.say(StartWatch())
    (answer,) = story.tell(QuorumChanged(quorate=False, problem="no provider"))
    assert isinstance(answer, Answer)
    assert refused(answer.message) is Status.INVALID_ARGUMENT
    assert refused(story.ask(StartWatch())) is Status.INVALID_ARGUMENT


def test_a_keeper_that_was_away_itself_believes_no_silence_at_once() -> None:
    story = spoken().watched()
    story.now += T + 10
    story.machine.expire(story.now)
    assert story.take() == []
    assert story.say(Beat()) == [], "it was on its way"
    assert story.wait(T - 0.1) == []
    story.now += 20
    story.machine.expire(story.now)
    assert story.wait(OVERSLEPT_SECONDS) == WARNED


def test_nothing_is_expected_of_a_suspended_job() -> None:
    story = spoken().watched()
    story.tell(Froze())
    story.tell(SuspendAsked(signal.SIGTSTP, pass_on=False))
    assert story.wait(1000) == []
    story.tell(Thawed())
    assert story.wait(T - 0.1) == []
    assert story.wait(0.2) == WARNED


def test_a_program_that_becomes_another_registers_anew() -> None:
    story = spoken().watched().done(Store(b"kept"))
    assert refused(story.ask(Enrol(), pid=6, session="two")) is Status.WRONG_STATE, "another process may not"
    assert isinstance(story.ask(Enrol(), session="two"), Enrolled)
    assert story.wait(100) == [], "it has not started yet"
    assert story.ask(Restore()).data == b"kept"


def test_every_message_is_a_sign_of_life() -> None:
    story = spoken().watched()
    for _ in range(5):
        assert story.wait(T - 0.1) == []
        story.done(Store(b"x"))
    assert story.wait(T) == WARNED


def test_an_instance_that_has_ended_says_nothing_any_more() -> None:
    story = spoken(backoff=BackOff(1, 1, 1, 0)).watched()
    story.tell(Exited(CRASH, left_behind=False))
    assert story.state() is AppState.BACKOFF
    assert refused(story.ask(Store(b"late"))) is Status.WRONG_STATE
    assert story.machine.life.stored == b""


def test_what_a_warned_application_stores_is_kept() -> None:
    story = spoken().watched()
    assert story.wait(T) == WARNED
    story.done(Store(b"last words"))
    story.tell(Exited(Ending(0), left_behind=False))
    story.tell(Spawned(2))
    assert story.done(Enrol()).ask(Restore()).data == b"last words"


# -- the table


def test_the_table_of_calls_is_total() -> None:
    assert set(CALLS) == set(itertools.product(Stage, get_args(FROM_APP)))


MESSAGES = [
    *(Enrol(), Enrol(interval_ms=500, policy="quit+cmap"), Enrol(policy="restart+quorum"), Enrol(policy="nonsense")),
    *(StartWatch(), StopWatch(), Beat(), AskMe(), SetWarnSignal(10), Store(b"x"), Store(b""), Restore(), MarkFailed()),
]
steps = st.one_of(
    st.sampled_from(MESSAGES),
    st.floats(0.01, 3),
    st.booleans(),
    st.just("ends"),
)


@given(st.lists(steps, max_size=40), st.sampled_from([0.0, 0.5, 2.0]))
@settings(max_examples=150, deadline=None)
def test_every_request_is_answered_once_and_nobody_is_watched_unasked(said: list[Any], interval: float) -> None:
    story = spoken(interval=interval)
    answered: list[int] = []
    asked: list[int] = []

    def note(effects: list[Effect]) -> None:
        answered.extend(
            each.message.request
            for each in effects
            if isinstance(each, Answer) and isinstance(each.message, Done | Refused | Enrolled | Stored)
        )
        for each in effects:
            if isinstance(each, Start):
                story.tell(Spawned(each.instance))
            assert not (isinstance(each, Signal) and life.stage in (Stage.REGISTERED, Stage.WAITING)), (
                "who is not watched was warned"
            )

    life = story.machine.life
    for step in said:
        match step:
            case float():
                note(story.wait(step))
            case bool():
                note(story.tell(QuorumChanged(step)))
            case "ends":
                note(story.tell(Exited(CRASH, left_behind=False)))
            case _:
                request = next(story.requests)
                if not isinstance(step, Beat):
                    asked.append(request)
                note(story.tell(Called(Caller("one", 5, request), step)))
    assert len(answered) == len(set(answered))
    assert set(answered) <= set(asked)
    unanswered = [number for number in asked if number not in answered]
    assert len(unanswered) <= 1 + life.instance, "at most one start for each instance waits for quorum"


# -- the words of a policy


@pytest.mark.parametrize("recovery", list(Recovery))
@pytest.mark.parametrize("quorum", [False, True])
@pytest.mark.parametrize("cmap", [False, True])
def test_a_policy_is_read_as_it_is_written(recovery: Recovery, quorum: bool, cmap: bool) -> None:
    words = Words(recovery, quorum, cmap)
    assert Words.parse(str(words)) == words


@pytest.mark.parametrize("text", ["", "restart+", "+quorum", "restart+quorum+quorum", "quorum", "restart,cmap", "stop"])
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="restart or quit would be accepted"):
        Words.parse(text)


def test_the_policy_that_an_application_asks_for_changes_nothing_else() -> None:
    story = Story().machine.life.policy
    asked = story.as_asked(Words(Recovery.QUIT, cmap=True), 0.25)
    assert (asked.recovery, asked.cmap, asked.interval, asked.quorum) == (Recovery.QUIT, True, 0.25, Quorum.IGNORED)
    assert (asked.stop_timeout, asked.intensity, asked.backoff) == (story.stop_timeout, story.intensity, story.backoff)
