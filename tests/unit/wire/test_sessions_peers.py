"""Who is believed, and when: the handshake told as stories between node 1 (us) and node 2."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from totemd.executive.totem.wire import sessions
from totemd.executive.totem.wire.datagrams import Source
from totemd.executive.totem.wire.events import Dropped, DuplicateNode, PacketReceived, PeerEnded, PeerProven
from totemd.executive.totem.wire.refusals import Refusal
from totemd.executive.totem.wire.replay import WINDOW_COUNTERS
from totemd.executive.totem.wire.seal import EVERYBODY, FrameKind, OpenedFrame
from totemd.executive.totem.wire.sessions import (
    CHALLENGE_INTERVAL_SECONDS,
    CHALLENGE_SECONDS,
    PENDING_FRAMES_MAX,
    RETIRED_BOOTS_MAX,
    Answer,
    Ask,
    Peers,
    PeersEffect,
    response,
)

OURS = b"our-own-boot-16b"
FIRST = b"first-boot-of-2-"
SECOND = b"second-boot-of-2"
TWO: Source = ("127.0.0.2", 5405)
STRANGER: Source = ("192.0.2.99", 4711)


def random_source() -> Callable[[int], bytes]:
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


def our_peers(nodes: tuple[int, ...] = (1, 2, 3), admit_unlisted: bool = False) -> Peers:
    return Peers(1, OURS, nodes, admit_unlisted, random_source())


@pytest.fixture
def peers() -> Peers:
    return our_peers()


def packet(counter: int, boot: bytes = FIRST, sender: int = 2, payload: bytes = b"") -> OpenedFrame:
    return OpenedFrame(EVERYBODY, sender, boot, counter, FrameKind.PACKET, payload or b"packet %d" % counter)


def answer_to(effect: PeersEffect, counter: int, floor: int, boot: bytes = FIRST, sender: int = 2) -> OpenedFrame:
    assert isinstance(effect, Ask)
    return OpenedFrame(EVERYBODY, sender, boot, counter, FrameKind.RESPONSE, response(effect.challenge, floor))


def receive(peers: Peers, frame: OpenedFrame, now: float, source: Source = TWO) -> list[PeersEffect]:
    peers.receive(frame, source, now)
    return peers.take_effects()


def prove(peers: Peers, boot: bytes = FIRST, counter: int = 10, now: float = 0.0, sender: int = 2) -> None:
    """Let *sender* answer a challenge, stating that everything before *counter* is old."""
    (ask, *_) = receive(peers, packet(0, boot, sender), now)
    effects = receive(peers, answer_to(ask, counter, counter, boot, sender), now)
    assert isinstance(effects[0], PeerProven)


def dropped(refusal: Refusal, source: Source = TWO) -> Dropped:
    return Dropped(refusal, source)


def test_a_strangers_packet_waits_for_its_answer(peers: Peers) -> None:
    (ask,) = receive(peers, packet(0), now=0.0)
    assert ask == Ask(2, to=2, challenge=(1).to_bytes(16, "big"))
    assert peers.unproven() == (2, 3)
    assert receive(peers, answer_to(ask, counter=1, floor=0), now=0.01) == [
        PeerProven(2, FIRST, restarted=False),
        PacketReceived(2, FIRST, b"packet 0"),
    ]
    assert peers.unproven() == (3,)
    assert receive(peers, packet(2), now=0.02) == [PacketReceived(2, FIRST, b"packet 2")]
    assert peers.next_deadline() is None


def test_what_waited_but_lies_below_the_floor_was_recorded(peers: Peers) -> None:
    (ask,) = receive(peers, packet(5), now=0.0)
    receive(peers, packet(6), now=0.0)
    assert receive(peers, answer_to(ask, counter=7, floor=6), now=0.01) == [
        PeerProven(2, FIRST, restarted=False),
        dropped(Refusal.UNPROVEN_FRAME),
        PacketReceived(2, FIRST, b"packet 6"),
    ]


def test_nothing_below_the_floor_is_ever_believed(peers: Peers) -> None:
    prove(peers, counter=100)
    assert receive(peers, packet(99), now=1.0) == [dropped(Refusal.REPLAYED_FRAME)]
    assert receive(peers, packet(101), now=1.0) == [PacketReceived(2, FIRST, b"packet 101")]


def test_the_same_frame_twice(peers: Peers) -> None:
    prove(peers)
    assert len(receive(peers, packet(11), now=1.0)) == 1
    assert receive(peers, packet(11), now=1.0) == [dropped(Refusal.REPLAYED_FRAME)]


def test_a_frame_that_waited_is_not_delivered_again(peers: Peers) -> None:
    (ask,) = receive(peers, packet(0), now=0.0)
    receive(peers, packet(0), now=0.0)
    effects = receive(peers, answer_to(ask, counter=1, floor=0), now=0.01)
    assert effects[1:] == [PacketReceived(2, FIRST, b"packet 0"), dropped(Refusal.REPLAYED_FRAME)]


def test_a_restarted_node_takes_its_own_place(peers: Peers) -> None:
    prove(peers, FIRST)
    (ask,) = receive(peers, packet(0, SECOND), now=1.0)
    assert receive(peers, packet(11, FIRST), now=1.0) == [PacketReceived(2, FIRST, b"packet 11")]
    assert receive(peers, answer_to(ask, 1, 0, SECOND), now=1.0) == [
        PeerProven(2, SECOND, restarted=True),
        PacketReceived(2, SECOND, b"packet 0"),
    ]
    for old in (packet(12, FIRST), answer_to(ask, 13, 0, FIRST)):
        assert receive(peers, old, now=1.1) == [dropped(Refusal.RETIRED_BOOT)]


def test_frames_of_an_earlier_boot_never_get_in(peers: Peers) -> None:
    """An attacker plays a recording of boot FIRST while boot SECOND is believed; only SECOND is there to answer."""
    prove(peers, SECOND)
    now = 1.0
    for counter in range(200):
        now += 0.01
        for effect in receive(peers, packet(counter, FIRST), now):
            assert isinstance(effect, Ask | Dropped)
            if isinstance(effect, Ask):
                late = receive(peers, answer_to(effect, 1000 + counter, 0, SECOND), now)
                assert late == [dropped(Refusal.UNPROVEN_FRAME)]
        assert receive(peers, packet(5000 + counter, SECOND), now) == [
            PacketReceived(2, SECOND, b"packet %d" % (5000 + counter))
        ]


def test_what_a_recording_provokes_is_bounded(peers: Peers) -> None:
    asks = 0
    for step in range(1000):
        asks += sum(isinstance(effect, Ask) for effect in receive(peers, packet(step, FIRST), now=step / 1000))
    assert asks <= 1.0 / CHALLENGE_INTERVAL_SECONDS + 1


def test_pending_frames_are_bounded_and_the_oldest_gives_way(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    (ask,) = receive(peers, packet(0), now=0.0)
    for counter in range(1, PENDING_FRAMES_MAX + 1):
        lost = receive(peers, packet(counter), now=0.0)
    assert lost == [dropped(Refusal.UNPROVEN_FRAME)]
    monkeypatch.setattr(sessions, "PENDING_BYTES_MAX", 1000)
    big = packet(0, sender=3, payload=bytes(1000))
    assert dropped(Refusal.UNPROVEN_FRAME) in receive(peers, big, now=0.0)
    delivered = receive(peers, answer_to(ask, 100, 0), now=0.01)[1:]
    assert [effect for effect in delivered if isinstance(effect, PacketReceived)] == [
        PacketReceived(2, FIRST, b"packet %d" % counter) for counter in range(1, PENDING_FRAMES_MAX + 1)
    ]
    assert peers._pending_bytes == 0


def test_a_challenge_is_repeated_with_growing_pauses_and_given_up(peers: Peers) -> None:
    (ask,) = receive(peers, packet(0), now=0.0)
    sent = []
    while (deadline := peers.next_deadline()) is not None:
        peers.expire(deadline)
        sent += [(deadline, effect) for effect in peers.take_effects()]
    asks = [at for at, effect in sent if effect == ask]
    assert asks == pytest.approx([0.05, 0.15, 0.35, 0.75, 1.55])
    assert sent[-1] == (CHALLENGE_SECONDS, dropped(Refusal.UNPROVEN_FRAME))
    assert receive(peers, answer_to(ask, 1, 0), now=CHALLENGE_SECONDS) == [dropped(Refusal.UNASKED_RESPONSE)]


def test_a_node_that_comes_up_while_we_wait_is_asked_at_once(peers: Peers) -> None:
    peers.greet(0.0)
    greeted = peers.take_effects()
    assert [effect.to for effect in greeted if isinstance(effect, Ask)] == [2, 3]
    for _ in range(4):
        deadline = peers.next_deadline()
        assert deadline is not None and deadline < 1.0
        peers.expire(deadline)
        assert len(peers.take_effects()) == 2
    assert receive(peers, packet(0), now=1.0) == [greeted[0]]
    deadline = peers.next_deadline()
    assert deadline is not None and deadline <= 1.0 + CHALLENGE_INTERVAL_SECONDS


def test_a_withheld_answer_loses_its_worth_even_while_we_go_on_asking(peers: Peers) -> None:
    """A dead boot's answer, kept by somebody on the path, must not vouch for it later."""
    (ask,) = receive(peers, packet(0), now=0.0)
    now = 0.0
    while now < CHALLENGE_SECONDS + 1:
        now += 0.04
        receive(peers, packet(0), now)
    assert receive(peers, answer_to(ask, 1, 0), now) == [dropped(Refusal.UNASKED_RESPONSE)]


def test_answers_that_prove_nothing(peers: Peers) -> None:
    (ask,) = receive(peers, packet(5), now=0.0)
    assert isinstance(ask, Ask)
    guess = OpenedFrame(EVERYBODY, 2, FIRST, 6, FrameKind.RESPONSE, response(bytes(16), 0))
    assert receive(peers, guess, now=0.0) == [dropped(Refusal.UNASKED_RESPONSE)]
    future = OpenedFrame(EVERYBODY, 2, FIRST, 6, FrameKind.RESPONSE, response(ask.challenge, 7))
    assert receive(peers, future, now=0.0) == [dropped(Refusal.BAD_CONTROL)]
    for payload in (b"", ask.challenge, response(ask.challenge, 0) + b"\0"):
        short = OpenedFrame(EVERYBODY, 2, FIRST, 6, FrameKind.RESPONSE, payload)
        assert receive(peers, short, now=0.0) == [dropped(Refusal.BAD_CONTROL)]
    other_node = answer_to(ask, 0, 0, sender=3)
    assert receive(peers, other_node, now=0.0) == [dropped(Refusal.UNASKED_RESPONSE)]
    assert peers.unproven() == (2, 3)


def test_an_answer_counts_once(peers: Peers) -> None:
    (ask,) = receive(peers, packet(0), now=0.0)
    receive(peers, answer_to(ask, 1, 0), now=0.0)
    assert receive(peers, answer_to(ask, 2, 0), now=0.0) == [dropped(Refusal.UNASKED_RESPONSE)]


def test_a_challenge_is_answered_by_whoever_is_asked(peers: Peers) -> None:
    question = OpenedFrame(EVERYBODY, 2, FIRST, 0, FrameKind.CHALLENGE, b"sixteen bytes ok")
    answered, asked = receive(peers, question, now=0.0, source=STRANGER)
    assert answered == Answer(2, to=2, challenge=b"sixteen bytes ok"), (
        "to the configured address, not where it came from"
    )
    assert isinstance(asked, Ask), "we do not know it either"
    again = OpenedFrame(EVERYBODY, 2, FIRST, 1, FrameKind.CHALLENGE, b"sixteen bytes ok")
    assert receive(peers, again, now=0.01) == [answered], "ours may have been lost"


def test_a_believed_node_may_ask_too_but_not_the_same_twice(peers: Peers) -> None:
    prove(peers)
    question = OpenedFrame(EVERYBODY, 2, FIRST, 11, FrameKind.CHALLENGE, b"sixteen bytes ok")
    assert receive(peers, question, now=1.0) == [Answer(2, to=2, challenge=b"sixteen bytes ok")]
    assert receive(peers, question, now=1.0) == [dropped(Refusal.REPLAYED_FRAME)]
    crooked = OpenedFrame(EVERYBODY, 2, FIRST, 12, FrameKind.CHALLENGE, b"short")
    assert receive(peers, crooked, now=1.0) == [dropped(Refusal.BAD_CONTROL)]


def test_what_was_sealed_for_another_node_is_not_ours(peers: Peers) -> None:
    """Somebody brings the token of node 3 to us: two tokens would turn."""
    prove(peers)
    for_us, for_three = (OpenedFrame(to, 2, FIRST, 20 + to, FrameKind.PACKET, b"token") for to in (1, 3))
    assert receive(peers, for_three, now=1.0) == [dropped(Refusal.MISDIRECTED_FRAME)]
    assert receive(peers, for_us, now=1.0) == [PacketReceived(2, FIRST, b"token")]


def obituary(boot: bytes = FIRST, counter: int = 0, sender: int = 2) -> OpenedFrame:
    return OpenedFrame(EVERYBODY, sender, boot, counter, FrameKind.OBITUARY, b"")


def test_an_obituary_ends_the_boot_that_is_believed_once_and_whatever_was_sent_since(peers: Peers) -> None:
    prove(peers)
    for counter in (WINDOW_COUNTERS, 2 * WINDOW_COUNTERS):
        receive(peers, packet(counter), now=1.0)
    assert receive(peers, obituary(counter=0), now=2.0, source=STRANGER) == [PeerEnded(2, FIRST)]
    assert peers.unproven() == (2, 3)
    for late in (obituary(), packet(3 * WINDOW_COUNTERS)):
        assert receive(peers, late, now=3.0) == [dropped(Refusal.RETIRED_BOOT)], "neither is believed again"


def test_an_obituary_says_nothing_about_the_boots_that_follow(peers: Peers) -> None:
    prove(peers)
    receive(peers, obituary(), now=1.0)
    (ask,) = receive(peers, packet(0, SECOND), now=1.1)
    proven, *_ = receive(peers, answer_to(ask, 1, 0, SECOND), now=1.2)
    assert proven == PeerProven(2, SECOND, restarted=True)
    assert receive(peers, obituary(), now=1.3) == [dropped(Refusal.RETIRED_BOOT)]
    assert receive(peers, packet(2, SECOND), now=1.4) == [PacketReceived(2, SECOND, b"packet 2")]


def test_an_obituary_of_a_boot_that_nobody_believed_changes_nothing(peers: Peers) -> None:
    prove(peers)
    assert receive(peers, obituary(SECOND), now=1.0) == [dropped(Refusal.UNPROVEN_FRAME)]
    assert receive(peers, obituary(sender=3), now=1.0) == [dropped(Refusal.UNPROVEN_FRAME)]
    assert receive(peers, obituary(b"our-former-boot!", sender=1), now=1.0) == [dropped(Refusal.NAMESAKE_FRAME)]
    assert receive(peers, packet(11), now=1.0) == [PacketReceived(2, FIRST, b"packet 11")]
    assert peers.unproven() == (3,)


def test_our_own_frames_are_ignored(peers: Peers) -> None:
    for kind in FrameKind:
        own = OpenedFrame(EVERYBODY, 1, OURS, 0, kind, bytes(24))
        assert receive(peers, own, now=0.0) == [dropped(Refusal.OWN_FRAME)]


def test_an_old_frame_of_our_own_is_no_second_node(peers: Peers) -> None:
    """Somebody plays back what our previous process sent: nobody answers, so nothing is reported."""
    now = 0.0
    for counter in range(100):
        now += 0.1
        effects = receive(peers, packet(counter, b"our-former-boot!", sender=1), now, STRANGER)
        assert not any(isinstance(effect, DuplicateNode | PacketReceived) for effect in effects)
        peers.expire(now)
        peers.take_effects()


@pytest.mark.parametrize(("theirs", "yields"), [(b"a smaller boot..", True), (b"z a larger boot.", False)])
def test_a_second_node_with_our_id_is_reported_once_it_answers(peers: Peers, theirs: bytes, yields: bool) -> None:
    _, ask = receive(peers, packet(0, theirs, sender=1), now=0.0, source=STRANGER)
    assert isinstance(ask, Ask) and ask.to == STRANGER
    assert receive(peers, answer_to(ask, 1, 0, theirs, sender=1), now=0.0, source=STRANGER) == [
        DuplicateNode(1, STRANGER, yields)
    ]


def test_two_nodes_with_one_id_agree_on_who_stops() -> None:
    boots = (b"aaaaaaaaaaaaaaaa", b"bbbbbbbbbbbbbbbb")
    verdicts = []
    for ours, theirs in (boots, boots[::-1]):
        peers = Peers(1, ours, (1, 2), False, random_source())
        (_, ask) = receive(peers, packet(0, theirs, sender=1), now=0.0)
        (verdict,) = receive(peers, answer_to(ask, 1, 0, theirs, sender=1), now=0.0)
        assert isinstance(verdict, DuplicateNode)
        verdicts.append(verdict.yields)
    assert verdicts == [False, True]


def test_a_namesakes_challenge_is_answered_where_it_is(peers: Peers) -> None:
    question = OpenedFrame(EVERYBODY, 1, b"another boot....", 0, FrameKind.CHALLENGE, b"sixteen bytes ok")
    effects = receive(peers, question, now=0.0, source=STRANGER)
    assert Answer(1, to=STRANGER, challenge=b"sixteen bytes ok") in effects


def test_a_node_that_is_not_listed_is_not_heard(peers: Peers) -> None:
    assert receive(peers, packet(0, sender=9), now=0.0) == [dropped(Refusal.UNLISTED_SENDER)]
    assert peers.unproven() == (2, 3)


def test_unlisted_nodes_may_be_admitted_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "NODES_MAX", 4)
    peers = our_peers(nodes=(1, 2), admit_unlisted=True)
    for sender in (9, 10, 11, 12):
        (ask,) = receive(peers, packet(0, sender=sender), now=0.0, source=STRANGER)
        assert isinstance(ask, Ask) and ask.to == STRANGER
        assert isinstance(receive(peers, answer_to(ask, 1, 0, sender=sender), 0.0, STRANGER)[0], PeerProven)
    assert receive(peers, packet(0, sender=13), now=0.0) == [dropped(Refusal.UNLISTED_SENDER)]
    prove(peers, sender=2)


def test_a_node_that_leaves_the_list_is_forgotten(peers: Peers) -> None:
    prove(peers, sender=2)
    receive(peers, packet(0, sender=3), now=0.0)
    peers.set_nodes((1, 4))
    assert peers.take_effects() == [dropped(Refusal.UNPROVEN_FRAME)]
    assert peers.unproven() == (4,)
    for sender in (2, 3):
        assert receive(peers, packet(50, sender=sender), now=1.0) == [dropped(Refusal.UNLISTED_SENDER)]
    assert peers.next_deadline() is None


def test_many_restarts_keep_memory_flat(peers: Peers) -> None:
    for number in range(3 * RETIRED_BOOTS_MAX):
        prove(peers, boot=number.to_bytes(16, "little"), now=float(number))
    assert len(peers._peers[2].retired) == RETIRED_BOOTS_MAX
    assert len(peers._peers) == 1


def test_greeting_again_asks_only_those_that_are_missing(peers: Peers) -> None:
    prove(peers, sender=2)
    peers.greet(5.0)
    (ask,) = peers.take_effects()
    assert isinstance(ask, Ask) and ask.to == 3


def test_a_recorded_challenge_is_answered_once_and_many_are_not_answered_at_once(peers: Peers) -> None:
    def challenge(counter: int, boot: bytes) -> OpenedFrame:
        return OpenedFrame(1, 2, boot, counter, FrameKind.CHALLENGE, bytes(16))

    def answers(effects: list[PeersEffect]) -> int:
        return sum(isinstance(effect, Answer) for effect in effects)

    prove(peers)
    assert answers(receive(peers, challenge(5, SECOND), 1.0)) == 1
    assert sum(answers(receive(peers, challenge(5, SECOND), 1.0 + n / 1000)) for n in range(1000)) == 0
    played = sum(answers(receive(peers, challenge(n, SECOND), 2.0 + n / 1000)) for n in range(100, 2100))
    assert played <= sessions.ANSWERS_AT_ONCE_MAX + 2 * sessions.ANSWERS_PER_SECOND_MAX + 1
    believed = [answers(receive(peers, challenge(n, FIRST), 4.0)) for n in range(100, 300)]
    assert all(believed), "who is believed is answered: its frames cannot be played again"


def test_recordings_of_this_node_itself_are_answered_at_a_rate(peers: Peers) -> None:
    played = 0
    for n in range(1000):
        frame = OpenedFrame(EVERYBODY, 1, FIRST, n, FrameKind.CHALLENGE, bytes(16))
        played += sum(isinstance(effect, Answer) for effect in receive(peers, frame, n / 1000, STRANGER))
    assert 1 <= played <= sessions.ANSWERS_AT_ONCE_MAX + sessions.ANSWERS_PER_SECOND_MAX + 1


def test_a_namesake_is_asked_before_it_is_answered(peers: Peers) -> None:
    """It ends when it has the answer: what comes behind that it may not read any more, and then only one would know."""
    challenge = OpenedFrame(EVERYBODY, 1, FIRST, 0, FrameKind.CHALLENGE, bytes(16))
    control = [type(effect) for effect in receive(peers, challenge, 0.0, STRANGER) if isinstance(effect, Ask | Answer)]
    assert control == [Ask, Answer]
