"""Seal and open: what gets through, what does not, and that no nonce is used twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from totemd.executive.totem.wire import seal
from totemd.executive.totem.wire.refusals import InvalidDigest, MalformedFrame, Refusal, Refused
from totemd.executive.totem.wire.seal import EVERYBODY, ClusterSecret, FrameKind, OpenedFrame, Opener, Sealer
from totemd.executive.totem.wire.suites import NONCE_BYTES, Suite
from totemd.ipc.errors import InvalidArgument

KEY = bytes(range(128))
BOOT = b"boot-of-sixteen!"
HEADER_BYTES = 40

every_suite = pytest.mark.parametrize("suite", list(Suite), ids=lambda suite: suite.label)
every_key = pytest.mark.parametrize("suite", [suite for suite in Suite if suite.authenticates], ids=lambda s: s.label)


def secret(suite: Suite, cluster: str = "alpha", key: bytes = KEY) -> ClusterSecret:
    return ClusterSecret(suite, cluster, key)


def refusal(opener: Opener, frame: bytes) -> Refusal:
    with pytest.raises(Refused) as caught:
        opener.open(frame)
    return caught.value.refusal


@every_suite
@pytest.mark.parametrize("size", [0, 1, 200, seal.PAYLOAD_BYTES_MAX])
def test_what_is_sealed_can_be_opened(suite: Suite, size: int) -> None:
    payload = bytes(size)
    frame = Sealer(secret(suite), 7, BOOT).seal(FrameKind.PACKET, payload)
    assert Opener(secret(suite)).open(frame) == OpenedFrame(EVERYBODY, 7, BOOT, 0, FrameKind.PACKET, payload)
    assert len(frame) <= size + seal.FRAME_OVERHEAD_BYTES


@every_suite
def test_a_frame_names_its_receiver(suite: Suite) -> None:
    frame = Sealer(secret(suite), 7, BOOT).seal(FrameKind.PACKET, b"token", to=8)
    assert Opener(secret(suite)).open(frame).to == 8
    with pytest.raises(InvalidDigest):
        Opener(secret(suite)).open(frame[:11] + b"\x09" + frame[12:])


@every_suite
def test_counters_count_and_kinds_are_kept(suite: Suite) -> None:
    sealer, opener = Sealer(secret(suite), 7, BOOT), Opener(secret(suite))
    opened = [opener.open(sealer.seal(kind, b"x")) for kind in FrameKind]
    assert [(frame.counter, frame.kind) for frame in opened] == list(enumerate(FrameKind))
    assert sealer.counter == len(FrameKind)


@every_suite
def test_a_changed_bit_anywhere_is_noticed(suite: Suite) -> None:
    frame = Sealer(secret(suite), 7, BOOT).seal(FrameKind.PACKET, b"forty-two bytes that must not be changed!!")
    opener = Opener(secret(suite))
    for at in range(len(frame)):
        for bit in range(8):
            changed = bytearray(frame)
            changed[at] ^= 1 << bit
            with pytest.raises(Refused):
                opener.open(bytes(changed))
    assert opener.open(frame).payload.startswith(b"forty-two")


@every_suite
def test_a_cut_or_lengthened_frame_is_noticed(suite: Suite) -> None:
    frame = Sealer(secret(suite), 7, BOOT).seal(FrameKind.PACKET, b"payload")
    opener = Opener(secret(suite))
    for other in (*(frame[:length] for length in range(len(frame))), frame + b"\0"):
        with pytest.raises(Refused):
            opener.open(other)


@every_key
def test_another_key_is_an_invalid_digest(suite: Suite) -> None:
    frame = Sealer(secret(suite), 7, BOOT).seal(FrameKind.PACKET, b"payload")
    with pytest.raises(InvalidDigest) as caught:
        Opener(secret(suite, key=KEY[::-1])).open(frame)
    assert caught.value.refusal is Refusal.INVALID_DIGEST


def test_reasons_are_told_apart() -> None:
    opener = Opener(secret(Suite.AES256))
    frame = Sealer(secret(Suite.AES256), 7, BOOT).seal(FrameKind.PACKET, b"payload")
    assert refusal(opener, b"") is Refusal.BAD_FRAME
    assert refusal(opener, b"\0" + frame[1:]) is Refusal.BAD_FRAME
    assert refusal(opener, frame[:1] + b"\2" + frame[2:]) is Refusal.BAD_VERSION
    assert refusal(opener, frame[:3] + b"\x09" + frame[4:]) is Refusal.BAD_FRAME
    assert refusal(opener, frame[:12] + bytes(4) + frame[16:]) is Refusal.BAD_FRAME
    assert refusal(opener, Sealer(secret(Suite.AES128), 7, BOOT).seal(FrameKind.PACKET, b"")) is Refusal.OTHER_SUITE
    other = secret(Suite.AES256, cluster="beta")
    assert refusal(opener, Sealer(other, 7, BOOT).seal(FrameKind.PACKET, b"")) is Refusal.OTHER_CLUSTER
    long = frame + bytes(seal.PAYLOAD_BYTES_MAX)
    assert refusal(opener, long) is Refusal.BAD_FRAME


def test_without_a_cipher_damage_is_told_from_a_wrong_key() -> None:
    frame = Sealer(secret(Suite.NONE, key=b""), 7, BOOT).seal(FrameKind.PACKET, b"payload")
    damaged = frame[:-1] + bytes([frame[-1] ^ 1])
    assert refusal(Opener(secret(Suite.NONE)), damaged) is Refusal.DAMAGED_FRAME


@every_key
def test_who_reads_the_wire(suite: Suite) -> None:
    frame = Sealer(secret(suite), 7, BOOT).seal(FrameKind.PACKET, b"attack at dawn")
    assert (b"attack at dawn" in frame) == (suite is Suite.GMAC)


@every_key
def test_a_cluster_key_serves_every_cluster_suite_sender_and_boot_with_a_key_of_its_own(suite: Suite) -> None:
    payload = b"the same bytes"
    frames = {
        Sealer(secret(suite, cluster, key), sender, boot).seal(FrameKind.PACKET, payload)[HEADER_BYTES:]
        for cluster in ("alpha", "beta")
        for key in (KEY, KEY[1:])
        for sender in (7, 8)
        for boot in (BOOT, BOOT[::-1])
    }
    assert len(frames) == 16


def test_no_nonce_is_used_twice_under_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[tuple[bytes, bytes]] = []

    @dataclasses.dataclass
    class Recorder:
        key: bytes

        def seal(self, nonce: bytes, header: bytes, payload: bytes) -> bytes:
            used.append((self.key, nonce))
            return payload

        def open(self, nonce: bytes, header: bytes, sealed: bytes) -> bytes:
            return sealed

    def recorder(_: Suite, key: bytes) -> Recorder:
        return Recorder(key)

    monkeypatch.setattr(Suite, "protection", recorder)
    shared = secret(Suite.AES256)
    for number in range(300):
        for sender in (1, 2):
            sealer = Sealer(shared, sender, number.to_bytes(16, "big"))
            for kind in (*FrameKind, FrameKind.PACKET):
                sealer.seal(kind, b"")
    assert len(set(used)) == len(used) == 300 * 2 * (len(FrameKind) + 1)
    assert {len(nonce) for _, nonce in used} == {NONCE_BYTES}


def sealers(count: int, shared: ClusterSecret) -> Iterator[Sealer]:
    for number in range(count):
        yield Sealer(shared, 7, number.to_bytes(16, "big"))


def test_contexts_are_bounded_and_strangers_get_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "CONTEXTS_MAX", 4)
    shared = secret(Suite.AES256)
    opener = Opener(shared)
    frames = [sealer.seal(FrameKind.PACKET, b"x") for sealer in sealers(10, shared)]
    for frame in frames:
        opener.open(frame)
    assert len(opener._contexts) == 4
    kept = list(opener._contexts)
    for sealer in sealers(10, secret(Suite.AES256, key=b"another")):
        assert refusal(opener, sealer.seal(FrameKind.PACKET, b"x")) is Refusal.INVALID_DIGEST
    assert list(opener._contexts) == kept
    assert opener.open(frames[0]).payload == b"x"


def test_the_suite_of_a_configuration() -> None:
    assert Suite.chosen("none", integrity=False) is Suite.NONE
    assert Suite.chosen("none", integrity=True) is Suite.GMAC
    assert Suite.chosen("aes192", integrity=True) is Suite.AES192
    assert Suite.chosen("chacha20poly1305", integrity=False) is Suite.CHACHA20POLY1305
    for unknown in ("3des", "gmac", ""):
        with pytest.raises(InvalidArgument, match="there are none, aes128"):
            Suite.chosen(unknown, integrity=False)


def test_what_cannot_be_sealed() -> None:
    with pytest.raises(InvalidArgument, match="needs the cluster key"):
        secret(Suite.GMAC, key=b"")
    with pytest.raises(InvalidArgument, match="16 random bytes"):
        Sealer(secret(Suite.AES256), 7, b"short")
    with pytest.raises(InvalidArgument, match="node id"):
        Sealer(secret(Suite.AES256), 0, BOOT)
    with pytest.raises(InvalidArgument, match="at most 262144 bytes"):
        Sealer(secret(Suite.AES256), 7, BOOT).seal(FrameKind.PACKET, bytes(seal.PAYLOAD_BYTES_MAX + 1))


def test_a_frame_too_short_for_its_seal_is_malformed() -> None:
    for suite in Suite:
        frame = Sealer(secret(suite), 7, BOOT).seal(FrameKind.PACKET, b"")
        with pytest.raises(MalformedFrame):
            Opener(secret(suite)).open(frame[: HEADER_BYTES + 3])
