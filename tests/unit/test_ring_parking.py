"""Where the token of an idle ring rests: with who sent last, as soon as all have everything (docs/totem.md §4.8)."""

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


class Member:
    """One node of a ring of three that stands; the others are the test."""

    def __init__(self, node: int, **more: Any) -> None:
        parameters = RingParameters(
            node, token=3.0, token_retransmit=0.7, hold=0.5, join=0.05, consensus=3.6, merge=9.0, **more
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

    def hear(self, seq: int) -> None:
        """A frame of another member."""
        self.ring.receive(Mcast(self.context.ring, seq, 3, Guarantee.AGREED, False, b"\x92\x01\x90"), 3, self.now)
        self.sent()


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
    frame, token = member.submit(b"again")
    assert isinstance(frame, Mcast) and frame.seq == 2
    assert isinstance(token, Token) and before is not None
    assert (token.hop, token.highest, token.received_by_all) == (member.hop + 1, 2, 2)
    assert token.hop == before.hop + 3, "one hop for each visit: the token was used, not passed on twice"
    assert member.delivered == [b"again"]
    assert member.submit(b"a third") == [], "the token is on its way"


def test_what_is_submitted_at_the_same_time_goes_out_together() -> None:
    member = parked()
    for text in (b"one", b"two", b"three"):
        member.ring.submit(Submission(2, Lane.APPLICATION, Guarantee.AGREED, text), member.now)
    member.ring.expire(member.now)
    assert [type(each) for each in member.sent()] == [Mcast, Token]
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
