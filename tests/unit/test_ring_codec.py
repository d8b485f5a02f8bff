"""Packets survive the wire; contradictory ones do not."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.executive.totem.wire.codec import MCAST_OVERHEAD_BYTES, decode, decode_encapsulated, encode
from totemd.executive.totem.wire.packets import (
    AnyPacket,
    CommitToken,
    HoldCancel,
    Join,
    Mcast,
    MemberEntry,
    MergeDetect,
    Token,
)
from totemd.ipc.errors import MalformedMessage
from totemd.ipc.ids import NODE_ID_MAX, UINT64_MAX, Guarantee, RingId

nodes = st.integers(1, NODE_ID_MAX)
sequences = st.integers(0, UINT64_MAX)
small = st.integers(0, 2**31 - 1)
rings = st.builds(RingId, sequences, nodes)
node_sets = st.lists(nodes, unique=True, max_size=20).map(lambda ids: tuple(sorted(ids)))
mcasts = st.builds(
    Mcast, rings, st.integers(1, UINT64_MAX), nodes, st.sampled_from(Guarantee), st.booleans(), st.binary(max_size=99),
    st.booleans(),
)  # fmt: skip


@st.composite
def tokens(draw: st.DrawFn) -> Token:
    highest = draw(sequences)
    missing = tuple(sorted(draw(st.lists(sequences, unique=True, max_size=20))))
    return Token(
        draw(rings),
        draw(sequences),
        highest,
        draw(st.integers(0, highest)),
        draw(st.integers(0, NODE_ID_MAX)),
        draw(small),
        draw(small),
        draw(st.booleans()),
        missing,
    )


@st.composite
def commit_tokens(draw: st.DrawFn) -> CommitToken:
    members = draw(node_sets.filter(bool))
    entry = st.builds(MemberEntry, rings, sequences, sequences, st.booleans())
    entries = tuple(draw(st.lists(entry, max_size=len(members))))
    return CommitToken(draw(rings), draw(sequences), len(entries), members, entries)


packets = st.one_of(
    mcasts,
    tokens(),
    commit_tokens(),
    st.builds(Join, node_sets, node_sets, sequences, sequences, st.booleans(), st.integers(0, 2**32 - 1)),
    st.builds(MergeDetect, rings),
    st.builds(HoldCancel, rings),
)


@given(packets)
def test_round_trip(packet: AnyPacket) -> None:
    assert decode(encode(packet)) == packet


@given(mcasts)
def test_overhead_is_an_upper_bound(frame: Mcast) -> None:
    assert len(encode(frame)) <= len(frame.body) + MCAST_OVERHEAD_BYTES


@given(packets, st.data())
def test_damaged_packets_are_decoded_or_refused(packet: AnyPacket, data: st.DataObject) -> None:
    damaged = bytearray(encode(packet))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    for candidate in (bytes(damaged), bytes(damaged[:cut])):
        with contextlib.suppress(MalformedMessage):
            decode(candidate)


RING = RingId(8, 1)


@pytest.mark.parametrize(
    "packet",
    [
        Token(RING, 0, 5, 6, 0, 0, 0, False, ()),
        Token(RING, 0, 5, 5, 0, 0, 0, False, (3, 2)),
        Join((2, 1), (), 0, 0, False, 0),
        Join((1, 1), (), 0, 0, False, 0),
        CommitToken(RING, 0, 0, (2, 1), ()),
        CommitToken(RING, 0, 1, (1, 2), ()),
        CommitToken(RING, 0, 2, (1,), (MemberEntry(RING, 0, 0, False),) * 2),
        Mcast(RING, 0, 1, Guarantee.AGREED, False, b""),
        MergeDetect(RingId(1, 0)),
        MergeDetect(RING, (3, 2)),
        MergeDetect(RING, (2, 3), (3, 2)),
    ],
)
def test_contradictions_are_refused(packet: AnyPacket) -> None:
    with pytest.raises(MalformedMessage):
        decode(encode(packet))


def test_encapsulation_is_one_level_deep() -> None:
    inner = Mcast(RING, 3, 1, Guarantee.SAFE, False, b"payload")
    assert decode_encapsulated(encode(inner)) == inner
    with pytest.raises(MalformedMessage):
        decode_encapsulated(encode(Mcast(RING, 3, 1, Guarantee.SAFE, True, encode(inner))))
    with pytest.raises(MalformedMessage):
        decode_encapsulated(b"\xc1")
