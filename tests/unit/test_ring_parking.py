"""Where the token stays: on an idle ring with who sent last, for a moment with an only sender (docs/totem.md §4.8)."""

from __future__ import annotations

from typing import Any

from totemd.executive.totem.core.context import RingState
from totemd.executive.totem.core.effects import Deliver, Multicast, Unicast
from totemd.executive.totem.core.parameters import RingParameters
from totemd.executive.totem.core.ring import Ring
from totemd.executive.totem.core.submission import Submission
from totemd.executive.totem.wire.packets import NOBODY, HoldCancel, Mcast, Token
from totemd.ipc.ids import Guarantee
from totemd.ipc.messages.stream import Lane

MEMBERS = (1, 2, 3)
KEEP = 0.004


class Member:
    """One node of a ring of three that stands; the others are the test."""

    def __init__(self, node: int, **more: Any) -> None:
        parameters = RingParameters(
            node,
            token=3.0,
            token_retransmit=0.7,
            hold=0.5,
            join=0.05,
            consensus=3.6,
            merge=9.0,
            **{"keep": KEEP, **more},
        )
        self.ring = Ring(parameters, 1, lambda: 0.5)
        self.context = self.ring._context
        self.context.rotation = self.context.new_rotation(MEMBERS)
        self.context.state = RingState.OPERATIONAL
        self.context.installed.members, self.context.installed.synchronised = MEMBERS, True
        self.now, self.hop = 100.0, node - 2
        self.token: Token | None = None
        """The last one that it passed on."""

    def turn(self, *, received: int | None = None) -> list[object]:
        """The token comes; *received*: where somebody else has held the mark back.  Returns what is sent."""
        self.now += 0.002
        self.hop += 3
        highest = self.context.store.highest
        mark, laggard = (highest, NOBODY) if received is None else (received, 3)
        self.ring.receive(Token(self.context.ring, self.hop, highest, mark, laggard, 0, 0, False, ()), 3, self.now)
        return self.sent()

    def later(self, seconds: float) -> list[object]:
        self.now += seconds
        self.ring.expire(self.now)
        return self.sent()

    def sent(self) -> list[object]:
        effects = self.ring.take_effects()
        self.delivered = [each.payload for each in effects if isinstance(each, Deliver)]
        packets = [each.packet for each in effects if isinstance(each, Unicast | Multicast)]
        self.token = next((each for each in packets if isinstance(each, Token)), self.token)
        return packets

    def submit(self, text: bytes = b"hello", guarantee: Guarantee = Guarantee.AGREED) -> list[object]:
        self.ring.submit(Submission(2, Lane.APPLICATION, guarantee, text), self.now)
        self.ring.expire(self.now)
        return self.sent()

    def hear(self, seq: int, *, kept: bool = False) -> list[object]:
        """A frame of another member."""
        frame = Mcast(self.context.ring, seq, 3, Guarantee.AGREED, False, b"\x92\x01\x90", kept)
        self.ring.receive(frame, 3, self.now)
        return self.sent()


def parked(**more: Any) -> Member:
    """Node 2, which has sent and keeps the token."""
    member = Member(2, **more)
    member.submit()
    assert [type(each) for each in member.turn()] == [Mcast, Token]
    for _ in range(2):
        assert [type(each) for each in member.turn()] == [Token]
    assert member.turn() == [] and member.context.rotation.holding
    return member


def test_who_sent_last_keeps_the_token_soon_and_sends_with_it_at_once() -> None:
    member = parked()
    before = member.token
    (frame,) = member.submit(b"again")
    assert isinstance(frame, Mcast) and frame.seq == 2
    assert member.delivered == [b"again"]
    (token,) = member.later(KEEP)
    assert isinstance(token, Token) and before is not None
    assert (token.hop, token.highest, token.received_by_all) == (member.hop + 1, 2, 2)
    assert token.hop == before.hop + 3, "one hop for each visit: the token was used, not passed on twice"
    assert member.submit(b"a third") == [], "the token is on its way"


def test_what_is_submitted_at_the_same_time_goes_out_together() -> None:
    member = parked()
    for text in (b"one", b"two", b"three"):
        member.ring.submit(Submission(2, Lane.APPLICATION, Guarantee.AGREED, text), member.now)
    member.ring.expire(member.now)
    assert [type(each) for each in member.sent()] == [Mcast]
    assert member.delivered == [b"one", b"two", b"three"]


def test_what_is_sent_with_a_held_token_proves_nothing_about_the_others() -> None:
    member = parked()
    member.submit(b"safe", Guarantee.SAFE)
    assert member.delivered == [] and member.context.rotation.safe == 1
    member.turn(received=1)
    assert member.delivered == [], "somebody has not got it"
    member.turn()
    assert member.delivered == [], "seen once only"
    member.turn()
    assert member.delivered == [b"safe"]


def test_a_held_token_goes_on_by_itself_and_when_somebody_asks() -> None:
    for how in ("time", "request"):
        member = parked()
        if how == "time":
            member.ring.expire(member.now + 0.5)
        else:
            member.ring.receive(HoldCancel(member.context.ring), 3, member.now)
        (token,) = member.sent()
        assert isinstance(token, Token) and token.hop == member.hop + 1
        assert not member.context.rotation.holding


def test_nobody_rests_while_somebody_may_miss_something() -> None:
    member = Member(2)
    member.submit()
    member.turn()
    for _ in range(10):
        assert [type(each) for each in member.turn(received=0)] == [Token]


def test_a_token_that_was_long_under_way_does_not_rest() -> None:
    """The others have waited as long; the hold time on top could cost them their patience (mixed seed 2216)."""
    member = Member(2)
    member.submit()
    for _ in range(3):
        member.turn()
    member.now += 0.8
    assert [type(each) for each in member.turn()] == [Token]
    assert member.turn() == []


def test_who_did_not_send_last_expects_the_token_to_rest_elsewhere_and_asks_for_it() -> None:
    member = Member(1)
    member.hear(1)
    for _ in range(20):
        assert [type(each) for each in member.turn()] == [Token], "it is node 3's, though node 1 is the representative"
    assert member.submit() == [HoldCancel(member.context.ring)]
    member.ring.expire(member.now + 0.2)
    assert HoldCancel(member.context.ring) in member.sent(), "asked again"
    assert [type(each) for each in member.turn()] == [Mcast, Token]


def test_who_does_not_know_that_the_token_rests_asks_for_it_after_a_while() -> None:
    member = Member(1)
    member.hear(1)
    member.turn()
    assert not member.context.rotation.held and member.submit() == []
    member.ring.expire(member.now + 0.2)
    assert HoldCancel(member.context.ring) in member.sent()


def test_before_anybody_has_sent_the_representative_keeps_it() -> None:
    for node, keeps in ((1, True), (2, False)):
        member = Member(node)
        for _ in range(3):
            member.turn()
        assert member.context.rotation.holding == keeps


def test_with_a_count_of_rotations_that_is_configured_it_rests_after_those() -> None:
    member = Member(2, park_visits=0, seqno_unchanged_const=5)
    member.submit()
    member.turn()
    for _ in range(6):
        assert [type(each) for each in member.turn()] == [Token]
    assert member.turn() == []


def keeping(**more: Any) -> Member:
    """Node 2, the only sender, which has sent at this visit and keeps the token."""
    member = Member(2, **more)
    member.turn()
    member.submit()
    (frame,) = member.turn()
    assert isinstance(frame, Mcast) and frame.kept and member.delivered == [b"hello"]
    return member


def test_the_only_sender_sends_again_at_once_for_a_moment() -> None:
    member = keeping()
    for number in (2, 3):
        member.now += KEEP / 4
        (frame,) = member.submit(b"again")
        assert isinstance(frame, Mcast) and frame.seq == number and frame.kept
        assert member.delivered == [b"again"]
    (token,) = member.later(KEEP / 2)
    assert isinstance(token, Token)
    assert (token.hop, token.highest, token.received_by_all, token.flow) == (member.hop + 1, 3, 3, 3)
    assert member.later(KEEP) == [] and not member.context.rotation.holding


def test_the_moment_is_not_made_longer_by_sending() -> None:
    member = keeping()
    member.now += 1.5 * KEEP
    frame, token = member.submit(b"late")
    assert isinstance(frame, Mcast) and not frame.kept and isinstance(token, Token)


def test_what_a_rotation_may_carry_bounds_what_is_sent_while_the_token_is_kept() -> None:
    member = keeping(window_size=50, max_messages=3, frame_bytes=1_300)
    assert [type(each) for each in member.submit()] == [Mcast]
    assert [type(each) for each in member.submit()] == [Mcast]
    assert [type(each) for each in member.submit()] == [Token]
    assert Mcast in [type(each) for each in member.turn()], "the rotation is over"


def test_the_token_is_not_kept_from_anybody_who_wants_it() -> None:
    member = keeping()
    member.ring.receive(HoldCancel(member.context.ring), 3, member.now)
    assert [type(each) for each in member.sent()] == [Token]
    member = keeping()
    member.ring.submit(Submission(2, Lane.APPLICATION, Guarantee.AGREED, b"mine"), member.now)
    member.ring.receive(HoldCancel(member.context.ring), 3, member.now)
    frame, token = member.sent()
    assert isinstance(frame, Mcast) and not frame.kept and isinstance(token, Token), "and what waits here goes first"


def test_it_is_kept_only_where_nobody_waits_for_it() -> None:
    others = Member(2)
    others.turn()
    others.submit()
    others.hear(1)
    assert [type(each) for each in others.turn()] == [Mcast, Token], "somebody else has sent since"
    safe = Member(2)
    safe.turn()
    safe.submit(guarantee=Guarantee.SAFE)
    assert [type(each) for each in safe.turn()] == [Mcast, Token]
    safe.submit()
    assert [type(each) for each in safe.turn()] == [Mcast, Token], "the safe message is not delivered yet"
    full = Member(2, max_messages=1, frame_bytes=200)
    full.turn()
    full.submit(b"x" * 500)
    assert [type(each) for each in full.turn()] == [Mcast, Token], "more than it may send"
    never = Member(2, keep=0.0)
    never.turn()
    never.submit()
    assert [type(each) for each in never.turn()] == [Mcast, Token]


def test_a_token_that_others_have_backlog_in_is_passed_on() -> None:
    member = Member(2)
    member.turn()
    member.submit()
    member.now += 0.002
    token = Token(member.context.ring, member.hop + 3, 0, 0, NOBODY, 0, 1, False, ())
    member.ring.receive(token, 1, member.now)
    assert [type(each) for each in member.sent()] == [Mcast, Token]


def test_who_hears_that_the_token_is_kept_asks_for_it_once() -> None:
    member = Member(1)
    assert member.hear(1, kept=True) == []
    assert member.submit() == [HoldCancel(member.context.ring)]
    assert member.submit() == [], "asked already"
    assert [type(each) for each in member.turn()] == [Mcast, Token]
    waiting = Member(1)
    waiting.hear(1)
    waiting.submit()
    assert waiting.hear(2, kept=True) == [HoldCancel(waiting.context.ring)], "it wanted to send before"


def test_a_repeated_frame_does_not_say_where_the_token_is() -> None:
    member = Member(1)
    member.turn()
    member.hear(2)
    member.hop += 3
    member.ring.receive(Token(member.context.ring, member.hop, 2, 0, 3, 0, 0, False, ()), 3, member.now)
    member.sent()
    member.hear(1, kept=True)
    assert member.submit() == [], "it has been here since"


def test_keeping_is_no_measure_of_a_rotation() -> None:
    member = Member(1)
    for _ in range(5):
        member.turn()
    before = member.ring.rotation_seconds
    member.hear(1, kept=True)
    member.now += 0.004
    member.turn()
    assert member.ring.rotation_seconds == before
