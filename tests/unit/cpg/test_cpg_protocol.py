"""cpg.sock as a stranger to this package sees it: plain ZeroMQ and msgpack (docs/protocol.md)."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import zmq
from cpgkit import Rig, changes, receive, receive_payloads
from totemd import AlreadyMember, Member, Reason
from totemd.ipc.paths import CPG_SOCKET
from totemd.services.cpg.audience import PROBE_SECONDS


class Stranger:
    """A client in some other language."""

    def __init__(self, rig: Rig, node_id: int) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.connect(f"ipc://{rig.run_dirs[node_id] / CPG_SOCKET}")

    def send(self, *payload: bytes, **message: Any) -> None:
        self.socket.send_multipart([msgspec.msgpack.encode(message), *payload])

    def receive(self) -> tuple[dict[str, Any], list[bytes]]:
        assert self.socket.poll(10_000), "nothing came"
        control, *payload = self.socket.recv_multipart()
        return msgspec.msgpack.decode(control), payload

    def until(self, kind: str) -> tuple[dict[str, Any], list[bytes]]:
        while (message := self.receive())[0]["type"] != kind:
            pass
        return message

    def close(self) -> None:
        self.send(type="goodbye")
        self.context.destroy(linger=1_000)


@pytest.fixture
def stranger(pair: Rig) -> Iterator[Stranger]:
    made = Stranger(pair, 1)
    yield made
    made.close()


def test_a_member_in_a_few_lines(pair: Rig, stranger: Stranger) -> None:
    with pair.client(2) as two, two.join("plain") as group:
        stranger.send(type="hello", role="client", protocol=[1, 7], software="a newer minor version", extra={"x": 1})
        welcome, _ = stranger.receive()
        assert welcome["type"] == "welcome" and welcome["node_id"] == 1 and welcome["credit"] >= 1024 * 1024
        limits, _ = stranger.receive()
        assert limits == {"type": "limits", "message_bytes": 1024 * 1024, "batch_bytes": 960 * 1024, "unread_ms": 0}
        ring, _ = stranger.receive()
        assert ring["type"] == "ring" and ring["members"] == [1, 2]
        stranger.send(type="join", group=b"plain")
        changed, _ = stranger.receive()
        me = [1, welcome["pid"]]
        assert changed["type"] == "changed" and me in changed["members"] and changed["joined"] == [[*me, 1]]
        stranger.send(b"\x05\0\0\0hello\0\0\0\0", type="mcast", group=b"plain", count=2, guarantee=3)
        assert receive_payloads(group, 2) == [b"hello", b""]
        group.mcast(b"welcome")
        own, batch = stranger.until("messages")
        assert (own["node"], own["pid"], own["count"]) == (1, welcome["pid"], 2) and len(batch[0]) == 13
        _, batch = stranger.until("messages")
        assert batch == [b"\x07\0\0\0welcome"]
        stranger.send(type="consumed", messages=4)
        stranger.send(type="leave", group=b"plain")
        changed, _ = stranger.until("changed")
        assert changed["left"] == [[*me, 2]]
        stranger.send(type="goodbye")


@pytest.mark.parametrize(
    ("protocol", "word"),
    [([2, 0], "major version 1"), ([0, 9], "major version 1"), ("1.0", "protocol"), ([1], "protocol")],
)
def test_a_wrong_version_is_told_what_is_spoken(stranger: Stranger, protocol: object, word: str) -> None:
    stranger.send(type="hello", role="client", protocol=protocol)
    refused, _ = stranger.receive()
    assert refused["type"] == "refused" and word in refused["detail"]


def test_who_has_not_said_hello_is_told_so(stranger: Stranger) -> None:
    stranger.send(type="join", group=b"g")
    assert stranger.receive()[0]["type"] == "unwelcome"


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ({"type": "no such verb"}, "type"),
        ({"type": "join"}, "group"),
        ({"type": "join", "group": b""}, "group"),
        ({"type": "join", "group": b"x" * 129}, "group"),
        ({"type": "join", "group": 5}, "group"),
        ({"type": "mcast", "group": b"g", "count": 0}, "count"),
        ({"type": "mcast", "group": b"g", "count": 1, "guarantee": 1}, "guarantee"),
        ({"type": "consumed", "messages": -1}, "messages"),
    ],
)
def test_a_message_that_is_none_is_refused_by_name(stranger: Stranger, message: dict[str, Any], word: str) -> None:
    stranger.send(type="hello", role="client")
    stranger.until("ring")
    stranger.send(**message)
    refused, _ = stranger.receive()
    assert refused["type"] == "refused" and refused["status"] == "malformed" and word in refused["detail"]
    stranger.send(type="join", group=b"still here")
    assert stranger.receive()[0]["type"] == "changed"


def test_what_was_not_done_is_told_per_group(stranger: Stranger) -> None:
    stranger.send(type="hello", role="client")
    stranger.until("ring")
    stranger.send(type="leave", group=b"never joined")
    failed, _ = stranger.receive()
    assert (failed["type"], failed["verb"], failed["status"]) == ("failed", "leave", "not-member")
    stranger.send(b"\1\0\0\0x", type="mcast", group=b"never joined", count=1)
    assert stranger.until("failed")[0]["verb"] == "mcast"
    stranger.send(type="join", group=b"limit")
    stranger.until("changed")
    size = 1024 * 1024 + 1
    stranger.send(size.to_bytes(4, "little") + bytes(size), type="mcast", group=b"limit", count=1)
    failed, _ = stranger.until("failed")
    assert failed["status"] == "too-large" and "1048576" in failed["detail"]


def test_noise_disturbs_nobody(pair: Rig) -> None:
    chance = random.Random(7)
    with pair.client(2) as two, two.join("noise") as group:
        for greeted in (False, True):
            noise = Stranger(pair, 2)
            if greeted:
                noise.send(type="hello", role="client")
            valid = msgspec.msgpack.encode({"type": "mcast", "group": b"noise", "count": 1, "guarantee": 2})
            for _ in range(2_000):
                first = chance.randbytes(chance.randrange(40))
                if chance.random() < 0.5:
                    mutated = bytearray(valid)
                    mutated[chance.randrange(len(valid))] = chance.randrange(256)
                    first = bytes(mutated)
                noise.socket.send_multipart(
                    [first, *(chance.randbytes(chance.randrange(9)) for _ in range(chance.randrange(3)))]
                )
            noise.until("refused")
            noise.close()
        group.mcast(b"after")
        assert receive_payloads(group, 1) == [b"after"]
        assert pair.processes[2].poll() is None


def ghost(rig: Rig, group: bytes) -> None:
    """A member whose program has closed its socket without a word, and goes on: this process."""
    stranger = Stranger(rig, 1)
    stranger.send(type="hello", role="client", protocol=[1, 0])
    stranger.send(type="join", group=group)
    assert stranger.until("changed")[0]["joined"]
    stranger.context.destroy(linger=0)


def test_who_closes_its_socket_without_a_word_is_out_soon(pair: Rig) -> None:
    with pair.client(2) as two, two.join("ghosts") as group:
        receive(group, 1)
        ghost(pair, b"ghosts")
        came, went = changes(receive(group, 2))
        assert [each.pid for each in came.joined] == [os.getpid()]
        assert went.left == (Member(1, os.getpid(), Reason.PROCESS_DOWN),)


def test_a_process_that_has_closed_its_socket_without_a_word_may_join_with_another(pair: Rig) -> None:
    ghost(pair, b"heirs")
    deadline = time.monotonic() + PROBE_SECONDS / 2
    with pair.client(1) as client:
        while True:
            try:
                group = client.join("heirs")
                break
            except AlreadyMember:  # libzmq has not noticed that the socket is closed
                assert time.monotonic() < deadline
        assert [member.pid for member in group.members] == [os.getpid()]


def greeted(stranger: Stranger) -> list[int]:
    """Say hello; returns who the stranger is."""
    stranger.send(type="hello", role="client")
    welcome, _ = stranger.until("welcome")
    stranger.until("ring")
    return [welcome["node_id"], welcome["pid"]]


def test_a_join_that_is_repeated_changes_nothing(stranger: Stranger) -> None:
    me = greeted(stranger)
    for _ in range(3):
        stranger.send(type="join", group=b"again")
    assert stranger.receive()[0]["joined"] == [[*me, 1]]
    stranger.send(type="join", group=b"again")
    failed, _ = stranger.receive()
    assert (failed["type"], failed["verb"], failed["status"]) == ("failed", "join", "already-member")
    stranger.send(type="say", group=b"again", message=b"still here")
    assert stranger.until("messages")[1] == [b"\x0a\0\0\0still here"]


def test_payload_behind_other_control_frames_is_ignored(stranger: Stranger) -> None:
    me = greeted(stranger)
    stranger.send(b"what is this?", type="join", group=b"more")
    assert stranger.receive()[0]["joined"] == [[*me, 1]]
    stranger.send(b"\1\0\0\0x", type="say", group=b"more", message=b"this")
    assert stranger.until("messages")[1] == [b"\4\0\0\0this"]


@pytest.mark.parametrize(
    ("count", "frames"),
    [
        pytest.param(1, [], id="no frame"),
        pytest.param(1, [b"\1\0\0\0x", *[b""] * 64], id="65 frames"),
        pytest.param(1, [b"\2\0\0\0x"], id="another length"),
        pytest.param(2, [b"\0\0\0\0\0\0\0"], id="two lengths in seven bytes"),
    ],
)
def test_a_batch_that_can_be_none_is_not_sent(stranger: Stranger, count: int, frames: list[bytes]) -> None:
    greeted(stranger)
    stranger.send(type="join", group=b"whole")
    stranger.send(*frames, type="mcast", group=b"whole", count=count)
    assert stranger.until("failed")[0]["status"] == "invalid-argument"
    stranger.send(type="say", group=b"whole", message=b"next")
    assert stranger.until("messages")[1] == [b"\4\0\0\0next"], "it stays a member, and nothing came before"


@pytest.mark.parametrize("batch", [b"\1\0\0\0a\3\0\0\0b", b"\1\0\0\0a\1\0\0\0b\0", b"\7\0\0\0\1\0\0\0\0\0\0"])
def test_a_batch_that_does_not_add_up_is_for_its_receivers_to_drop(pair: Rig, stranger: Stranger, batch: bytes) -> None:
    greeted(stranger)
    with pair.client(2) as two, two.join("sums") as group:
        stranger.send(type="join", group=b"sums")
        stranger.send(batch, type="mcast", group=b"sums", count=2)
        assert stranger.until("messages")[1] == [batch], "as it is"
        stranger.send(type="say", group=b"sums", message=b"next")
        assert receive_payloads(group, 1) == [b"next"], "our own clients drop it"
