"""The socket of the quorum process, and what its peers put on the ring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from fuzzkit.examples import encoded_examples
from fuzzkit.target import MSGPACK_BOMBS, Target, join_chunks, split_chunks
from fuzzkit.targets_ipc import PEER, RING, client_end, server_end
from totemd.ipc.codec import Codec, encode
from totemd.ipc.errors import MalformedMessage
from totemd.ipc.messages import quorum, stream
from totemd.services.quorum.engine import SERVICE, Engine
from totemd.services.quorum.rules import Own, Rules
from totemd.services.quorum.wire import (
    CancelWait,
    Leaving,
    Order,
    Record,
    Recount,
    Reloaded,
    SetExpected,
    SetVotes,
    decode_order,
    decode_record,
    enclose_order,
    encode_record,
)
from totemd.services.sync import enclose_state

EPOCH = stream.Epoch(RING, 0)
CLIENT: Codec[Any] = Codec(quorum.TO_CLIENT)


def _check_header(data: bytes) -> bool:
    """First byte: which of them."""
    decode: Callable[[memoryview], Any] = (decode_order, decode_record)[data[0] % 2 if data else 0]
    try:
        decoded = decode(memoryview(data)[1:])
    except MalformedMessage:
        return False
    assert decode(memoryview(msgspec.msgpack.encode(decoded))) == decoded
    return True


def _headers() -> Iterator[bytes]:
    for number, union in enumerate((Order, Record)):
        yield from (bytes([number]) + each for each in encoded_examples(union))


def _submissions() -> Iterator[bytes]:
    rules = Rules(True, True, True, 100, "lowest", True)
    for record in (
        Record(1, 1, 2, 2, Rules()),
        Record(1, 2**32 - 1, 2**32 - 1, 0, rules, False, True, {1: 1, PEER: 2**32 - 1}, EPOCH),
        Record(1, 1, 2, 2, Rules(tie_breaker="7 1"), False, True, {PEER: 1}, EPOCH),
    ):
        yield join_chunks([enclose_state(EPOCH, encode_record(record))])
    state = enclose_state(EPOCH, encode_record(Record(1, 1, 2, 2, Rules(False, True, True, 1, "lowest", True))))
    orders: tuple[Order, ...] = (
        SetExpected(1, 1, 9), SetVotes(1, 2, 1, 5), CancelWait(1, 3), Recount(1, 4, EPOCH, 1), Leaving(1, 5),
        Reloaded(1, 6, 3, None, rules), Reloaded(1, 6, None, 1, rules),
    )  # fmt: skip
    yield join_chunks([state, *map(enclose_order, orders)])


def _check_submissions(data: bytes) -> bool:
    """An engine on a ring of two; whatever its peer submits, it goes on, and what it says can be read by everybody."""
    engine = Engine(1, Own(1, 2, Rules(False, True, True, 1, "lowest", True), True))
    engine.attach(stream.Attached(1, RING, (1, PEER), {1: (SERVICE,), PEER: (SERVICE,)}), 1)
    engine.event(stream.Regular(RING, (1, PEER), (1,)), b"", 0.0)
    for node in (1, PEER):
        engine.event(stream.ServiceList(node, RING, (SERVICE,)), b"", 0.0)
    own = enclose_state(EPOCH, encode_record(engine.record))
    engine.event(stream.Delivered(1, RING, 1), own, 0.0)
    chunks = list(split_chunks(data))
    for position, chunk in enumerate(chunks, start=2):
        engine.event(stream.Delivered(PEER, RING, position), chunk, float(position))
        engine.time_passed(position + 0.5)
        engine.flush()
        engine.take_effects()
        assert decode_record(encode_record(engine.record)) == engine.record
        CLIENT.decode([encode(quorum.Changed(engine.count()))])
    malformed = engine.malformed
    engine.event(stream.Delivered(PEER, RING, len(chunks) + 2), own, 0.0)
    assert engine.synchronised
    return bool(chunks) and malformed == 0


TARGETS = (
    server_end("quorum-socket", quorum.FROM_CLIENT),
    client_end("quorum-socket", quorum.TO_CLIENT),
    Target("quorum-headers", _check_header, _headers, MSGPACK_BOMBS),
    Target("quorum-submissions", _check_submissions, _submissions, MSGPACK_BOMBS),
)
