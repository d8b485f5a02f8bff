"""A server that answers late: the connection that was given up must not live on at the server."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import totemd.ipc.patience
from totemd.executive.totem.feed import ServiceFeed
from totemd.ipc.codec import Codec, encode
from totemd.ipc.connection import Connection
from totemd.ipc.endpoints import ClientEndpoint, ServerEndpoint
from totemd.ipc.errors import TotemdError
from totemd.ipc.ids import RingId
from totemd.ipc.messages.common import Goodbye, Hello, Welcome
from totemd.ipc.messages.stream import TO_SERVICE, Attached, Epoch, SubmitItem

SECONDS = 10.0


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ti-", dir="/tmp") as name:
        yield Path(name)


class Service:
    """A listener that remembers what it was told."""

    def __init__(self) -> None:
        self.attached = 0

    def connected(self, welcome: Welcome) -> None:
        pass

    def arrived(self, message: Any, payload: Sequence[bytes | memoryview]) -> None:
        self.attached += isinstance(message, Attached)

    def lost(self, error: TotemdError) -> None:
        pass


class Owner:
    """What the feed needs of the totem process."""

    def __init__(self) -> None:
        self.story: list[str] = []

    def service_attached(self, name: str) -> Attached:
        self.story.append("attached")
        return Attached(1, RingId(4, 1), (1,), {})

    def service_gone(self, name: str, cleanly: bool) -> None:
        self.story.append("gone")

    def service_submits(self, channel: int, item: SubmitItem, payload: bytes) -> int:
        return 0

    def service_synchronised(self, name: str, epoch: Epoch) -> None:
        pass

    def service_consumed(self) -> None:
        pass


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0)


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def live() -> None:
        await story()

    asyncio.run(live())


def test_a_connection_that_is_given_up_says_goodbye(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totemd.ipc.patience, "HELLO_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(totemd.ipc.patience, "HELLOS_OF_A_CONNECTION_MAX", 1)
    heard: dict[bytes, list[object]] = {}
    codec: Codec[Any] = Codec(Hello | Goodbye)

    def deliver(peer: bytes, frames: list[bytes | memoryview], _: object) -> None:
        heard.setdefault(peer, []).append(type(codec.decode(frames)[0]))

    async def story() -> None:
        silent = ServerEndpoint(folder / "s", deliver, lambda _: True)
        connection: Connection[Any] = Connection(folder / "s", "cpg", TO_SERVICE, Service())
        await until(lambda: sum(said == [Hello, Goodbye] for said in heard.values()) >= 2)
        connection.close()
        silent.close()

    run(story)


def test_a_service_that_connects_anew_replaces_itself(folder: Path) -> None:
    async def story() -> None:
        owner, service = Owner(), Service()
        feed = ServiceFeed(folder / "s", 1, owner, os.geteuid())
        stale = ClientEndpoint(folder / "s", lambda frames: None)
        stale.send([encode(Hello("cpg"))])
        await until(lambda: owner.story == ["attached"])
        fresh: Connection[Any] = Connection(folder / "s", "cpg", TO_SERVICE, service)
        await until(lambda: service.attached == 1)
        assert owner.story == ["attached", "gone", "attached"]
        assert feed.services == ("cpg",)
        stale.close()
        fresh.close()
        feed.close()

    run(story)
