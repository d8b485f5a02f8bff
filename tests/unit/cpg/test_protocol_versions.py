"""Clients and services of neighbouring versions: what is newer is ignored, what cannot work is told in words."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import totemd
import zmq
from cpgkit import Rig, payloads, receive_until
from test_cpg_protocol import Stranger
from totemd import aio
from totemd.ipc.messages.common import PROTOCOL
from totemd.ipc.paths import CPG_SOCKET

pack = msgspec.msgpack.encode


@contextlib.contextmanager
def service(run_dir: Path, *replies: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """A service of another version: answers each hello with these messages; yields what it was told."""
    context, heard = zmq.Context(), list[dict[str, Any]]()
    router = context.socket(zmq.ROUTER)
    router.bind(f"ipc://{run_dir / CPG_SOCKET}")
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            if router.poll(20):
                peer, control, *_ = router.recv_multipart()
                heard.append(msgspec.msgpack.decode(control))
                if heard[-1]["type"] == "hello":
                    for reply in replies:
                        router.send_multipart([peer, pack(reply)])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield heard
    finally:
        over.set()
        thread.join()
        context.destroy(linger=0)


WELCOME = {"type": "welcome", "protocol": [1, 9], "node_id": 4, "server_pid": 1, "pid": 77, "credit": 10**6, "new": {}}
NEWER = (
    WELCOME,
    {"type": "limits", "message_bytes": 99, "colour": "blue"},
    {"type": "ring", "ring": [8, 4], "members": [4], "speed": 1.5},
)


@pytest.fixture
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("v")


def test_a_client_ignores_what_a_newer_service_adds(run_dir: Path) -> None:
    with service(run_dir, *NEWER) as heard, totemd.Client(run_dir) as client:
        assert (client.node_id, client.message_bytes_max) == (4, 99)
        assert client.ring is not None and client.ring.members == (4,)
        assert heard[0]["protocol"] == list(PROTOCOL)


def test_so_does_the_asyncio_client(run_dir: Path) -> None:
    async def main() -> None:
        async with aio.Client(run_dir) as client:
            assert (client.node_id, client.message_bytes_max) == (4, 99)

    with service(run_dir, *NEWER):
        asyncio.run(main())


REFUSED = {"type": "refused", "status": "protocol", "detail": "this service speaks protocol 2.3", "request": 0}


def test_a_service_of_another_major_version_is_an_error_in_words(run_dir: Path) -> None:
    async def main() -> None:
        async with aio.Client(run_dir):
            pass

    with service(run_dir, REFUSED):
        with pytest.raises(totemd.ProtocolError, match=r"speaks protocol 2\.3"):
            totemd.Client(run_dir)
        with pytest.raises(totemd.ProtocolError, match=r"speaks protocol 2\.3"):
            asyncio.run(main())


@pytest.mark.parametrize(
    "hello",
    [
        {"type": "hello", "role": "client"},
        {"type": "hello", "role": "client", "protocol": [1, 0]},
        {"type": "hello", "role": "client", "protocol": [1, 250], "software": "newer", "wish": ["compression"]},
    ],
    ids=["as short as can be", "older or equal", "newer"],
)
def test_a_service_serves_every_minor_version(pair: Rig, hello: dict[str, Any]) -> None:
    stranger = Stranger(pair, 1)
    with pair.client(2) as two, two.join("minor") as group:
        stranger.send(**hello)
        assert stranger.receive()[0]["protocol"] == list(PROTOCOL)
        stranger.send(type="join", group=b"minor", colour="blue")
        stranger.until("changed")
        stranger.send(type="say", group=b"minor", message=b"hello", priority=9)
        assert payloads(receive_until(group, lambda events: bool(payloads(events)))) == [b"hello"]
        stranger.send(type="leave", group=b"minor")
        stranger.until("changed")
    stranger.close()


def test_a_verb_that_is_newer_than_the_service_is_refused_and_harms_nothing(pair: Rig) -> None:
    stranger = Stranger(pair, 1)
    stranger.send(type="hello", role="client", protocol=[1, 250])
    stranger.until("ring")
    stranger.send(type="teleport", group=b"x")
    refused, _ = stranger.receive()
    assert (refused["type"], refused["status"]) == ("refused", "malformed") and "teleport" in refused["detail"]
    stranger.send(type="join", group=b"still here")
    assert stranger.until("changed")[0]["members"]
    stranger.close()
