"""The wire against whatever arrives: bytes are decoded, or dropped and counted; they never raise, and never lie."""

from __future__ import annotations

import contextlib
import random

import msgspec
from fuzzkit.pair import HERE, KEY, THERE, Pair, deterministic_bytes
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from totemd.executive.totem.links.faults import Faults, read_command
from totemd.executive.totem.wire import codec, packets
from totemd.executive.totem.wire.datagrams import (
    DATAGRAM_BYTES_MIN,
    FRAME_BYTES_MAX,
    Frame,
    cut,
)
from totemd.executive.totem.wire.events import PacketReceived
from totemd.executive.totem.wire.reassembly import ASSEMBLIES_PER_SOURCE_MAX, Reassembler
from totemd.executive.totem.wire.refusals import Refused
from totemd.executive.totem.wire.seal import (
    PAYLOAD_BYTES_MAX,
    ClusterSecret,
    FrameKind,
    OpenedFrame,
    Opener,
    Sealer,
)
from totemd.executive.totem.wire.sessions import Ask, Peers, response
from totemd.executive.totem.wire.suites import Suite
from totemd.ipc.errors import MalformedMessage
from totemd.ipc.ids import Guarantee, RingId

SUITES = st.sampled_from(list(Suite))
SEALED = st.sampled_from([suite for suite in Suite if suite.authenticates])
BOOTS = st.binary(min_size=16, max_size=16)

quick = settings(max_examples=150, deadline=None)
slow = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def noise(size: int, seed: int) -> bytes:
    """Bytes that hypothesis need not invent one by one."""
    return random.Random(seed).randbytes(size)


# -- round trips


@slow
@given(
    SUITES,
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 2**32)), min_size=1, max_size=8),
    st.sampled_from([DATAGRAM_BYTES_MIN, 548, 1472, 8972, 65_507]),
    st.randoms(use_true_random=False),
)
@example(Suite.AES256, [(PAYLOAD_BYTES_MAX, 1), (0, 2), (1, 3)], 1472, random.Random(1))
@example(Suite.NONE, [(PAYLOAD_BYTES_MAX, 1)], DATAGRAM_BYTES_MIN, random.Random(1))
@example(Suite.GMAC, [(PAYLOAD_BYTES_MAX - 1, 1)], 65_507, random.Random(1))
def test_any_order_with_duplicates_and_losses(
    suite: Suite, sizes: list[tuple[int, int]], datagram_bytes: int, chance: random.Random
) -> None:
    """Every frame of which no datagram is lost arrives once; of the others at most nothing."""
    pair = Pair(suite, datagram_bytes)
    payloads = [noise(size, seed) for size, seed in sizes]
    wire: list[bytes] = []
    whole: list[bytes] = []
    for payload in payloads:
        pieces = list(pair.sender.seal(payload, pair.now))
        assert max(map(len, pieces)) <= datagram_bytes
        kept = [piece for piece in pieces if chance.random() >= 0.05]
        whole += [payload] if len(kept) == len(pieces) else []
        wire += kept + [piece for piece in kept if chance.random() < 0.2]
    chance.shuffle(wire)
    for datagram in wire:
        pair.arrive(datagram)
    assert sorted(pair.got) == sorted(whole)


# -- rubbish


@quick
@given(SUITES, st.lists(st.binary(max_size=300), max_size=20))
def test_any_bytes_at_the_frame_layer(suite: Suite, rubbish: list[bytes]) -> None:
    pair = Pair(suite)
    before = pair.receiver.counters()["datagrams_received"]
    for each in rubbish:
        pair.receiver.receive(each, HERE, pair.now)
    pair.receiver.expire(pair.now + 60)
    counters = pair.receiver.counters()
    dropped = sum(count for name, count in counters.items() if name.startswith("dropped_"))
    assert counters["datagrams_received"] - before == len(rubbish) <= dropped
    assert pair.receiver.next_deadline() is None
    pair.arrive(*pair.sender.seal(b"still here", pair.now))
    assert pair.got == [b"still here"]


@quick
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_bytes_that_begin_well(head: bytes, tail: bytes) -> None:
    """As above, behind every prefix that a decoder reads before it doubts."""
    pair = Pair(Suite.NONE)
    sealed = Sealer(ClusterSecret(Suite.NONE, "alpha", b""), 1, bytes(16)).seal(FrameKind.PACKET, head)
    for begin in (b"\x54\x10", b"\x54\x11", b"\x54\x11\0\0\0\x80\0\0\1\0", b"\x54\x10" + sealed[:39], b"\x54\x10\xa6"):
        pair.receiver.receive(begin + tail, HERE, pair.now)
    pair.receiver.expire(pair.now + 60)


@quick
@given(st.lists(st.tuples(st.integers(0, 65_535), st.integers(0, 400), st.integers(0, 70_000), st.integers(0, 500))))
def test_fragments_of_any_geometry_stay_within_bounds(fragments: list[tuple[int, int, int, int]]) -> None:
    reassembler = Reassembler()
    for number, (index, stride, total, size) in enumerate(fragments):
        header = b"\x54\x11" + index.to_bytes(2, "big") + stride.to_bytes(2, "big") + total.to_bytes(4, "big")
        name = bytes(8) + (number // 2).to_bytes(8, "big")
        with contextlib.suppress(Refused):
            frame = reassembler.receive(header + name + bytes(size), HERE, 0.0)
            assert frame is None or len(frame) == total
        assert reassembler.held_bytes <= ASSEMBLIES_PER_SOURCE_MAX * FRAME_BYTES_MAX
    reassembler.expire(60.0)
    assert (reassembler.held_bytes, reassembler.next_deadline()) == (0, None)


@quick
@given(SUITES, st.binary(max_size=400))
def test_any_bytes_at_the_opener(suite: Suite, frame: bytes) -> None:
    with contextlib.suppress(Refused):
        Opener(ClusterSecret(suite, "alpha", KEY)).open(frame)


FRAMES = st.builds(
    OpenedFrame,
    to=st.sampled_from([0, 1, 2]),
    sender=st.sampled_from([1, 2, 3, 9]),
    boot=st.sampled_from([b"a" * 16, b"b" * 16, b"our own boot 16b"]),
    counter=st.one_of(st.integers(0, 20), st.integers(0, 2**64 - 1)),
    kind=st.sampled_from([1, 2, 3]),
    payload=st.one_of(st.binary(max_size=30), st.binary(min_size=16, max_size=16)),
)


@quick
@given(st.lists(st.tuples(FRAMES, st.floats(0, 1), st.booleans()), max_size=40), st.booleans())
def test_any_story_that_valid_seals_can_tell(story: list[tuple[OpenedFrame, float, bool]], admit: bool) -> None:
    """Every packet is delivered at most once, and only of a boot that answered; nothing is left waiting for ever."""
    peers = Peers(1, b"our own boot 16b", (1, 2, 3), admit, deterministic_bytes("peers"))
    now, delivered, proven = 0.0, set[tuple[int, bytes, int]](), set[tuple[int, bytes]]()
    asked: dict[int, bytes] = {}
    for frame, pause, answers in story:
        now += pause
        frames = [frame]
        if answers and frame.sender in asked and frame.counter < 2**64 - 1:
            proof = response(asked.pop(frame.sender), frame.counter)
            answer = OpenedFrame(1, frame.sender, frame.boot, frame.counter, FrameKind.RESPONSE, proof)
            frames = [answer, msgspec.structs.replace(frame, counter=frame.counter + 1)]
            proven.add((frame.sender, frame.boot))
        for each in frames:
            packet = msgspec.structs.replace(each, payload=b"%d" % each.counter) if each.kind == 1 else each
            peers.receive(packet, THERE, now)
            for effect in peers.take_effects():
                if isinstance(effect, Ask):
                    asked[effect.node] = effect.challenge
                if isinstance(effect, PacketReceived):
                    name = (effect.sender, effect.boot, int(effect.payload))
                    assert name not in delivered and name[:2] in proven
                    delivered.add(name)
        peers.expire(now)
        peers.take_effects()
    peers.expire(now + 60)
    assert peers.next_deadline() is None
    assert peers._pending_bytes == 0


# -- malice


@slow
@given(SEALED, st.integers(0, 5000), st.data())
def test_a_changed_datagram_never_delivers_anything_else(suite: Suite, size: int, data: st.DataObject) -> None:
    pair = Pair(suite, datagram_bytes=600)
    payload = noise(size, 3)
    pieces = list(pair.sender.seal(payload, pair.now))
    for _ in range(data.draw(st.integers(1, 4), label="changes")):
        victim = data.draw(st.integers(0, len(pieces) - 1), label="datagram")
        changed = bytearray(pieces[victim])
        at = data.draw(st.integers(0, len(changed)), label="where")
        match data.draw(st.sampled_from(["flip", "cut", "insert"]), label="how"):
            case "flip" if at < len(changed):
                changed[at] ^= data.draw(st.integers(1, 255), label="bits")
            case "cut":
                del changed[at:]
            case _:
                changed[at:at] = data.draw(st.binary(min_size=1, max_size=8), label="bytes")
        pieces[victim] = bytes(changed)
    for piece in pieces:
        pair.arrive(piece)
    assert pair.got in ([], [payload])  # changes may undo each other


@slow
@given(SUITES, st.lists(st.integers(0, 3000), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_recording_never_delivers_twice(suite: Suite, sizes: list[int], chance: random.Random) -> None:
    """Played again at any time: to the same process, after the sender's restart, and to a restarted receiver."""
    pair = Pair(suite, datagram_bytes=600)
    payloads = [noise(size, number) + b"%d" % number for number, size in enumerate(sizes)]
    recording = [piece for payload in payloads for piece in pair.sender.seal(payload, pair.now)]
    for piece in recording:
        pair.arrive(piece)
    assert pair.got == payloads
    for _ in range(3 * len(recording)):
        pair.now += chance.random()
        pair.arrive(chance.choice(recording))
    assert pair.got == payloads
    pair.now += 10
    pair.sender = pair.layer(1, "again")
    pair.arrive(*pair.sender.seal(b"back", pair.now))
    for piece in recording:
        pair.arrive(piece)
    assert pair.got == [*payloads, b"back"]
    pair.now += 10
    pair.receiver = pair.layer(2, "again")
    for piece in recording * 2:
        pair.now += chance.random()
        pair.arrive(piece)
    assert pair.got == [*payloads, b"back"]


@quick
@given(SEALED, st.binary(min_size=1, max_size=64), st.binary(max_size=100))
def test_without_the_key_nothing_is_believed(suite: Suite, key: bytes, payload: bytes) -> None:
    pair = Pair(suite)
    if key == KEY:
        return
    forger = Sealer(ClusterSecret(suite, "alpha", key), 1, noise(16, 1))
    for kind in FrameKind:
        for datagram in cut(forger.seal(kind, payload), 1472, Frame(1, 1)):
            pair.arrive(datagram)
    assert pair.got == []
    assert pair.receiver.counters()["dropped_invalid_digest"] == len(FrameKind)


@quick
@given(SEALED, st.lists(st.tuples(st.integers(1, 3), BOOTS), min_size=2, max_size=8, unique=True))
def test_boots_never_share_a_key_stream(suite: Suite, boots: list[tuple[int, bytes]]) -> None:
    """The same payload under the same counter looks different in every boot of every sender."""
    secret = ClusterSecret(suite, "alpha", KEY)
    sealed = [Sealer(secret, sender, boot).seal(FrameKind.PACKET, bytes(64))[-16:] for sender, boot in boots]
    assert len(set(sealed)) == len(boots)


# -- packets of the ring


@quick
@given(st.binary(max_size=400))
def test_any_bytes_at_the_packet_decoder(data: bytes) -> None:
    for decode in (codec.decode, codec.decode_encapsulated):
        with contextlib.suppress(MalformedMessage):
            packet = decode(data)
            assert decode(codec.encode(packet)) == packet


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-5, 2**64 - 1), st.binary(max_size=20), st.text(max_size=5))
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=5), max_leaves=6)


@quick
@given(st.integers(-1, 8), st.lists(VALUES, max_size=10))
def test_msgpack_of_any_shape_at_the_packet_decoder(tag: int, fields: list[object]) -> None:
    data = msgspec.msgpack.encode([tag, *fields])
    with contextlib.suppress(MalformedMessage):
        packet = codec.decode(data)
        assert isinstance(packet, packets.Packet)


@quick
@given(st.data())
def test_changed_packets_at_the_packet_decoder(data: st.DataObject) -> None:
    ring = RingId(4, 1)
    samples: list[packets.AnyPacket] = [
        packets.Mcast(ring, 1, 1, Guarantee.AGREED, False, b"body"),
        packets.Token(ring, 1, 9, 5, 1, 2, 3, False, (6, 7)),
        packets.Join((1, 2), (3,), 4, 5, False, 6),
        packets.CommitToken(ring, 0, 1, (1, 2), (packets.MemberEntry(ring, 1, 1, True),)),
        packets.MergeDetect(ring),
        packets.HoldCancel(ring),
    ]
    sample = data.draw(st.sampled_from(samples))
    changed = bytearray(codec.encode(sample))
    for at in data.draw(st.lists(st.integers(0, len(changed) - 1), min_size=1, max_size=4)):
        changed[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedMessage):
        codec.decode(bytes(changed))


# -- the test link's commands


@quick
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_any_bytes_at_the_command_socket(text: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        Faults(seed=1).command(read_command(text))
