"""How often a hello is said again: less and less often, until somebody answers."""

from __future__ import annotations

import asyncio
import random
import socket
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import totemd.ipc.patience
from totemd.ipc.blocking import BlockingConnection
from totemd.ipc.codec import encode
from totemd.ipc.connection import Connection
from totemd.ipc.endpoints import ServerEndpoint
from totemd.ipc.errors import ConnectionLost, TotemdError
from totemd.ipc.messages.common import PROTOCOL, Unwelcome, Welcome
from totemd.ipc.messages.stream import TO_SERVICE
from totemd.ipc.patience import (
    HELLO_AGAIN_JITTER,
    HELLO_AGAIN_SECONDS,
    HELLO_AGAIN_SECONDS_MAX,
    HELLOS_OF_A_CONNECTION_MAX,
    Patience,
)

SECONDS = 10.0


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tp-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """All waits of all connections, a hundredth as long as usual."""
    asked: list[float] = []
    next_wait = Patience.next_wait

    def recorded(patience: Patience) -> float:
        asked.append(next_wait(patience))
        return asked[-1]

    monkeypatch.setattr(Patience, "next_wait", recorded)
    monkeypatch.setattr(totemd.ipc.patience, "HELLO_AGAIN_SECONDS", 0.005)
    monkeypatch.setattr(totemd.ipc.patience, "HELLO_AGAIN_SECONDS_MAX", 0.1)
    return asked


def grows(waits: Sequence[float]) -> bool:
    """Whether each is that of the attempt's number, from the first on, shortened by no more than is promised."""
    full = [min(0.1, 0.005 * 2**attempt) for attempt in range(len(waits))]
    return all(whole * (1 - HELLO_AGAIN_JITTER) <= wait <= whole for wait, whole in zip(waits, full, strict=True))


def test_waits_double_up_to_a_bound_and_differ() -> None:
    one, other = (Patience(random.Random(seed)) for seed in (1, 2))
    waits = [one.next_wait() for _ in range(2000)]
    assert HELLO_AGAIN_SECONDS * (1 - HELLO_AGAIN_JITTER) <= waits[0] <= HELLO_AGAIN_SECONDS
    assert all(later > earlier for earlier, later in pairwise(waits[:5]))
    assert max(waits) <= HELLO_AGAIN_SECONDS_MAX
    assert min(waits[10:]) >= HELLO_AGAIN_SECONDS_MAX * (1 - HELLO_AGAIN_JITTER)
    assert waits[:5] != [other.next_wait() for _ in range(5)]
    one.restore()
    assert one.next_wait() <= HELLO_AGAIN_SECONDS


class Nobody:
    """A listener."""

    def connected(self, welcome: Welcome) -> None: ...

    def arrived(self, message: Any, payload: Sequence[bytes | memoryview]) -> None: ...

    def lost(self, error: TotemdError) -> None: ...


def test_a_silent_server_is_asked_less_and_less_often(folder: Path, waits: list[float]) -> None:
    async def story() -> None:
        peers: list[bytes] = []
        server = ServerEndpoint(folder / "s", lambda peer, *_: peers.append(peer), lambda _: True)
        connection: Connection[Any] = Connection(folder / "s", "cpg", TO_SERVICE, Nobody())
        async with asyncio.timeout(SECONDS):
            while len(waits) < 7 or not peers:
                await asyncio.sleep(0)
        assert grows(waits)
        # It lets us in, then forgets us: the next server is asked as eagerly as the first was.
        async with asyncio.timeout(SECONDS):
            while not connection.is_open:
                server.send(peers[-1], [encode(Welcome(PROTOCOL, 1, 2**22 + 1, 1))])
                await asyncio.sleep(0.001)
            waits.clear()
            while not waits:
                server.send(peers[-1], [encode(Unwelcome())])
                await asyncio.sleep(0.001)
        assert grows(waits[:1])
        connection.close()
        server.close()

    asyncio.run(story())


def test_a_server_that_comes_late_finds_every_hello_on_one_connection(folder: Path, waits: list[float]) -> None:
    """One that was given up would be served late, and then take its successor's place."""

    async def story() -> None:
        greetings: Counter[bytes] = Counter()
        connection: Connection[Any] = Connection(folder / "s", "cpg", TO_SERVICE, Nobody())
        async with asyncio.timeout(SECONDS):
            while len(waits) < 4:
                await asyncio.sleep(0)
            server = ServerEndpoint(folder / "s", lambda peer, *_: greetings.update([peer]), lambda _: True)
            while max(greetings.values(), default=0) < 5:
                await asyncio.sleep(0.001)
        assert len(greetings) == 1
        connection.close()
        server.close()

    asyncio.run(story())


def test_a_connection_with_too_many_hellos_is_made_anew(folder: Path, waits: list[float]) -> None:
    async def story() -> None:
        greetings: Counter[bytes] = Counter()
        server = ServerEndpoint(folder / "s", lambda peer, *_: greetings.update([peer]), lambda _: True)
        connection: Connection[Any] = Connection(folder / "s", "cpg", TO_SERVICE, Nobody())
        async with asyncio.timeout(SECONDS):
            while len(greetings) < 2:
                await asyncio.sleep(0.001)
        assert greetings.most_common(1)[0][1] == HELLOS_OF_A_CONNECTION_MAX + 1, "all hellos and a goodbye"
        connection.close()
        server.close()

    asyncio.run(story())


def test_a_blocking_client_does_the_same(folder: Path, waits: list[float]) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder / "s"))
        silent.listen()
        connection: BlockingConnection[Any] = BlockingConnection(folder / "s", "client", TO_SERVICE, service="cpg")
        for _ in range(2):  # an attempt that the caller makes anew begins with the shortest wait
            waits.clear()
            with pytest.raises(ConnectionLost, match="did not answer"):
                connection.open(0.2)
            assert len(waits) >= 3 and grows(waits)
