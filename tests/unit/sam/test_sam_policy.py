"""Back-off, restart intensity, and which policies are refused."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.ipc.errors import InvalidArgument
from totemd.sam.policy import BackOff, Intensity, Policy, Recovery

BACKOFF = BackOff(initial=0.1, factor=2, maximum=2, jitter=0.5)
POLICY = Policy(
    recovery=Recovery.RESTART,
    interval=1,
    warn_signal=signal.SIGTERM,
    start_period=1,
    backoff=BACKOFF,
    intensity=Intensity(3, 10),
    stop_signal=signal.SIGQUIT,
    stop_timeout=5,
)


@pytest.mark.parametrize(
    ("failures", "delay"), [(0, 0), (1, 0.1), (2, 0.2), (3, 0.4), (5, 1.6), (6, 2), (7, 2), (10_000, 2)]
)
def test_the_wait_grows_up_to_its_maximum(failures: int, delay: float) -> None:
    assert BACKOFF.delay(failures, 0) == pytest.approx(delay)


def test_jitter_lengthens_by_at_most_its_share() -> None:
    assert BACKOFF.delay(1, 0.999) == pytest.approx(0.1 * (1 + 0.5 * 0.999))


def test_without_a_first_wait_there_is_none() -> None:
    assert replace(BACKOFF, initial=0).delay(1000, 0.5) == 0


@given(st.integers(0, 5000), st.floats(0, 1, exclude_max=True))
def test_no_wait_is_longer_than_maximum_and_jitter(failures: int, chance: float) -> None:
    assert 0 <= BACKOFF.delay(failures, chance) <= 2 * 1.5


def test_intensity_counts_what_lies_within() -> None:
    intensity = Intensity(restarts=2, within=10)
    assert intensity.allows((), 100)
    assert intensity.allows((95,), 100)
    assert not intensity.allows((95, 96), 100)
    assert intensity.allows((90, 96), 100), "a restart exactly as long ago does not count any more"
    assert intensity.recent((80, 95, 99), 100) == (95, 99)


def test_unlimited_and_none_at_all() -> None:
    assert Intensity(None, 1).allows((1.0,) * 100, 1)
    assert not Intensity(0, 1).allows((), 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval": -1},
        {"start_period": -1},
        {"stop_timeout": -0.1},
    ],
)
def test_a_policy_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="0 or longer"):
        replace(POLICY, **wrong)


@pytest.mark.parametrize("wrong", [{"initial": -1}, {"factor": 0.5}, {"maximum": -1}, {"jitter": 1.1}])
def test_a_back_off_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        replace(BACKOFF, **wrong)


@pytest.mark.parametrize(("restarts", "within"), [(-1, 1), (1, 0)])
def test_an_intensity_that_cannot_work_is_refused(restarts: int, within: float) -> None:
    with pytest.raises(InvalidArgument):
        Intensity(restarts, within)


def test_only_sigterm_is_translated_to_the_stop_signal() -> None:
    assert POLICY.stop_signal_for(signal.SIGTERM) == signal.SIGQUIT
    assert POLICY.stop_signal_for(signal.SIGINT) == signal.SIGINT
