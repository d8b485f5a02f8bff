"""Everything that comes from the network, from datagrams to the parts of messages."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from fuzzkit.examples import encoded_examples
from fuzzkit.pair import HERE, KEY, THERE, Pair, deterministic_bytes
from fuzzkit.target import MSGPACK_BOMBS, Target, join_chunks, split_chunks
from totemd.executive.totem.core.assembly import Assembler
from totemd.executive.totem.wire import codec, packets
from totemd.executive.totem.wire.datagrams import (
    FRAGMENT_BYTES_MIN,
    FRAGMENT_OVERHEAD_BYTES,
    FRAME_BYTES_MAX,
    NAMED_BOOT_BYTES,
    Frame,
    Run,
    cut,
    fragment_name,
    leading_fragments,
)
from totemd.executive.totem.wire.events import PacketReceived
from totemd.executive.totem.wire.packing import Part, pack, unpack
from totemd.executive.totem.wire.reassembly import ASSEMBLIES_PER_SOURCE_MAX, Reassembler, Wanted
from totemd.executive.totem.wire.refusals import Refused
from totemd.executive.totem.wire.repair import SentRuns, request
from totemd.executive.totem.wire.seal import ClusterSecret, FrameKind, OpenedFrame, Opener, Sealer
from totemd.executive.totem.wire.sessions import CHALLENGE_BYTES, PENDING_BYTES_MAX, Ask, Peers
from totemd.executive.totem.wire.suites import Suite
from totemd.ipc.errors import MalformedMessage
from totemd.ipc.ids import Guarantee, RingId

RING = RingId(4, 1)
BOOT = b"a" * 16

# -- packets


def _packets() -> Iterator[bytes]:
    """One of each, and those whose fields must fit each other."""
    yield from (each for each in encoded_examples(packets.AnyPacket) if _is_packet(each))
    for packet in (
        packets.Mcast(RING, 1, 1, Guarantee.AGREED, False, b"body"),
        packets.Token(RING, 1, 9, 5, 1, 2, 3, False, (6, 7)),
        packets.Join((1, 2), (3,), 4, 5, False, 6),
        packets.CommitToken(RING, 0, 1, (1, 2), (packets.MemberEntry(RING, 1, 1, True),)),
    ):
        yield codec.encode(packet)


def _is_packet(data: bytes) -> bool:
    try:
        codec.decode(data)
    except MalformedMessage:
        return False
    return True


def _encapsulated() -> Iterator[bytes]:
    yield codec.encode(packets.Mcast(RING, 3, 1, Guarantee.SAFE, False, b"body"))


def _packet_check(decode: Callable[[bytes], Any]) -> Callable[[bytes], bool]:
    def check(data: bytes) -> bool:
        try:
            packet = decode(data)
        except MalformedMessage:
            return False
        assert decode(codec.encode(packet)) == packet
        return True

    return check


# -- what is in a frame


def _bodies() -> Iterator[bytes]:
    yield pack(1, [])
    yield pack(1, [Part(0, 1, 0, 0, memoryview(b"")), Part(1, 2, 0, 5, memoryview(b"whole"))])
    yield pack(1, [Part(1, 3, 0, 9, memoryview(b"part")), Part(1, 3, 4, 9, memoryview(b"rest."))])


def _check_body(data: bytes) -> bool:
    try:
        body = unpack(data)
    except MalformedMessage:
        return False
    assembler = Assembler(message_bytes_max=1000)
    for part in body.parts:
        message = assembler.feed(1, body.incarnation, part)
        assert message is None or len(message) == part.total
    again = unpack(pack(body.incarnation, list(body.parts)))
    assert pack(again.incarnation, list(again.parts)) == pack(body.incarnation, list(body.parts))
    return True


# -- datagrams and seals


def _datagrams() -> Iterator[bytes]:
    yield join_chunks(cut(b"whole", 1472, Frame(1, 1)))
    pieces = list(cut(bytes(500), FRAGMENT_OVERHEAD_BYTES + FRAGMENT_BYTES_MIN, Frame(1, 2)))
    yield join_chunks(pieces)
    yield join_chunks(reversed(pieces))


def _check_datagrams(data: bytes) -> bool:
    reassembler, accepted = Reassembler(), False
    for number, datagram in enumerate(split_chunks(data)):
        try:
            frame = reassembler.receive(datagram, (HERE, THERE)[number % 2 and number > 7], 0.0)
        except Refused:
            continue
        accepted = True
        assert frame is None or len(frame) <= FRAME_BYTES_MAX
        assert reassembler.held_bytes <= 2 * ASSEMBLIES_PER_SOURCE_MAX * FRAME_BYTES_MAX
    reassembler.expire(60.0)
    assert (reassembler.held_bytes, reassembler.next_deadline()) == (0, None)
    return accepted


def _runs() -> Iterator[bytes]:
    size = FRAGMENT_OVERHEAD_BYTES + FRAGMENT_BYTES_MIN
    one, two = (cut(bytes(length), size, Frame(1, length)) for length in (3 * FRAGMENT_BYTES_MIN, 500))
    yield size.to_bytes(2, "big") + one.data + two.data


def _check_run(data: bytes) -> bool:
    """What is taken as one is what its datagrams make one by one."""
    run, start, accepted = Run(data[2:], int.from_bytes(data[:2], "big") or 1), 0, False
    while start < len(run.data):
        found = leading_fragments(run, start)
        if found is None:
            start += run.size
            continue
        fragments, end = found
        together, apart = Reassembler(), Reassembler()
        *before, last = (apart.receive(piece, HERE, 0.0) for piece in Run(run.data[start:end], run.size))
        assert not any(before) and together.take(fragments, HERE, 0.0) == last
        assert together.held_bytes == apart.held_bytes
        start, accepted = end, True
    return accepted


def _requests() -> Iterator[bytes]:
    for missing in ((0, 4), tuple(range(5))):
        yield request(Wanted(HERE, fragment_name(BOOT, 1), 5, missing))


def _check_request(data: bytes) -> bool:
    sent = SentRuns(BOOT[:NAMED_BOOT_BYTES])
    sent.keep(1, Run(bytes(901), 200))
    answer = sent.asked(data)
    assert answer is None or (0 < len(answer) <= 5 and len(answer.data) <= 901)
    return answer is not None


def _secret(suite: Suite) -> ClusterSecret:
    return ClusterSecret(suite, "alpha", KEY)


def _sealed(suite: Suite) -> Iterator[bytes]:
    sealer = Sealer(_secret(suite), 1, BOOT)
    for kind in FrameKind:
        yield sealer.seal(kind, b"payload", to=2)


def _sealed_target(suite: Suite) -> Target:
    """A fuzzer cannot forge a seal: with one, it tries the header; without, everything behind it too."""
    secret = _secret(suite)

    def check(data: bytes) -> bool:
        try:
            opened = Opener(secret).open(data)
        except Refused:
            return False
        assert 0 < opened.sender < 2**32 and len(opened.boot) == len(BOOT)
        return True

    return Target(f"sealed-{suite.label}", check, lambda: _sealed(suite))


def _frames() -> Iterator[bytes]:
    """Datagrams of node 1 after its handshake, and frames of somebody else."""
    sender = Pair(Suite.NONE, datagram_bytes=FRAGMENT_OVERHEAD_BYTES + FRAGMENT_BYTES_MIN).sender
    for to in (0, 2):
        yield join_chunks(sender.seal(bytes(300), 1.0, to=to))
    known = sender.seal(b"small", 1.0)
    stranger = Sealer(_secret(Suite.NONE), 1, BOOT)
    for kind in FrameKind:
        frame = stranger.seal(kind, bytes(CHALLENGE_BYTES + 8))
        yield join_chunks([*known, *cut(frame, 1472, Frame(1, 1))])


def _check_frames(data: bytes) -> bool:
    pair = Pair(Suite.NONE)
    for datagram in split_chunks(data):
        pair.arrive(datagram)
    accepted = len(pair.got) > 0
    pair.receiver.expire(pair.now + 60)
    assert pair.receiver.counters()["bytes_awaiting_fragments"] == 0
    assert pair.receiver.next_deadline() is None
    return accepted


# -- stories that valid seals can tell

_FRAME = struct.Struct("<BBBBBQ")


def _story() -> Iterator[bytes]:
    """Each frame: to, sender, boot, kind, tenths of a second before it, counter, payload."""
    packet = _FRAME.pack(2, 1, 0, FrameKind.PACKET, 1, 5) + b"packet"
    asked = _FRAME.pack(0, 1, 1, FrameKind.CHALLENGE, 0, 1) + bytes(CHALLENGE_BYTES)
    answer = _FRAME.pack(1, 3, 2, FrameKind.RESPONSE, 0, 1) + bytes(CHALLENGE_BYTES + 8)
    ended = _FRAME.pack(0, 1, 0, FrameKind.OBITUARY, 2, 9)
    yield join_chunks([packet, asked, answer, ended, packet])


def _check_story(data: bytes) -> bool:
    """Nothing is delivered of a boot that has not answered.  (A fuzzer that sees comparisons may learn a challenge.)"""
    peers = Peers(1, BOOT, (1, 2, 3), True, deterministic_bytes("peers"))
    asked, answered = set[bytes](), set[tuple[int, bytes]]()
    now, told = 0.0, 0
    for chunk in split_chunks(data):
        if len(chunk) < _FRAME.size:
            continue
        told += 1
        to, sender, boot, kind, pause, counter = _FRAME.unpack_from(chunk)
        now += pause / 10
        payload = chunk[_FRAME.size :]
        frame = OpenedFrame(to, max(sender, 1), bytes([boot]) * 16, counter, 1 + kind % len(FrameKind), payload)
        if frame.kind == FrameKind.RESPONSE and payload[:CHALLENGE_BYTES] in asked:
            answered.add((frame.sender, frame.boot))
        peers.receive(frame, HERE, now)
        assert peers._pending_bytes <= PENDING_BYTES_MAX
        peers.expire(now)
        for effect in peers.take_effects():
            match effect:
                case Ask(challenge=challenge):
                    asked.add(challenge)
                case PacketReceived(sender=sender, boot=boot):
                    assert (sender, boot) in answered
    peers.expire(now + 60)
    assert peers.next_deadline() is None and peers._pending_bytes == 0
    return told > 0


TARGETS = (
    Target("packet", _packet_check(codec.decode), _packets, MSGPACK_BOMBS),
    Target("encapsulated-packet", _packet_check(codec.decode_encapsulated), _encapsulated, MSGPACK_BOMBS),
    Target("frame-body", _check_body, _bodies, MSGPACK_BOMBS),
    Target("datagrams", _check_datagrams, _datagrams),
    Target("runs", _check_run, _runs),
    Target("repair-requests", _check_request, _requests),
    *(_sealed_target(suite) for suite in Suite),
    Target("frames", _check_frames, _frames),
    Target("sessions", _check_story, _story),
)
