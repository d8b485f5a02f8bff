"""The sockets of a node: every message of every direction, as both ends read it; and what services put on the ring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from fuzzkit.examples import encoded_examples
from fuzzkit.target import MSGPACK_BOMBS, Target, join_chunks, split_chunks
from totemd.executive.totem import announcements
from totemd.executive.totem.links.faults import Faults, read_command
from totemd.ipc.channel import SERVER_COMMON, ClientChannel, Garbled
from totemd.ipc.codec import Codec, encode
from totemd.ipc.errors import MalformedMessage
from totemd.ipc.ids import Guarantee, Reason, RingId
from totemd.ipc.messages import control, cpg, sam, sam_app, stream
from totemd.ipc.messages.common import Done, Goodbye, Refused, Unwelcome, Welcome
from totemd.services.cpg.batches import pack_length, split
from totemd.services.cpg.engine import SERVICE, Engine
from totemd.services.cpg.wire import (
    Header,
    JoinList,
    Mcast,
    ProcJoin,
    ProcLeave,
    decode_header,
    decode_join_list,
    encode_join_list,
)
from totemd.services.envelope import Kind, disclose, enclose
from totemd.services.sync import decode_epoch, enclose_state

CLIENT_COMMON = Welcome | Refused | Unwelcome | Done | Goodbye
"""What every connecting end understands besides its own messages."""

PEER = 7
RING = RingId(8, 1)


def server_end(name: str, union: Any) -> Target:
    codec: Codec[Any] = Codec(union | SERVER_COMMON)

    def check(data: bytes) -> bool:
        try:
            message, payload = codec.decode([data, b"payload"])
        except MalformedMessage:
            return False
        again, _ = codec.decode([encode(message)])
        assert encode(again) == encode(message) and payload == [b"payload"]
        return True

    return Target(f"{name}-server", check, lambda: encoded_examples(union | SERVER_COMMON), MSGPACK_BOMBS)


def client_end(name: str, union: Any) -> Target:
    codec: Codec[Any] = Codec(union | CLIENT_COMMON)

    def check(data: bytes) -> bool:
        for is_open in (False, True):
            channel: ClientChannel[Any, int] = ClientChannel("fuzz", union)
            if is_open:
                channel.receive([encode(Welcome((1, 0), 1, 1, 1))])
            channel.expect(1)
            happening = channel.receive([data, b"payload"])
        if isinstance(happening, Garbled):
            return False
        message, _ = codec.decode([data])
        again, _ = codec.decode([encode(message)])
        assert encode(again) == encode(message)
        return True

    return Target(f"{name}-client", check, lambda: encoded_examples(union | CLIENT_COMMON), MSGPACK_BOMBS)


def _plain(decode: Callable[[bytes], Any], encode_again: Callable[[Any], bytes]) -> Callable[[bytes], bool]:
    def check(data: bytes) -> bool:
        try:
            decoded = decode(data)
        except MalformedMessage:
            return False
        assert encode_again(decode(encode_again(decoded))) == encode_again(decoded)
        return True

    return check


# -- what a cpg process takes from the ring


def _submissions() -> Iterator[bytes]:
    header = msgspec.msgpack.Encoder().encode
    yield join_chunks([enclose(Kind.APPLICATION, header(ProcJoin(b"g", 5, 1)))])
    yield join_chunks([enclose(Kind.APPLICATION, header(ProcLeave(b"g", 5, 1, Reason.LEAVE)))])
    batch = pack_length(2) + b"hi"
    yield join_chunks([enclose(Kind.APPLICATION, header(Mcast(b"g", 5, 1, 1, Guarantee.AGREED, RING)), (batch,))])
    state = enclose_state(stream.Epoch(RING, 0), encode_join_list(JoinList(1, {b"g": (5, 6)})))
    yield join_chunks([state])
    yield join_chunks([state, enclose(Kind.APPLICATION, header(ProcJoin(b"h", 9, 1))), state])


def _check_submissions(data: bytes) -> bool:
    """An engine on a ring of two; whatever its peer submits, it goes on, and its own exchange completes."""
    engine = Engine()
    engine.attach(stream.Attached(1, RING, (1, PEER), {1: (SERVICE,), PEER: (SERVICE,)}), 2**20, 1)
    engine.event(stream.Regular(RING, (1, PEER), (1,)))
    for node in (1, PEER):
        engine.event(stream.ServiceList(node, RING, (SERVICE,)))
    own = enclose_state(stream.Epoch(RING, 0), encode_join_list(JoinList(1, {})))
    position = 1
    engine.event(stream.Delivered(1, RING, position), own)
    chunks = list(split_chunks(data))
    for chunk in chunks:
        position += 1
        engine.event(stream.Delivered(PEER, RING, position), chunk)
        engine.take_effects()
    malformed = engine.counters.malformed
    engine.event(stream.Delivered(PEER, RING, position + 1), own)
    assert engine.synchronised
    return bool(chunks) and malformed == 0


def _check_header(data: bytes) -> bool:
    """First byte: which of them."""
    decode: Callable[[memoryview], Any] = (decode_epoch, decode_header, decode_join_list)[data[0] % 3 if data else 0]
    try:
        decoded = decode(memoryview(data)[1:])
    except MalformedMessage:
        return False
    again = msgspec.msgpack.encode(decoded)
    assert decode(memoryview(again)) == decoded
    return True


def _headers() -> Iterator[bytes]:
    for number, union in enumerate((stream.Epoch, Header, JoinList)):
        yield from (bytes([number]) + each for each in encoded_examples(union))


def _check_envelope(data: bytes) -> bool:
    try:
        kind, header, body = disclose(data)
    except MalformedMessage:
        return False
    assert enclose(kind, bytes(header), (body,)) == data
    return True


def _check_batch(data: bytes) -> bool:
    """First byte: how many messages are said to be in it."""
    count, body = max(1, data[0] if data else 1), data[1:]
    try:
        messages = split(body, count)
    except MalformedMessage:
        return False
    assert b"".join(pack_length(len(each)) + each for each in messages) == body and len(messages) == count
    return True


def _batches() -> Iterator[bytes]:
    yield b"\x01" + pack_length(0)
    yield b"\x03" + b"".join(pack_length(size) + bytes(size) for size in (0, 1, 300))


def _check_command(data: bytes) -> bool:
    try:
        Faults(seed=1).command(read_command(data))
    except MalformedMessage:
        return False
    return True


def _commands() -> Iterator[bytes]:
    yield b"{}"
    yield b'{"heal": true, "block": [2], "block_send": [1], "block_receive": [], "loss": 0.5, "seed": 1}'


TARGETS = (
    server_end("executive-of-children", control.FROM_CHILD),
    client_end("executive-of-children", control.TO_CHILD),
    server_end("executive-of-totemctl", control.FROM_TOTEMCTL),
    client_end("executive-of-totemctl", control.TO_TOTEMCTL),
    server_end("totem-socket", stream.FROM_SERVICE),
    client_end("totem-socket", stream.TO_SERVICE),
    server_end("cpg-socket", cpg.FROM_CLIENT),
    client_end("cpg-socket", cpg.TO_CLIENT),
    server_end("sam-socket", sam.TO_SAM),
    client_end("sam-socket", sam.FROM_SAM),
    server_end("application-socket", sam_app.FROM_APP),
    client_end("application-socket", sam_app.TO_APP),
    Target(
        "announcement",
        _plain(announcements.decode, announcements.encode),
        lambda: encoded_examples(announcements.Announcement),
        MSGPACK_BOMBS,
    ),
    Target("envelope", _check_envelope, lambda: [b"".join(enclose(kind, b"head", (b"body",)) for kind in Kind)]),
    Target("cpg-headers", _check_header, _headers, MSGPACK_BOMBS),
    Target("cpg-submissions", _check_submissions, _submissions, MSGPACK_BOMBS),
    Target("batch", _check_batch, _batches),
    Target("faulty-link-command", _check_command, _commands, (b"[" * 3000, b'{"a":' * 3000)),
)
