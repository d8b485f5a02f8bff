"""How health checks are judged: tables of answers, without a clock or an application."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.ipc.errors import InvalidArgument
from totemd.sam.health import (
    STARTING_INTERVAL_SECONDS,
    Abandon,
    Ask,
    Check,
    Effect,
    Health,
    HealthPolicy,
    Healthy,
    Kind,
    Unhealthy,
)

TCP = Check(Kind.TCP, "localhost:80")
BEATS = Check(Kind.HEARTBEAT)


def policy(*checks: Check, start_period: float = 0.0, successes: int = 1, failures: int = 3) -> HealthPolicy:
    return HealthPolicy(checks or (TCP,), 2.0, 1.0, start_period, successes, failures)


def run(health: Health, answers: str, now: float = 0.0) -> tuple[float, list[Effect]]:
    """Let one check answer: `.` good, `x` bad, `-` never; return the time and what was said besides asking."""
    said: list[Effect] = []
    for answer in answers:
        now = health.next_deadline() or now
        health.expire(now)
        effects = health.take_effects()
        (ask,) = (each for each in effects if isinstance(each, Ask))
        if answer == "-":
            now = health.next_deadline() or now
            health.expire(now)
        else:
            health.answered(ask.index, ask.number, "" if answer == "." else "no", now)
        said += health.take_effects()
    return now, said


UNHEALTHY = Unhealthy("health check tcp:localhost:80 failed 3 times in a row: no")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (".", [Healthy()]),
        ("....", [Healthy()]),
        ("xx.", [Healthy()]),
        (".xx.xx.", [Healthy()]),
        ("xxx", [UNHEALTHY]),
        (".xxx", [Healthy(), UNHEALTHY]),
        (".x.x.xxx", [Healthy(), UNHEALTHY]),
    ],
)
def test_so_many_failures_in_a_row(answers: str, said: list[Effect]) -> None:
    health = Health(policy())
    health.begin(0.0)
    assert run(health, answers)[1] == said


def test_so_many_successes_in_a_row() -> None:
    health = Health(policy(successes=3))
    health.begin(0.0)
    assert run(health, "..x..")[1] == []
    assert run(health, ".")[1] == [Healthy()]


def test_with_a_higher_threshold_one_success_does_not_make_up_for_failures() -> None:
    health = Health(policy(successes=2))
    health.begin(0.0)
    assert run(health, "..xx.x")[1] == [Healthy(), UNHEALTHY]


def test_in_the_start_period_failures_do_not_count_until_it_has_been_well() -> None:
    health = Health(policy(start_period=100.0))
    health.begin(0.0)
    assert run(health, "x" * 20)[1] == []
    assert run(health, ".xxx", now=6.0)[1] == [Healthy(), UNHEALTHY]


def test_a_start_period_ends() -> None:
    health = Health(policy(start_period=1.0))
    health.begin(0.0)
    now, said = run(health, "xxxxxx")
    assert said == [] and now >= 1.0
    assert run(health, "x", now)[1] == [UNHEALTHY]


def test_silence_is_a_failure_after_the_timeout() -> None:
    health = Health(policy(failures=1))
    health.begin(10.0)
    now, said = run(health, "-", 10.0)
    assert now == 11.0
    assert said == [Abandon(0, 1), Unhealthy("health check tcp:localhost:80 failed: no answer within 1 s")]


def test_one_that_has_never_been_well_is_asked_more_often() -> None:
    health = Health(policy(start_period=100))
    health.begin(0.0)
    run(health, "x")
    assert health.next_deadline() == STARTING_INTERVAL_SECONDS
    run(health, ".")
    assert health.next_deadline() == STARTING_INTERVAL_SECONDS + 2.0


def test_an_answer_that_comes_too_late_means_nothing() -> None:
    health = Health(policy(failures=2))
    health.begin(0.0)
    run(health, "-")
    health.answered(0, 1, "", 1.5)
    health.answered(5, 1, "", 1.5)
    assert health.take_effects() == []


@pytest.mark.parametrize(("failures", "at"), [(1, 2.0), (3, 6.0)])
def test_heartbeats_that_fail_to_come(failures: int, at: float) -> None:
    health = Health(policy(BEATS, failures=failures))
    health.begin(0.0)
    while (due := health.next_deadline()) is not None:
        health.expire(due)
        last = due
    assert last == at
    assert [type(each) for each in health.take_effects()] == [Unhealthy]


def test_a_heartbeat_begins_the_time_anew() -> None:
    health = Health(policy(BEATS, failures=1))
    health.begin(0.0)
    health.beat(1.5)
    assert health.take_effects() == [Healthy()]
    assert health.next_deadline() == 3.5
    health.expire(3.4)
    assert health.take_effects() == []


def test_all_checks_have_to_be_well_and_one_is_enough_to_fail() -> None:
    health = Health(policy(TCP, BEATS, failures=1))
    health.begin(0.0)
    health.expire(0.0)
    health.answered(0, 1, "", 0.1)
    assert health.take_effects() == [Ask(0, 1)]
    health.beat(0.2)
    assert health.take_effects() == [Healthy()]
    health.expire(2.2)
    assert health.take_effects() == [Ask(0, 2), Abandon(0, 2), Unhealthy("health check heartbeat failed: none for 2 s")]
    assert health.next_deadline() is None


def test_who_is_held_need_not_answer() -> None:
    health = Health(policy(failures=2))
    health.begin(0.0)
    run(health, "x")
    health.expire(health.next_deadline() or 0)
    health.take_effects()
    health.pause()
    assert [type(each) for each in health.take_effects()] == [Abandon]
    assert health.next_deadline() is None
    health.beat(1.0)
    health.resume(50.0)
    assert run(health, "x", 50.0)[1] == []
    assert [type(each) for each in run(health, "x", 52.0)[1]] == [Unhealthy]


def test_another_instance_begins_with_nothing() -> None:
    health = Health(policy(failures=2))
    health.begin(0.0)
    run(health, "x")
    health.begin(10.0)
    health.take_effects()
    assert run(health, "x.", 10.0)[1] == [Healthy()]


def test_without_checks_nothing_is_waited_for() -> None:
    health = Health(HealthPolicy())
    health.begin(0.0)
    health.resume(1.0)
    assert health.next_deadline() is None and health.take_effects() == []


@given(
    st.lists(st.sampled_from(["answer", "refuse", "late", "beat", "pause", "resume", "begin"]), max_size=60),
    st.integers(1, 4),
    st.integers(1, 4),
    st.floats(0, 10),
)
def test_whatever_happens(events: list[str], successes: int, failures: int, start_period: float) -> None:
    """Healthy at most once and nothing after Unhealthy in an instance; no check is asked twice at a time."""
    health = Health(policy(TCP, BEATS, start_period=start_period, successes=successes, failures=failures))
    now, asking, said = 0.0, set[tuple[int, int]](), list[Effect]()
    for event in events:
        if event == "begin":
            said = []
            health.begin(now)
        elif event == "pause":
            health.pause()
        elif event == "resume":
            health.resume(now)
        elif event == "beat":
            health.beat(now)
        elif event == "late" or not asking:
            now = max(now, health.next_deadline() or now)
            health.expire(now)
        else:
            health.answered(*asking.pop(), "" if event == "answer" else "no", now)
        for effect in health.take_effects():
            match effect:
                case Ask(index, number):
                    assert not asking
                    asking.add((index, number))
                case Abandon(index, number):
                    asking.discard((index, number))
                case _:
                    assert not any(isinstance(each, Unhealthy) for each in said)
                    assert effect not in said
                    said.append(effect)


@pytest.mark.parametrize("wrong", [{"interval": 0}, {"timeout": 0}, {"successes": 0}, {"failures": 0}])
def test_policies_that_mean_nothing_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument):
        HealthPolicy(**wrong)  # type: ignore[arg-type]
