"""Frames to datagrams and back: geometry, loss, strangers, and the bounds."""

from __future__ import annotations

import contextlib
import functools
import random
import struct
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.executive.totem.wire import reassembly
from totemd.executive.totem.wire.datagrams import (
    DATAGRAM_BYTES_MIN,
    FRAGMENT_BYTES_MIN,
    FRAGMENT_OVERHEAD_BYTES,
    FRAME_BYTES_MAX,
    Frame,
    Run,
    Source,
    cut,
    leading_fragments,
)
from totemd.executive.totem.wire.reassembly import ASSEMBLIES_PER_SOURCE_MAX, ASSEMBLY_SECONDS, Reassembler
from totemd.executive.totem.wire.refusals import MalformedDatagram, Refusal
from totemd.executive.totem.wire.seal import FRAME_OVERHEAD_BYTES, PAYLOAD_BYTES_MAX
from totemd.ipc.errors import InvalidArgument

HERE: Source = ("127.0.0.2", 5405)
ELSEWHERE: Source = ("127.0.0.3", 5405)
MTU = 1472


def frame_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def refusal(reassembler: Reassembler, datagram: bytes) -> Refusal:
    with pytest.raises(MalformedDatagram) as caught:
        reassembler.receive(datagram, HERE, 0.0)
    return caught.value.refusal


def fragment(index: int, stride: int, total: int, chunk: bytes, number: int = 1) -> bytes:
    return struct.pack(">BBHHIQQ", 0x54, 0x11, index, stride, total, 7, number) + chunk


def test_a_frame_that_fits_is_one_datagram_and_leaves_nothing_behind() -> None:
    reassembler = Reassembler()
    for size in (0, 1, MTU - 2):
        (datagram,) = cut(frame_of(size), MTU, Frame(7, 1))
        assert reassembler.receive(datagram, HERE, 0.0) == frame_of(size)
        assert reassembler.next_deadline() is None


@pytest.mark.parametrize("datagram_bytes", [DATAGRAM_BYTES_MIN, 548, MTU, 8972, 65_507])
@pytest.mark.parametrize("size", [MTU - 1, MTU, 16_000, 60_000, FRAME_BYTES_MAX])
def test_every_datagram_fits_and_they_make_the_frame(size: int, datagram_bytes: int) -> None:
    pieces = list(cut(frame_of(size), datagram_bytes, Frame(2**64 - 1, 2**64 - 1)))
    assert max(map(len, pieces)) <= datagram_bytes
    assert len({len(piece) for piece in pieces[:-1]}) <= 1 and len(pieces[-1]) <= len(pieces[0])
    random.Random(2).shuffle(pieces)
    reassembler = Reassembler()
    results = [reassembler.receive(piece, HERE, 0.0) for piece in pieces]
    assert results == [None] * (len(pieces) - 1) + [frame_of(size)]
    assert (reassembler.held_bytes, reassembler.next_deadline()) == (0, None)


@pytest.mark.parametrize("datagrams", [[b""], [b"one"], [b"ab", b"cd", b"e"], [b"ab", b"cd"]])
def test_a_run_is_its_datagrams(datagrams: list[bytes]) -> None:
    run = Run(b"".join(datagrams), len(datagrams[0]))
    assert list(run) == datagrams and len(run) == len(datagrams)


def taken(run: Run, start: int = 0) -> tuple[bytes | None, int] | None:
    """What a fresh reassembler makes of the fragments that are taken at once, and where they end."""
    several = leading_fragments(run, start)
    return several and (Reassembler().take(several[0], HERE, 0.0), several[1])


def test_frames_that_stand_whole_in_a_run_are_taken_at_once() -> None:
    """One behind the other, as the kernel may hand them over if the last fragment of the first is a full one."""
    stride = MTU - FRAGMENT_OVERHEAD_BYTES
    one, two = frame_of(3 * stride, 1), frame_of(5000, 2)
    first, second = cut(one, MTU, Frame(7, 1)), cut(two, MTU, Frame(7, 2))
    run = Run(first.data + second.data, MTU)
    assert taken(run) == (one, len(first.data))
    assert taken(run, len(first.data)) == (two, len(run.data))
    assert taken(run, 2 * MTU) is None, "the last fragment, alone"
    assert taken(Run.of(b"T\x10whole")) is None


@pytest.mark.parametrize("per_read", [2, 3, 44, 45])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_frame_may_come_in_several_reads(per_read: int, backwards: bool) -> None:
    data = cut(frame_of(200_000), MTU, Frame(7, 1)).data
    reads = [Run(data[at : at + per_read * MTU], MTU) for at in range(0, len(data), per_read * MTU)]
    reassembler, results = Reassembler(), []
    for run in reversed(reads) if backwards else reads:
        several = leading_fragments(run, 0)
        if several is None:
            results.append(reassembler.receive(run.data, HERE, 0.0))
        else:
            assert several[1] == len(run.data)
            results.append(reassembler.take(several[0], HERE, 0.0))
    assert results == [None] * (len(reads) - 1) + [frame_of(200_000)]
    assert (reassembler.held_bytes, reassembler.next_deadline()) == (0, None)


@pytest.mark.parametrize("short", [1, 600, 662])
def test_a_last_fragment_that_is_cut_short_is_left_to_be_refused(short: int) -> None:
    data = cut(frame_of(5000), MTU, Frame(7, 1)).data[:-short]
    several = leading_fragments(Run(data, MTU), 0)
    assert several is not None and several[1] == 3 * MTU and len(several[0].chunks) == 3


def outcome(take: Callable[[], bytes | None]) -> list[bytes]:
    with contextlib.suppress(MalformedDatagram):
        frame = take()
        return [] if frame is None else [frame]
    return []


def together(run: Run) -> tuple[list[bytes], int]:
    """The frames that come out of a run, fragments taken at once where they can be; and what is left of others."""
    reassembler, frames, at = Reassembler(), list[bytes](), 0
    while at < len(run.data):
        several = leading_fragments(run, at)
        if several is None:
            datagram = run.data[at : at + run.size]
            frames += outcome(functools.partial(reassembler.receive, datagram, HERE, 0.0))
            at += run.size
        else:
            fragments, at = several
            frames += outcome(functools.partial(reassembler.take, fragments, HERE, 0.0))
    return frames, reassembler.held_bytes


def one_by_one(run: Run) -> tuple[list[bytes], int]:
    reassembler, frames = Reassembler(), list[bytes]()
    for datagram in run:
        frames += outcome(functools.partial(reassembler.receive, datagram, HERE, 0.0))
    return frames, reassembler.held_bytes


@pytest.mark.parametrize("at", range(FRAGMENT_OVERHEAD_BYTES))
@pytest.mark.parametrize("which", [0, 1, 3])
def test_a_run_in_which_a_header_differs_is_what_its_datagrams_are(at: int, which: int) -> None:
    data = bytearray(cut(frame_of(5000), MTU, Frame(7, 1)).data)
    data[which * MTU + at] ^= 1
    run = Run(bytes(data), MTU)
    assert together(run) == one_by_one(run)


@given(st.lists(st.integers(0, 11), max_size=20))
def test_a_run_is_what_its_datagrams_are_whatever_is_lost_or_comes_twice(order: list[int]) -> None:
    stride = MTU - FRAGMENT_OVERHEAD_BYTES
    pieces = [piece for number in (1, 2) for piece in cut(frame_of(6 * stride, number), MTU, Frame(7, number))]
    run = Run(b"".join(pieces[index] for index in order), MTU)
    if order:
        (frames, held), (expected, held_apart) = together(run), one_by_one(run)
        assert frames == expected
        assert held <= held_apart, "what comes again with the last missing one begins nothing"


def test_a_gap_costs_the_fragments_around_it_little() -> None:
    pieces = list(cut(frame_of(40 * (MTU - FRAGMENT_OVERHEAD_BYTES)), MTU, Frame(7, 1)))
    run = Run(b"".join(pieces[:10] + pieces[11:]), MTU)
    before = leading_fragments(run, 0)
    assert before is not None and (before[0].first, len(before[0].chunks)) == (0, 10)
    behind = leading_fragments(run, before[1])
    assert behind is not None and (behind[0].first, len(behind[0].chunks)) == (11, 29)


def test_of_what_comes_again_the_missing_is_taken() -> None:
    """The same datagrams twice, each time with others lost: none has to come a third time."""
    data = cut(frame_of(20 * (MTU - FRAGMENT_OVERHEAD_BYTES)), MTU, Frame(7, 1)).data
    pieces, reassembler = list(Run(data, MTU)), Reassembler()
    for piece in pieces[:4] + pieces[12:]:
        assert reassembler.receive(piece, HERE, 0.0) is None
    several = leading_fragments(Run(data[: 13 * MTU], MTU), 0)
    assert several is not None
    assert reassembler.take(several[0], HERE, 0.0) == frame_of(20 * (MTU - FRAGMENT_OVERHEAD_BYTES))
    assert (reassembler.held_bytes, reassembler.next_deadline()) == (0, None)


def test_every_seal_can_be_cut() -> None:
    assert PAYLOAD_BYTES_MAX + FRAME_OVERHEAD_BYTES <= FRAME_BYTES_MAX


def test_what_cannot_be_cut() -> None:
    with pytest.raises(InvalidArgument):
        cut(bytes(FRAME_BYTES_MAX + 1), MTU, Frame(7, 1))
    with pytest.raises(InvalidArgument):
        cut(bytes(DATAGRAM_BYTES_MIN), DATAGRAM_BYTES_MIN - 1, Frame(7, 1))


def test_a_lost_fragment_costs_its_own_frame_only() -> None:
    reassembler = Reassembler()
    for number in range(100):
        pieces = list(cut(frame_of(5000, number), MTU, Frame(7, number)))
        if number % 3 == 0:
            pieces.pop(number % len(pieces))
        results = [reassembler.receive(piece, HERE, 0.0) for piece in pieces]
        assert results[-1] == (None if number % 3 == 0 else frame_of(5000, number))
    reassembler.expire(ASSEMBLY_SECONDS)
    assert reassembler.abandoned == 34
    assert (reassembler.held_bytes, reassembler.next_deadline()) == (0, None)


def test_duplicates_are_told_and_do_no_harm() -> None:
    reassembler = Reassembler()
    first, *middle, last = cut(frame_of(5000), MTU, Frame(7, 1))
    assert reassembler.receive(first, HERE, 0.0) is None
    assert refusal(reassembler, first) is Refusal.DUPLICATE_FRAGMENT
    for piece in middle:
        reassembler.receive(piece, HERE, 0.0)
    assert reassembler.receive(last, HERE, 0.0) == frame_of(5000)


def test_frames_of_two_sources_boots_and_numbers_do_not_mix() -> None:
    reassembler = Reassembler()
    ways = [(HERE, Frame(7, 1)), (HERE, Frame(8, 1)), (HERE, Frame(7, 2)), (ELSEWHERE, Frame(7, 1))]
    cuts = [(source, list(cut(frame_of(3000, seed), MTU, name))) for seed, (source, name) in enumerate(ways)]
    finished = []
    for step in range(3):
        finished += [reassembler.receive(pieces[step], source, 0.0) for source, pieces in cuts]
    assert finished[8:] == [frame_of(3000, seed) for seed in range(4)]


def test_what_is_no_datagram_is_told_apart() -> None:
    reassembler = Reassembler()
    good = fragment(0, 200, 500, bytes(200))
    assert reassembler.receive(good, HERE, 0.0) is None
    for bad in (
        *(b"", b"\x54", good[:20], good[:26]),
        b"\x54\x13" + good[2:],  # a form that there is not
        fragment(1, 200, 500, bytes(199)),
        fragment(1, 200, 500, bytes(201)),
        fragment(2, 200, 500, bytes(200)),
        fragment(3, 200, 500, bytes(100)),
        fragment(2, 200, 400, b"\0"),
        fragment(65_535, 200, 500, bytes(200)),
        fragment(0, 500, 500, bytes(500), number=2),
        fragment(0, 127, 500, bytes(127), number=2),
        fragment(0, 0, 500, b"\0", number=2),
        fragment(0, 1000, FRAME_BYTES_MAX + 1, bytes(1000), number=2),
        fragment(0, 250, 500, bytes(250)),  # another geometry than what came before
        fragment(1, 200, 501, bytes(200)),
        b"\x54\x10" + bytes(FRAME_BYTES_MAX + 1),
    ):
        assert refusal(reassembler, bad) is Refusal.BAD_DATAGRAM
    assert refusal(reassembler, b"GET / HTTP/1.1") is Refusal.BAD_MAGIC
    assert refusal(reassembler, b"\x54\x20frame") is Refusal.BAD_VERSION
    assert reassembler.receive(fragment(2, 200, 500, bytes(100)), HERE, 0.0) is None
    assert reassembler.receive(fragment(1, 200, 500, bytes(200)), HERE, 0.0) == bytes(500)


def test_a_source_has_room_for_so_many_and_the_oldest_goes() -> None:
    reassembler = Reassembler()
    cuts = [list(cut(frame_of(2000, number), MTU, Frame(7, number))) for number in range(ASSEMBLIES_PER_SOURCE_MAX + 1)]
    for first, _ in cuts:
        reassembler.receive(first, HERE, 0.0)
    assert reassembler.abandoned == 1
    for number, (_, second) in list(enumerate(cuts))[1:]:
        assert reassembler.receive(second, HERE, 0.0) == frame_of(2000, number)
    assert reassembler.receive(cuts[0][1], HERE, 0.0) is None


def test_one_source_does_not_crowd_out_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reassembly, "ASSEMBLY_BYTES_MAX", 20_000)
    reassembler = Reassembler()
    first, second = cut(frame_of(2000), MTU, Frame(7, 1))
    reassembler.receive(first, HERE, 0.0)
    for number in range(500):
        for piece in list(cut(frame_of(5000), MTU, Frame(9, number)))[:-1]:
            reassembler.receive(piece, ELSEWHERE, 0.0)
        assert reassembler.held_bytes <= 20_000
    assert reassembler.receive(second, HERE, 0.0) == frame_of(2000)


def test_many_sources_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reassembly, "ASSEMBLIES_MAX", 50)
    reassembler = Reassembler()
    first, _ = cut(frame_of(2000), MTU, Frame(7, 1))
    for number in range(1000):
        reassembler.receive(first, (f"192.0.2.{number}", 5405), 0.0)
    assert len(reassembler._assemblies) == len(reassembler._senders) == 50
    assert reassembler.abandoned == 950


def forged(number: int) -> bytes:
    """The beginning of the longest frame in the smallest fragments: cheap for who sends it."""
    return fragment(0, FRAGMENT_BYTES_MIN, FRAME_BYTES_MAX, bytes(FRAGMENT_BYTES_MIN), number=number)


def test_all_ports_of_an_address_are_one_source() -> None:
    reassembler = Reassembler()
    for number in range(1000):
        reassembler.receive(forged(number), ("192.0.2.9", 1024 + number), 0.0)
    assert len(reassembler._assemblies) == ASSEMBLIES_PER_SOURCE_MAX


def test_who_sends_little_is_not_put_out_by_many_who_send_one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reassembly, "ASSEMBLIES_MAX", 50)
    reassembler = Reassembler()
    for number in range(60):
        reassembler.receive(forged(number), (f"192.0.2.{number}", 5405), 0.0)
    received = []
    for number in range(0, 40, 2):
        under_way = [cut(frame_of(9000, each), MTU, Frame(7, each)) for each in (number, number + 1)]
        for at, pieces in enumerate(zip(*under_way, strict=True)):
            received += [reassembler.receive(piece, HERE, 0.0) for piece in pieces]
            reassembler.receive(forged(1000 + 10 * number + at), (f"198.51.100.{number}-{at}", 5405), 0.0)
    assert [frame for frame in received if frame] == [frame_of(9000, number) for number in range(40)]


def test_what_a_frame_could_become_counts() -> None:
    reassembler = Reassembler()
    reassembler.receive(forged(1), HERE, 0.0)
    assert reassembler.held_bytes >= sys.getsizeof([b""] * (FRAME_BYTES_MAX // FRAGMENT_BYTES_MIN))


def test_age_ends_an_assembly_in_order() -> None:
    reassembler = Reassembler()
    for number in range(3):
        reassembler.receive(next(iter(cut(frame_of(2000), MTU, Frame(7, number)))), HERE, float(number) / 10)
    while (deadline := reassembler.next_deadline() or 0.0) < ASSEMBLY_SECONDS:
        assert reassembler.wanted(deadline)
    assert reassembler.next_deadline() == ASSEMBLY_SECONDS
    reassembler.expire(ASSEMBLY_SECONDS + 0.1)
    assert (reassembler.abandoned, reassembler.next_deadline()) == (2, ASSEMBLY_SECONDS + 0.2)
