"""How soon a token is sent again (docs/totem.md §4.9): the estimator, and what a member does with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.executive.totem.core.context import RingState
from totemd.executive.totem.core.effects import Multicast, Unicast
from totemd.executive.totem.core.parameters import RingParameters
from totemd.executive.totem.core.rhythm import FIRST_SECONDS, SHORTEST_SECONDS, Rhythm
from totemd.executive.totem.core.ring import Ring
from totemd.executive.totem.core.submission import Submission
from totemd.executive.totem.wire.packets import HoldCancel, Token
from totemd.ipc.ids import Guarantee
from totemd.ipc.messages.stream import Lane

LONGEST = 0.7


def turned(*seconds: float) -> Rhythm:
    """The rhythm of a ring that has taken so long for its rotations."""
    rhythm, now = Rhythm(), 100.0
    for each in seconds:
        rhythm.passed(now)
        now += each
        rhythm.returned(now)
    return rhythm


def test_before_anything_was_measured_patience_is_a_guess_within_the_configuration() -> None:
    assert Rhythm().patience(LONGEST) == FIRST_SECONDS
    assert Rhythm().patience(0.03) == 0.03


def test_patience_follows_the_rotation_and_its_unrest() -> None:
    assert turned(*[0.02] * 50).patience(LONGEST) == pytest.approx(0.02, rel=0.05)
    assert turned(*[0.01, 0.03] * 25).patience(LONGEST) > 0.035
    assert turned(*[0.0001] * 50).patience(LONGEST) == SHORTEST_SECONDS


def test_each_repetition_doubles_it_until_a_rotation_goes_through() -> None:
    rhythm = turned(*[0.02] * 50)
    calm = rhythm.patience(LONGEST)
    rhythm.passed(200.0)
    rhythm.repeated(200.1)
    rhythm.repeated(200.2)
    assert rhythm.patience(LONGEST) == pytest.approx(4 * calm)
    rhythm.returned(200.3)
    assert rhythm.patience(LONGEST) == pytest.approx(2 * calm), "which of three tokens came back is not known"
    assert rhythm.mean == pytest.approx(0.02)
    rhythm.passed(200.3)
    rhythm.returned(200.32)
    assert rhythm.patience(LONGEST) == pytest.approx(calm, rel=0.05)


def test_a_token_that_comes_right_after_a_repetition_answers_the_first_one() -> None:
    rhythm = turned(*[0.02] * 50)
    rhythm.passed(200.0)
    rhythm.repeated(200.025)
    rhythm.returned(200.03)
    assert rhythm.mean > 0.021, "the ring has become slower, and that is learned"


def test_a_rotation_in_which_somebody_rested_is_no_measure() -> None:
    rhythm = turned(*[0.02] * 50)
    rhythm.passed(200.0)
    rhythm.disturbed()
    rhythm.returned(209.0)
    assert rhythm.mean == pytest.approx(0.02)


def test_a_slower_ring_is_learned_and_rare_outliers_are_not() -> None:
    assert turned(*[0.01] * 50, *[0.1] * 50).mean == pytest.approx(0.1, rel=0.05)
    # One rotation in seven waits for somebody's repetition; what it waits must not grow by that.
    rhythm, now = turned(*[0.01] * 50), 1000.0
    for number in range(700):
        rhythm.passed(now)
        now += 0.01 if number % 7 else 0.01 + rhythm.patience(LONGEST)
        rhythm.returned(now)
    assert rhythm.patience(LONGEST) < 0.04


@given(st.lists(st.tuples(st.sampled_from(["passed", "repeated", "returned", "disturbed"]), st.floats(0, 10))))
def test_patience_never_leaves_its_bounds(steps: list[tuple[str, float]]) -> None:
    rhythm, now = Rhythm(), 0.0
    for verb, seconds in steps:
        now += seconds
        if verb == "disturbed":
            rhythm.disturbed()
        else:
            getattr(rhythm, verb)(now)
        assert SHORTEST_SECONDS <= rhythm.patience(LONGEST) <= LONGEST


# -- a member of a ring of three


class Member:
    """Node 1 or 2 of the ring 1, 2, 3, whose others are the test."""

    def __init__(self, node: int) -> None:
        parameters = RingParameters(
            node, token=3.0, token_retransmit=LONGEST, hold=0.5, join=0.05, consensus=3.6, merge=9.0,
            seqno_unchanged_const=3, park_visits=0,
        )  # fmt: skip
        self.node, self.now = node, 100.0
        self.ring = Ring(parameters, 1, lambda: 0.5)
        context = self.ring._context  # a ring that stands, without the way there
        self.context = context
        context.rotation = context.new_rotation((1, 2, 3))
        context.state = RingState.OPERATIONAL
        context.installed.members, context.installed.synchronised = (1, 2, 3), True
        self.hop = node - 2

    def turn(self, times: int = 1, seconds: float = 0.02) -> Token:
        """The token comes; returns it."""
        for _ in range(times):
            self.now += seconds
            self.hop += 3
            token = Token(self.context.ring, self.hop, self.context.store.highest, 0, 0, 0, 0, False, ())
            self.ring.receive(token, 3, self.now)
        return token

    def sent(self) -> list[object]:
        return [each.packet for each in self.ring.take_effects() if isinstance(each, Unicast | Multicast)]

    def wait(self, seconds: float) -> list[object]:
        """What it sends within so many seconds."""
        self.ring.take_effects()
        end = self.now + seconds
        while (deadline := self.ring.next_deadline()) is not None and deadline <= end:
            self.ring.expire(deadline)
        self.now = end
        return self.sent()

    def submit(self) -> None:
        self.ring.submit(Submission(0, Lane.APPLICATION, Guarantee.AGREED, b"hello"), self.now)


def busy(node: int) -> Member:
    """A member of a ring whose rotations take 20 ms and which is not idle enough for the token to be held."""
    member = Member(node)
    for _ in range(60):
        member.context.rotation.unchanged_visits = 0
        member.turn()
    return member


def test_a_lost_token_is_sent_again_after_about_a_rotation_and_then_rarely() -> None:
    member = busy(2)
    (token,) = set(member.wait(0.03))
    assert isinstance(token, Token) and token.hop == member.hop + 1
    assert 2 <= len(member.wait(1.0)) <= 6, "each repetition makes the next one rarer"
    assert len(member.wait(1.0)) <= 2


def test_a_repeated_token_is_passed_on_again_once_ours_may_be_lost_and_changes_nothing_else() -> None:
    member = busy(2)
    token = member.turn()
    member.ring.take_effects()
    loss = member.context.timers.next_deadline()
    member.ring.receive(token, 1, member.now + 0.001)
    assert member.sent() == [], "too soon: ours is on its way"
    assert member.context.timers.next_deadline() == loss
    member.ring.receive(token, 1, member.now + 0.1)
    assert [type(each) for each in member.sent()] == [Token]
    member.ring.receive(token, 1, member.now + 0.1)
    assert member.sent() == [], "a flood of old tokens makes no flood of ours"


def test_a_token_older_than_the_last_one_is_not_answered() -> None:
    member = busy(2)
    old = member.turn()
    member.turn()
    member.ring.take_effects()
    member.ring.receive(old, 1, member.now + 1.0)
    assert member.sent() == []


def test_while_the_token_is_held_elsewhere_nobody_repeats_it_quickly() -> None:
    member = busy(2)
    member.turn(6)
    assert member.context.rotation.held
    assert member.wait(0.6) == []


def test_the_wish_to_send_on_an_idle_ring_is_repeated_until_the_token_comes() -> None:
    member = busy(2)
    member.turn(6)
    member.wait(0.3)
    member.submit()
    assert member.sent() == [HoldCancel(member.context.ring)]
    assert HoldCancel(member.context.ring) in member.wait(0.03)
    member.turn()
    assert not any(isinstance(each, HoldCancel) for each in member.wait(1.0))


def test_who_has_released_the_held_token_repeats_it_soon() -> None:
    member = busy(1)
    member.turn(6)
    assert member.context.rotation.holding
    assert [type(each) for each in member.wait(0.5 + 0.03)] == [Token, Token]
