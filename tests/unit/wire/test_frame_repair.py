"""Lost datagrams of a frame come again alone: when they are asked for, of whom, and what is sent."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import pytest
from framewire import Wire, address, started
from hypothesis import given
from hypothesis import strategies as st
from totemd.executive.totem.wire.allowance import Allowance
from totemd.executive.totem.wire.datagrams import FRAGMENTS_MAX, Run, as_repair, fragment_name
from totemd.executive.totem.wire.events import Dropped, SendControl
from totemd.executive.totem.wire.reassembly import (
    ASSEMBLIES_PER_SOURCE_MAX,
    REPAIR_SECONDS,
    REPAIRS_MAX,
    Wanted,
)
from totemd.executive.totem.wire.refusals import Refusal
from totemd.executive.totem.wire.repair import (
    KEPT_BYTES_MAX,
    REQUESTS_AT_ONCE_MAX,
    REQUESTS_PER_SECOND_MAX,
    SentRuns,
)
from totemd.executive.totem.wire.repair import request as encode
from totemd.executive.totem.wire.suites import Suite

SIZE = 20_000
"""Bytes of a packet; 14 datagrams."""

BOOT = b"a boot: 16 bytes"


def request(number: int, datagrams: int, missing: Iterable[int]) -> bytes:
    return encode(Wanted(address(1), fragment_name(BOOT, number), datagrams, tuple(missing)))


def kept() -> SentRuns:
    return SentRuns(BOOT[:8])


PAYLOAD = random.Random(1).randbytes(SIZE)


def arrive(wire: Wire, to: int, datagrams: Sequence[bytes], lost: set[int], now: float = 1.0) -> None:
    """All of node 1's datagrams but some arrive, in one read."""
    arrived = b"".join(datagram for index, datagram in enumerate(datagrams) if index not in lost)
    wire.layers[to].receive_run(Run(arrived, len(datagrams[0])), address(1), now)
    wire.layers[to].ask_for_missing(now)


def requests(wire: Wire, node: int) -> list[SendControl]:
    return [event for event in wire.layers[node].take_events() if isinstance(event, SendControl)]


def repairs_sent(wire: Wire) -> int:
    return wire.layers[1].counters()["repairs_sent"]


@pytest.mark.parametrize("suite", [Suite.AES256, Suite.NONE], ids=lambda suite: suite.label)
@pytest.mark.parametrize("lost", [{0}, {13}, {3, 4, 9}, {0, 13}])
def test_what_is_lost_comes_again_when_nothing_more_comes(suite: Suite, lost: set[int]) -> None:
    wire = started(suite)
    arrive(wire, 2, list(wire.layers[1].seal(PAYLOAD, 1.0)), lost)
    wire.deliver_control(2, 1.0)
    assert wire.packets(2) == [], "not at once: the rest may be on its way"
    deadline = wire.layers[2].next_deadline()
    assert deadline == 1.0 + REPAIR_SECONDS
    wire.layers[2].expire(deadline)
    wire.deliver_control(2, deadline)
    assert wire.packets(2) == [PAYLOAD]
    assert repairs_sent(wire) == len(lost)
    assert wire.layers[2].next_deadline() is None


@pytest.mark.parametrize("later", [b"token", bytes(SIZE)], ids=["whole", "cut"])
def test_what_is_lost_is_asked_for_at_once_when_something_later_comes(later: bytes) -> None:
    wire = started()
    arrive(wire, 2, list(wire.layers[1].seal(PAYLOAD, 1.0)), {5})
    arrive(wire, 2, list(wire.layers[1].seal(later, 1.0)), set())
    wire.deliver_control(2, 1.0)
    assert wire.packets(2) == [later, PAYLOAD]
    assert repairs_sent(wire) == 1


def test_what_others_send_says_nothing_about_it() -> None:
    wire = started()
    arrive(wire, 2, list(wire.layers[1].seal(PAYLOAD, 1.0)), {5})
    wire.carry(3, 2, wire.layers[3].seal(b"token", 1.0), 1.0)
    assert wire.packets(2) == [b"token"]
    assert repairs_sent(wire) == 0


def test_a_request_that_is_lost_is_asked_again_ever_more_rarely_and_not_for_ever() -> None:
    wire = started()
    receiver = wire.layers[2]
    arrive(wire, 2, list(wire.layers[1].seal(PAYLOAD, 1.0)), {5})
    now, asked = 1.0, list[float]()
    while (deadline := receiver.next_deadline()) is not None:
        now = deadline
        receiver.expire(now)
        asked += [now] * len(requests(wire, 2))
    assert len(asked) == REPAIRS_MAX == receiver.counters()["repairs_asked"]
    pauses = [late - early for early, late in zip([1.0, *asked], asked, strict=False)]
    assert pauses == pytest.approx([REPAIR_SECONDS * 2**number for number in range(REPAIRS_MAX)])
    assert receiver.counters()["dropped_incomplete_frame"] == 1, "the end of it is the old one"


def test_who_lacks_most_of_a_frame_leaves_it_to_the_ring() -> None:
    wire = started()
    arrive(wire, 2, list(wire.layers[1].seal(PAYLOAD, 1.0)), set(range(8)))
    while (deadline := wire.layers[2].next_deadline()) is not None:
        wire.layers[2].expire(deadline)
        assert requests(wire, 2) == []


def test_only_who_is_believed_is_asked() -> None:
    wire = Wire()
    for node in (1, 2):
        wire.start(node)
    arrive(wire, 2, list(wire.layers[1].seal(PAYLOAD, 1.0)), {5})
    while (deadline := wire.layers[2].next_deadline()) is not None:
        wire.layers[2].expire(deadline)
        assert requests(wire, 2) == [], "its boot has proven nothing"


def test_a_frame_that_is_here_is_not_begun_again_by_its_parts() -> None:
    wire = started()
    datagrams = list(wire.layers[1].seal(PAYLOAD, 1.0))
    arrive(wire, 2, datagrams, set())
    wire.layers[2].take_events()
    arrive(wire, 2, datagrams, {1, 2})
    assert {event.refusal for event in wire.layers[2].take_events() if isinstance(event, Dropped)} == {
        Refusal.DUPLICATE_FRAGMENT
    }
    assert wire.layers[2].counters()["bytes_awaiting_fragments"] == 0


def test_what_a_sender_keeps_is_bounded() -> None:
    sent, run = kept(), Run(bytes(256 * 1024), 1400)
    room = KEPT_BYTES_MAX // len(run.data)
    for number in range(room + 5):
        sent.keep(number, run)
    everything = range(len(run))
    assert [sent.asked(request(number, len(run), everything)) is None for number in (4, 5)] == [True, False]


@given(st.data())
def test_exactly_what_is_asked_for_is_sent(data: st.DataObject) -> None:
    size = data.draw(st.integers(154, 300))
    run = Run(random.Random(size).randbytes(data.draw(st.integers(size + 1, 5000))), size)
    missing = data.draw(st.sets(st.integers(0, len(run) - 1), min_size=1))
    sent = kept()
    sent.keep(7, run)
    answer = sent.asked(request(7, len(run), missing))
    datagrams = list(run)
    assert answer is not None and list(answer) == [as_repair(datagrams[index]) for index in sorted(missing)]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"short",
        request(7, 5, []),
        request(7, 4, [0]),
        request(8, 5, [0]),
        request(7, 5, [0]) + b"\0",
        request(7, 5, [5]),
        request(7, FRAGMENTS_MAX + 1, [0]),
    ],
    ids=["empty", "short", "nothing", "fewer", "unknown", "longer", "beyond", "too many"],
)
def test_what_is_no_request_is_not_answered(payload: bytes) -> None:
    sent = kept()
    sent.keep(7, Run(bytes(5 * 200), 200))
    assert sent.asked(request(7, 5, [0])) is not None
    assert sent.asked(payload) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_answered_or_not(payload: bytes) -> None:
    sent = kept()
    sent.keep(0, Run(bytes(1000), 200))
    answer = sent.asked(payload)
    assert answer is None or 0 < len(answer) <= 5


def test_a_restarted_sender_does_not_answer_for_the_boot_before() -> None:
    sent = SentRuns(b"another.")
    sent.keep(7, Run(bytes(1000), 200))
    assert sent.asked(request(7, 5, [0])) is None


def test_a_run_that_goes_out_again_is_kept_again_and_counted_once() -> None:
    sent, run = kept(), Run(bytes(KEPT_BYTES_MAX // 4), 1400)
    for number in (1, 2, 3, 4, 1, 5):
        sent.keep(number, run)
    answered = [number for number in range(1, 6) if sent.asked(request(number, len(run), [0]))]
    assert answered == [1, 3, 4, 5]


@pytest.mark.parametrize("frames", [17, 100, 200])
def test_requests_and_answers_come_to_an_end_by_themselves(frames: int) -> None:
    """Of frames of two datagrams one is missing; an answer used to begin a frame that had made room for another."""
    wire = started()
    for _ in range(frames):
        wire.layers[2].receive_run(Run.of(next(iter(wire.layers[1].seal(bytes(2000), 1.0)))), address(1), 1.0)
    now = 1.0
    while (deadline := wire.layers[2].next_deadline()) is not None:
        now = deadline
        wire.layers[2].expire(now)
        wire.deliver_control(2, now)
    assert now <= 1.0 + REPAIR_SECONDS * 2
    assert len(wire.packets(2)) == min(frames, ASSEMBLIES_PER_SOURCE_MAX)
    assert wire.layers[2].counters()["repairs_asked"] <= ASSEMBLIES_PER_SOURCE_MAX


def test_answers_that_come_after_the_end_begin_nothing() -> None:
    wire = started()
    arrive(wire, 2, list(wire.layers[1].seal(bytes(2000), 1.0)), {1})
    wire.layers[2].expire(1.0 + REPAIR_SECONDS)
    (asked,) = requests(wire, 2)
    wire.layers[2].expire(3.0)
    wire.layers[1].receive_run(asked.datagrams, address(2), 3.0)
    (answer,) = requests(wire, 1)
    wire.layers[2].receive_run(answer.datagrams, address(1), 3.0)
    assert wire.layers[2].next_deadline() is None


def test_what_nobody_has_sealed_makes_nobody_ask_early() -> None:
    wire = started()
    arrive(wire, 2, list(wire.layers[1].seal(PAYLOAD, 1.0)), {5})
    wire.layers[2].receive(b"T\x10forged", address(1), 1.0)
    wire.layers[2].ask_for_missing(1.0)
    assert requests(wire, 2) == []


def test_who_lacked_most_and_got_more_may_ask_again() -> None:
    """The ring has sent the frame again as the same datagrams."""
    wire = started()
    datagrams = list(wire.layers[1].seal_repeated("name", PAYLOAD, 1.0))
    arrive(wire, 2, datagrams, set(range(10)))
    for step in range(20):
        wire.layers[2].expire(1.0 + step * REPAIR_SECONDS)
    assert requests(wire, 2) == []
    arrive(wire, 2, list(wire.layers[1].seal_repeated("name", PAYLOAD, 1.1)), {4}, 1.1)
    wire.layers[2].expire(1.1 + REPAIR_SECONDS)
    wire.deliver_control(2, 1.1 + REPAIR_SECONDS)
    assert wire.packets(2) == [PAYLOAD]


def test_requests_have_a_rate() -> None:
    allowance = Allowance(REQUESTS_AT_ONCE_MAX, REQUESTS_PER_SECOND_MAX)
    asked = sum(allowance.take(1, step / 10_000) for step in range(20_000))
    assert asked == pytest.approx(REQUESTS_AT_ONCE_MAX + 2 * REQUESTS_PER_SECOND_MAX, abs=2)
    assert allowance.take(2, 0.0), "of each node"
