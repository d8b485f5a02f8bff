"""What the sam processes tell each other, what they keep on disk, and the socket of those that run on one node."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from fuzzkit.examples import encoded_examples
from fuzzkit.target import MSGPACK_BOMBS, Target, join_chunks, split_chunks
from fuzzkit.targets_ipc import PEER, RING, client_end, server_end
from totemd.ipc.errors import MalformedMessage
from totemd.ipc.ids import Address
from totemd.ipc.messages import sam_singleton
from totemd.ipc.messages.quorum import Count, NodeVotes
from totemd.sam.ballots import decode_record
from totemd.sam.cluster.council import Council
from totemd.sam.cluster.effects import Keep, Send
from totemd.sam.cluster.messages import (
    VERSION,
    Apps,
    Candidate,
    Claim,
    Head,
    Message,
    Release,
    SharedApp,
    Standing,
    Stored,
    Vote,
    decode,
    encode,
)
from totemd.sam.cluster.promises import Record
from totemd.sam.cluster.roll import Roll
from totemd.sam.cluster.timing import Timing

HERE, THERE = Address(1, 10), Address(PEER, 20)

MESSAGES: tuple[Message, ...] = (
    Standing((Candidate("db", 1, 1), Candidate("web", 2**53, 2**63 - 1, 9)), (Head("db", 9, 1),)),
    Standing(),
    Claim("db", 1, 5_000_000, 6000),
    Claim("db", 2**53 - 1, 2**63 - 1, 0, True),
    Vote(1, 10, "db", 1, 5_000_000, True),
    Vote(1, 10, "db", 1, 5_000_000, False, 6000, 2**53 - 1),
    Release("db", 1),
    Stored("db", 1, 1, b"data"),
    Apps(True, (SharedApp("db", 7, "running", 1, "restart", 1),)),
    Apps(False, (), ("db",)),
)


def _check_message(data: bytes) -> bool:
    try:
        message = decode(data)
    except MalformedMessage:
        return False
    assert decode(encode(message)) == message
    return True


def _messages() -> Iterator[bytes]:
    yield from map(encode, MESSAGES)


def _check_record(data: bytes) -> bool:
    try:
        record = decode_record(data)
    except MalformedMessage:
        return False
    assert decode_record(msgspec.msgpack.encode(record)) == record
    return True


def _records() -> Iterator[bytes]:
    yield from encoded_examples(Record)


def _check_council(data: bytes) -> bool:
    """One of two quorate nodes with a candidate; whatever the other one says, what this one says can be read."""
    council, roll = Council(HERE, Timing.of_ring(1.0, 1.2), Record(), 1.0), Roll()
    nodes = (NodeVotes(1, 1), NodeVotes(PEER, 1))
    roll.become((HERE, THERE))
    council.enlist(1, "db", 1.0, 1.0)
    council.members((HERE, THERE), 1.0)
    council.ring(RING, 1.0)
    council.count(Count(True, 1, RING, nodes, 2, 2, 2, ("Quorate",), False), 1.0)
    read = 0
    for number, chunk in enumerate(split_chunks(data)):
        try:
            message = decode(chunk)
        except MalformedMessage:
            continue
        read += 1
        if isinstance(message, Apps):
            roll.deliver(THERE, message)
        else:
            council.deliver(THERE, message, 2.0 + number)
        council.expire(2.5 + number)
        for effect in council.take_effects():
            match effect:
                case Send(told):
                    assert decode(encode(told)) == told
                case Keep(record):
                    assert decode_record(msgspec.msgpack.encode(record)) == record
    assert council.next_deadline() is not None or council.own
    return read > 0


def _conversations() -> Iterator[bytes]:
    yield join_chunks(map(encode, MESSAGES))


TARGETS = (
    server_end("singleton-socket", sam_singleton.TO_SAM),
    client_end("singleton-socket", sam_singleton.FROM_SAM),
    Target("sam-group", _check_message, _messages, tuple(bytes([VERSION]) + bomb for bomb in MSGPACK_BOMBS)),
    Target("sam-council", _check_council, _conversations, MSGPACK_BOMBS),
    Target("singletons-record", _check_record, _records, MSGPACK_BOMBS),
)
