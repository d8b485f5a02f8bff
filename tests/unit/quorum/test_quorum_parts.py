"""The parts around the count: files, what clients know, who is told, what is printed and sent."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from totemd.executive.control.quorum import count_as_json, text
from totemd.ipc.channel import Session
from totemd.ipc.codec import Codec, encode
from totemd.ipc.errors import AccessDenied, MalformedMessage, NotFound, OperationFailed
from totemd.ipc.ids import RingId
from totemd.ipc.messages.quorum import (
    FROM_CLIENT,
    UNSEEN_MAX,
    VOTES_MAX,
    Changed,
    Count,
    Expect,
    NodeVotes,
    Seen,
    Standing,
    Track,
)
from totemd.ipc.messages.stream import Epoch
from totemd.services.quorum.audience import Audience
from totemd.services.quorum.report import joined_and_left, keys, members_line
from totemd.services.quorum.rules import Rules
from totemd.services.quorum.service import _require_owner
from totemd.services.quorum.store import Store, life_of
from totemd.services.quorum.tracking import EVENTS_MAX, Tracker
from totemd.services.quorum.view import socket_path
from totemd.services.quorum.votes import merged
from totemd.services.quorum.wire import Record, SetVotes, decode_order, decode_record, encode_record

EPOCH = Epoch(RingId(0x2F, 1), 0)
RECORD = Record(7, 1, 3, 3, Rules(wait_for_all=True), False, True, {1: 1, 2: 1}, EPOCH)
COUNT = Count(
    quorate=True,
    node_id=2,
    ring=RingId(0x2F, 1),
    nodes=(NodeVotes(1, 1, "alpha"), NodeVotes(2, 1, "beta")),
    expected_votes=3,
    total_votes=2,
    quorum=2,
    flags=("Quorate", "WaitForAll"),
    waiting_for_all=False,
)


def other(total: int) -> Count:
    return msgspec.structs.replace(COUNT, total_votes=total)


# -- files


def test_a_memory_holds_for_one_run_of_the_node(tmp_path: Path) -> None:
    store = Store(tmp_path / "state", 2, "11:1")
    assert store.memory() is None
    store.remember(RECORD)
    assert store.memory() == RECORD == Store(tmp_path / "state", 2, "11:1").memory()
    assert Store(tmp_path / "state", 2, "11:2").memory() is None, "the node was started again"
    assert stat.S_IMODE(store.memory_path.stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["quorum_2"]


@pytest.mark.parametrize("content", [b"", b"\x92", b"nothing of ours"])
def test_a_damaged_memory_is_none(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path, 1, "1")
    store.memory_path.write_bytes(content)
    assert store.memory() is None


def test_tracked_votes_are_kept_in_corosyncs_file(tmp_path: Path) -> None:
    store = Store(tmp_path, 1, "1")
    assert store.tracked() == 0
    store.track(13)
    assert store.tracked() == 13
    assert (tmp_path / "ev_tracking").read_bytes() in (b"\x0d\0\0\0", b"\0\0\0\x0d")


def test_damaged_tracked_votes_and_a_directory_that_cannot_be_are_said(tmp_path: Path) -> None:
    store = Store(tmp_path, 1, "1")
    store.tracking_path.write_bytes(b"abc")
    with pytest.raises(OperationFailed, match="holds 3 bytes instead of 4"):
        store.tracked()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OperationFailed, match="cannot be written"):
        Store(tmp_path / "file", 1, "1").track(3)


def test_a_life_has_a_name_of_its_own() -> None:
    assert life_of(1) == life_of(1) != life_of(2**22 + 1)


# -- who may change votes


def test_only_root_and_the_owner_change_votes() -> None:
    _require_owner(Session(b"", "client", os.geteuid(), 0, 1))
    with pytest.raises(AccessDenied, match="user 12345 may look"):
        _require_owner(Session(b"", "client", 12345, 12345, 1))


# -- what a client knows


def known() -> Tracker:
    tracker = Tracker()
    tracker.welcomed()
    assert tracker.outgoing == [Track()]
    tracker.arrived(Standing(0, COUNT))
    return tracker


def test_how_it_stands_is_no_event_and_a_change_is() -> None:
    tracker = known()
    assert tracker.introduced and tracker.quorate and tracker.take() is None
    tracker.arrived(Changed(other(1)))
    assert tracker.take() == other(1) and tracker.take() is None
    assert tracker.outgoing[-1] == Seen(1)


def test_a_lost_connection_counts_as_lost_quorum() -> None:
    tracker = known()
    tracker.lost()
    assert not tracker.quorate and not tracker.introduced
    status = tracker.take()
    assert status is not None
    assert (status.quorate, status.ring, status.members, status.flags) == (False, None, (), ("WaitForAll",))
    tracker.lost()
    assert tracker.take() is None, "once is enough"
    tracker.welcomed()
    tracker.arrived(Standing(0, COUNT))
    assert tracker.take() == COUNT


def test_an_application_that_does_not_read_keeps_the_latest() -> None:
    tracker = known()
    for total in range(EVENTS_MAX + 10):
        tracker.arrived(Changed(other(100 + total)))
    events = [tracker.take() for _ in range(EVENTS_MAX)]
    assert tracker.take() is None
    assert events[0] == other(100) and events[-1] == other(100 + EVENTS_MAX + 9)


def test_a_node_without_provider_is_told_from_one_that_does_not_run(tmp_path: Path) -> None:
    assert socket_path(tmp_path) == tmp_path / "quorum.sock"
    (tmp_path / "executive.sock").touch()
    with pytest.raises(NotFound, match=r"quorum\.provider"):
        socket_path(tmp_path)


# -- who is told


def test_who_does_not_read_is_told_the_latest_when_it_reads_again() -> None:
    audience = Audience()
    audience.enter("slow")
    audience.enter("slow")
    for _ in range(UNSEEN_MAX):
        assert audience.receivers() == ["slow"]
    assert audience.receivers() == [] and len(audience) == 1
    assert not audience.seen("slow", 1), "it has not read all"
    assert audience.receivers() == ["slow"], "there is room for one"
    assert audience.receivers() == []
    assert audience.seen("slow", UNSEEN_MAX)
    assert not audience.seen("slow", 1)


def test_strangers_and_leavers_are_not_told() -> None:
    audience = Audience()
    assert not audience.seen("stranger", 5)
    audience.enter("one")
    audience.leave("one")
    audience.leave("one")
    assert audience.receivers() == []


# -- words


def test_the_output_has_the_shape_of_corosync_quorumtool() -> None:
    lines = text(COUNT, "Sat Jan  4 10:11:12 2031").splitlines()
    assert lines == [
        "Quorum information",
        "------------------",
        "Date:             Sat Jan  4 10:11:12 2031",
        "Quorum provider:  corosync_votequorum",
        "Nodes:            2",
        "Node ID:          2",
        "Ring ID:          1.2f",
        "Quorate:          Yes",
        "",
        "Votequorum information",
        "----------------------",
        "Expected votes:   3",
        "Highest expected: 3",
        "Total votes:      2",
        "Quorum:           2",
        "Flags:            Quorate WaitForAll",
        "",
        "Membership information",
        "----------------------",
        "    Nodeid      Votes Name",
        "         1          1 alpha",
        "         2          1 beta (local)",
    ]


def test_activity_is_blocked_without_quorum() -> None:
    lost = msgspec.structs.replace(COUNT, quorate=False, flags=(), ring=None, waiting_for_all=True)
    shown = text(lost, "")
    assert "Quorum:           2 Activity blocked\nFlags:\nWaiting:          for all nodes at once" in shown
    assert "Ring ID:          -" in shown


def test_json_has_stable_keys() -> None:
    plain = count_as_json(COUNT)
    assert sorted(plain) == [
        *("expected_votes", "flags", "losses", "node_id", "nodes", "provider", "quorate", "quorum", "ring_id"),
        *("total_votes", "waiting_for_all"),
    ]
    assert plain["ring_id"] == {"representative": 1, "sequence": 0x2F}
    assert plain["nodes"][0] == {"node_id": 1, "votes": 1, "name": "alpha"}


def test_corosyncs_log_lines() -> None:
    assert members_line([1, 2]) == "Members[2]: 1 2"
    assert members_line([]) == "Members[0]:"
    assert list(joined_and_left((1, 2), (1, 3), (1, 3))) == [
        "Sync members[2]: 1 3",
        "Sync joined[1]: 3",
        "Sync left[1]: 2",
    ]


@pytest.mark.parametrize(("breaker", "number"), [("", 0), ("lowest", 1), ("highest", 2), ("4 2", 3)])
def test_corosyncs_keys(breaker: str, number: int) -> None:
    record = msgspec.structs.replace(RECORD, rules=Rules(tie_breaker=breaker))
    values = keys(merged({1: record, 2: record}), record, 2, 9)
    assert values["runtime.votequorum.atb_type"] == number
    assert values["runtime.votequorum.lowest_node_id"] == 1
    assert values["runtime.votequorum.highest_node_id"] == 2
    assert values["runtime.votequorum.ev_tracking_barrier"] == 9
    assert values["runtime.votequorum.wait_for_all_status"] == 0
    assert keys(None, RECORD, 2, 0)["runtime.votequorum.this_node_id"] == 2


# -- bytes


def test_a_record_survives_its_way() -> None:
    assert decode_record(encode_record(RECORD)) == RECORD


@given(st.binary(max_size=64))
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    for decode in (decode_record, lambda raw: decode_order(memoryview(raw))):
        try:
            decode(data)
        except MalformedMessage:
            continue


def test_text_that_is_none_is_malformed(tmp_path: Path) -> None:
    """What a peer sends, and what a file holds."""
    spoilt = encode_record(msgspec.structs.replace(RECORD, rules=Rules(tie_breaker="lowest")))
    spoilt = spoilt.replace(b"lowest", b"low\xdd\xffst")
    with pytest.raises(MalformedMessage):
        decode_record(spoilt)
    store = Store(tmp_path, 1, "1")
    store.memory_path.write_bytes(b"\x92\xa11" + spoilt)
    assert store.memory() is None


def test_a_list_of_tie_breakers_may_hold_anything() -> None:
    assert Rules(tie_breaker=f"7 {'9' * 5000} \N{ARABIC-INDIC DIGIT THREE} x 12").tie_breakers == (7, 12)


@pytest.mark.parametrize("votes", [-1, VOTES_MAX + 1])
def test_votes_out_of_range_are_refused_when_they_are_read(votes: int) -> None:
    codec: Codec[Any] = Codec(FROM_CLIENT)
    with pytest.raises(MalformedMessage):
        codec.decode([encode(Expect(votes, 1))])
    with pytest.raises(MalformedMessage):
        decode_order(memoryview(msgspec.msgpack.encode(SetVotes(1, 1, 1, votes))))
