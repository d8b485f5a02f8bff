"""Whole frame layers talking to each other over a wire that tests can listen to."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

import pytest
from framewire import KEY, Wire, address, started
from totemd.executive.totem.wire.datagrams import Run
from totemd.executive.totem.wire.events import (
    Dropped,
    DuplicateNode,
    PacketReceived,
    PeerEnded,
    PeerProven,
    SendControl,
)
from totemd.executive.totem.wire.reassembly import ASSEMBLY_SECONDS, REPAIRS_MAX
from totemd.executive.totem.wire.refusals import LOG_WORDS, Refusal
from totemd.executive.totem.wire.repeated import REPEATED_COUNTERS, REPEATED_FRAMES_MAX, REPEATED_SECONDS
from totemd.executive.totem.wire.seal import PAYLOAD_BYTES_MAX
from totemd.executive.totem.wire.suites import Suite
from totemd.ipc.errors import InvalidArgument


@pytest.mark.parametrize("suite", list(Suite), ids=lambda suite: suite.label)
@pytest.mark.parametrize("size", [0, 1, 200, 1430, 1431, 16_000, PAYLOAD_BYTES_MAX])
def test_a_packet_reaches_everybody_from_one_seal(suite: Suite, size: int) -> None:
    wire = started(suite)
    payload = random.Random(size).randbytes(size)
    pieces = wire.layers[1].seal(payload, 1.0)
    for to in (2, 3):
        wire.carry(1, to, pieces, 1.0)
        assert wire.packets(to) == [payload]


def test_what_one_read_brings_is_taken_as_a_whole_and_what_is_damaged_costs_its_own_frame() -> None:
    wire = started()
    first, second, third = (wire.layers[1].seal(bytes(5000) + b"%d" % number, 1.0) for number in range(3))
    receiver, source = wire.layers[2], address(1)
    before = receiver.counters()["datagrams_received"]
    for run in (first, Run(second.data[: 2 * second.size], second.size), third, Run.of(b"rubbish"), Run.of(b"")):
        receiver.receive_run(run, source, 1.0)
    receiver.receive_run(Run(second.data[2 * second.size :], second.size), source, 1.0)
    for event in receiver.take_events():
        wire.events[2].append(event)  # and a request for the rest of the second, which is lost
    assert [packet[-1:] for packet in wire.packets(2)] == [b"0", b"2", b"1"]
    counters = receiver.counters()
    assert counters["datagrams_received"] - before == 3 * len(first) + 2
    assert counters["dropped_bad_magic"] + counters["dropped_bad_datagram"] == 2


def test_the_first_packet_of_a_newcomer_is_not_lost() -> None:
    wire = Wire()
    for node in (1, 2):
        wire.start(node)
    wire.carry(1, 2, wire.layers[1].seal(b"join", 0.0), 0.0)
    assert [type(event) for event in wire.events[2]] == [PeerProven, PacketReceived]
    assert wire.layers[1].unproven() == (3,), "its question made it known in turn"


def test_nothing_recorded_is_believed_by_a_process_that_starts_later() -> None:
    wire = started()
    for number in range(20):
        wire.carry(1, 2, wire.layers[1].seal(b"old %d" % number, 1.0), 1.0)
    recording = list(wire.recorded)
    wire.start(2)
    for sender, datagram in recording:
        wire.layers[2].receive(datagram, address(sender), 100.0)
        wire.deliver_control(2, 100.0)
    assert wire.packets(2) == []
    wire.carry(1, 2, wire.layers[1].seal(b"new", 100.1), 100.1)
    assert wire.packets(2) == [b"new"]


def test_nothing_recorded_from_an_earlier_boot_is_believed() -> None:
    wire = started()
    pieces = wire.layers[1].seal(b"old", 1.0)
    for to in (2, 3):
        wire.carry(1, to, pieces, 1.0)
        assert wire.packets(to) == [b"old"]
    recording = [datagram for sender, datagram in wire.recorded if sender == 1]
    wire.start(1)
    wire.carry(1, 2, wire.layers[1].seal(b"back", 2.0), 2.0)
    assert [event.restarted for event in wire.events[2] if isinstance(event, PeerProven)] == [True]
    wire.packets(2)
    for datagram in recording * 2:
        wire.carry(1, 2, [datagram], 3.0)
        wire.carry(1, 3, [datagram], 3.0)
    assert wire.packets(2) == wire.packets(3) == []


def test_a_packet_for_one_node_is_good_for_no_other() -> None:
    wire = started()
    token = wire.layers[1].seal(b"token", 1.0, to=2)
    wire.carry(1, 3, token, 1.0)
    assert wire.events[3] == [Dropped(Refusal.MISDIRECTED_FRAME, address(1))]
    wire.carry(1, 2, token, 1.0)
    assert wire.packets(2) == [b"token"]


def test_every_datagram_twice_and_in_any_order() -> None:
    wire = started(datagram_bytes=600)
    chance = random.Random(5)
    payloads = [chance.randbytes(chance.choice((10, 700, 5000))) for _ in range(40)]
    for batch in itertools.batched(payloads, 8) if hasattr(itertools, "batched") else _batched(payloads, 8):
        pieces = [piece for payload in batch for piece in wire.layers[1].seal(payload, 1.0)] * 2
        chance.shuffle(pieces)
        wire.carry(1, 2, pieces, 1.0)
    assert sorted(wire.packets(2)) == sorted(payloads)


def test_a_packet_that_is_sent_again_is_the_same_datagrams_for_a_moment() -> None:
    """So two halves, each of another time, make it whole; and who has had it already does not get it twice."""
    wire, packet = started(), bytes(100_000)
    first = list(wire.layers[1].seal_repeated("frame 7", packet, 1.0))
    again = list(wire.layers[1].seal_repeated("frame 7", packet, 1.0 + REPEATED_SECONDS))
    assert first == again
    wire.carry(1, 2, first[::2], 1.0)
    assert wire.packets(2) == []
    wire.carry(1, 2, again[1::2], 1.4)
    wire.carry(1, 2, again, 1.4)
    assert wire.packets(2) == [packet]
    later = list(wire.layers[1].seal_repeated("frame 7", packet, 1.01 + REPEATED_SECONDS))
    assert len(later) == len(first) and not set(later) & set(first), "sealed anew, before a receiver gives up its parts"
    other = list(wire.layers[1].seal_repeated("frame 8", packet, 1.0))
    assert not set(other) & set(first)


def test_a_packet_is_sealed_anew_before_the_receivers_window_has_passed_it() -> None:
    layer = started().layers[1]
    first = layer.seal_repeated("frame 7", b"packet", 1.0)
    for _ in range(REPEATED_COUNTERS - 1):
        layer.seal(b"", 1.0)
    assert layer.seal_repeated("frame 7", b"packet", 1.0) == first
    layer.seal(b"", 1.0)
    assert layer.seal_repeated("frame 7", b"packet", 1.0) != first


def test_few_packets_are_kept_to_be_sent_again() -> None:
    layer = started().layers[1]
    first = layer.seal_repeated(0, b"packet", 1.0)
    for name in range(1, REPEATED_FRAMES_MAX):
        layer.seal_repeated(name, b"packet", 1.0)
    assert layer.seal_repeated(0, b"packet", 1.0) == first
    layer.seal_repeated(REPEATED_FRAMES_MAX, b"packet", 1.0)
    assert layer.seal_repeated(0, b"packet", 1.0) != first


def _batched(items: list[bytes], size: int) -> Iterable[list[bytes]]:
    return [items[at : at + size] for at in range(0, len(items), size)]


def test_another_key_changes_nothing_and_is_reported() -> None:
    wire = started(nodes=(1, 2))
    wire.start(3, key=KEY[::-1])
    wire.layers[3].greet(1.0)
    wire.deliver_control(3, 1.0)
    for to in (1, 2):
        wire.carry(3, to, wire.layers[3].seal(b"let me in", 1.0), 1.0)
        assert set(wire.events[to]) == {Dropped(Refusal.INVALID_DIGEST, address(3))}
        assert wire.layers[to].unproven() == (3,)
        assert wire.layers[to].next_deadline() is None or wire.layers[to].counters()["frames_sealed"] > 0
    assert "invalid digest... ignoring." in LOG_WORDS[Refusal.INVALID_DIGEST]
    wire.carry(1, 2, wire.layers[1].seal(b"as before", 1.0), 1.0)
    assert b"as before" in wire.packets(2)


def test_another_cluster_on_the_same_port() -> None:
    wire = started(nodes=(1, 2))
    wire.start(3, cluster="beta")
    wire.carry(3, 2, wire.layers[3].seal(b"hello", 1.0), 1.0)
    assert wire.events[2] == [Dropped(Refusal.OTHER_CLUSTER, address(3))]


def test_a_second_node_with_one_id_is_found_on_both_sides() -> None:
    one, other = Wire(), Wire()
    layers = {"one": one.start(1), "other": other.start(1, key=KEY)}
    other.boots = itertools.count(50)
    layers["other"] = other.start(1)
    places = {"one": ("127.0.0.1", 5405), "other": ("127.0.0.3", 5405)}
    found: list[DuplicateNode] = []
    queue = [("one", "other", piece) for piece in layers["one"].seal(b"x", 0.0)]
    while queue:
        sender, to, piece = queue.pop(0)
        layers[to].receive(piece, places[sender], 0.0)
        for event in layers[to].take_events():
            if isinstance(event, SendControl):
                assert event.to == places[sender]
                queue += [(to, sender, each) for each in event.datagrams]
            elif isinstance(event, DuplicateNode):
                found.append(event)
    assert len(found) == 2 and found[0].yields != found[1].yields


def test_lost_answers_are_asked_for_again() -> None:
    wire = Wire()
    one, two = wire.start(1), wire.start(2)
    two.receive_run(one.seal(b"x", 0.0), address(1), 0.0)
    assert any(isinstance(event, SendControl) for event in two.take_events())  # and lost
    deadline = two.next_deadline()
    assert deadline is not None
    two.expire(deadline)
    wire.deliver_control(2, deadline)
    assert wire.packets(2) == [b"x"]
    assert two.unproven() == (3,)


def test_incomplete_frames_are_given_up_and_counted() -> None:
    wire = started()
    wire.carry(1, 2, list(wire.layers[1].seal(bytes(5000), 1.0))[:1], 1.0)
    assert wire.layers[2].counters()["bytes_awaiting_fragments"] > 1000
    times = []
    while (deadline := wire.layers[2].next_deadline()) is not None:
        times.append(deadline)
        wire.layers[2].expire(deadline)
    assert times[-1] == 1.0 + ASSEMBLY_SECONDS and len(times) <= REPAIRS_MAX + 2
    assert wire.layers[2].next_deadline() is None
    assert wire.layers[2].counters()["dropped_incomplete_frame"] == 1


def test_counters_have_a_name_for_every_refusal() -> None:
    wire = started()
    wire.layers[2].receive(b"rubbish", ("127.0.0.9", 9), 1.0)
    counters = wire.layers[2].counters()
    assert counters["dropped_bad_magic"] == 1
    assert {f"dropped_{refusal.value}" for refusal in Refusal} <= counters.keys()
    wire.carry(1, 2, wire.layers[1].seal(b"x", 1.0), 1.0)
    assert wire.layers[2].counters()["packets_received"] == 1


def test_a_node_can_be_taken_off_the_list() -> None:
    wire = started()
    wire.layers[2].set_nodes((2, 3))
    wire.carry(1, 2, wire.layers[1].seal(b"x", 1.0), 1.0)
    assert wire.events[2] == [Dropped(Refusal.UNLISTED_SENDER, address(1))]


def test_too_long_a_packet_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        started().layers[1].seal(bytes(PAYLOAD_BYTES_MAX + 1), 1.0)


@pytest.mark.parametrize("suite", [Suite.AES256, Suite.NONE])
@pytest.mark.parametrize("size", [10, 5000])
def test_what_was_sent_lately_is_known_when_it_is_quoted(suite: Suite, size: int) -> None:
    wire = Wire(suite)
    one, two = wire.start(1), wire.start(2)
    for datagram in one.seal(bytes(size), 10.0):
        assert one.has_sent(datagram, 10.1)
        assert one.has_sent(datagram[:100], 10.1), "a report need not quote all of it"
        assert not one.has_sent(datagram[:20], 10.1)
        assert not two.has_sent(datagram, 10.1)
        assert not one.has_sent(b"T\x00" + datagram[2:], 10.1)
    assert not one.has_sent(b"", 10.1)


def test_a_report_that_somebody_makes_up_or_kept_for_later_is_refused() -> None:
    wire = Wire()
    one = wire.start(1)
    (old,) = one.seal(b"x", 10.0)
    (new,) = one.seal(b"x", 20.0)
    assert one.has_sent(new, 20.5) and not one.has_sent(old, 20.5)
    counter_at = 2 + 32
    never_sent = new[:counter_at] + (10**6).to_bytes(8, "big") + new[counter_at + 8 :]
    other_boot = new[: 2 + 16] + bytes(16) + new[2 + 32 :]
    assert not one.has_sent(never_sent, 20.5) and not one.has_sent(other_boot, 20.5)
    (again,) = wire.start(1).seal(b"x", 20.0)
    assert not one.has_sent(again, 20.5), "another boot of the same node"
    assert one.counters()["quotes_refused"] == 4


def test_an_obituary_ends_a_boot_for_everybody_and_can_be_kept() -> None:
    wire = Wire()
    one, two = wire.start(1), wire.start(2)
    kept = one.obituary(0.0)
    wire.greet(0.0)
    for number in range(5000):
        wire.carry(1, 2, one.seal(b"%d" % number, 1.0), 1.0)
    for _ in range(2):
        wire.carry(1, 2, [kept], 2.0)
    ends = [event for event in wire.events[2] if isinstance(event, PeerEnded)]
    assert [end.sender for end in ends] == [1]
    wire.carry(1, 2, one.seal(b"from the grave", 2.0), 2.0)
    assert wire.packets(2)[-1] == b"4999"
    wire.carry(1, 1, [kept], 2.0)
    assert not [event for event in wire.events[1] if isinstance(event, PeerEnded)]
    assert two.counters()["dropped_retired_boot"] == 2
