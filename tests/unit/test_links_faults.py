"""The link that loses what a test tells it to: commands, and what they do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from totemd.executive.runtime.logging import get_logger
from totemd.executive.totem.links.base import Received
from totemd.executive.totem.links.faults import Command, Faults, FaultyLink
from totemd.executive.totem.links.settings import LinkSettings
from totemd.executive.totem.links.udpu import UdpuLink
from totemd.executive.totem.wire.datagrams import Run

LOG = get_logger("TOTEM")
DEADLINE_SECONDS = 20.0


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as keeper:
        keeper.bind(("127.0.0.254", 0))
        yield keeper.getsockname()[1]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="tf") as name:
        yield Path(name)


@contextlib.asynccontextmanager
async def faulty(node: int, port: int, folder: Path) -> AsyncIterator[tuple[FaultyLink, list[Received]]]:
    inbox: list[Received] = []
    peers = {other: f"127.0.0.{other}" for other in (1, 2, 3) if other != node}
    settings = LinkSettings(node, f"127.0.0.{node}", port, peers)
    link = FaultyLink(
        lambda deliver, complain: UdpuLink(settings, deliver, LOG, complain),
        settings,
        inbox.extend,
        folder / f"faults{node}",
        LOG,
    )
    link.open()
    try:
        yield link, inbox
    finally:
        link.close()


async def tell(folder: Path, node: int, text: str | bytes) -> dict[str, Any]:
    """Send a command from a bound socket and wait until it holds."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ours:
        path = folder / "teller"
        ours.bind(str(path))
        try:
            await loop.sock_connect(ours, str(folder / f"faults{node}"))
            await loop.sock_sendall(ours, text if isinstance(text, bytes) else text.encode())
            answer = await asyncio.wait_for(loop.sock_recv(ours, 65_536), DEADLINE_SECONDS)
        finally:
            path.unlink()
    result: dict[str, Any] = json.loads(answer)
    return result


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.001)


def test_a_blocked_node_is_cut_off_in_both_directions_until_healed(port: int, folder: Path) -> None:
    async def story() -> None:
        async with (
            faulty(1, port, folder) as (one, inbox_one),
            faulty(2, port, folder) as (two, inbox_two),
            faulty(3, port, folder) as (three, inbox_three),
        ):
            assert await tell(folder, 1, '{"block": [2]}') == {"ok": True}
            one.multicast((1, 2, 3), Run.of(b"from 1"))
            one.send(("127.0.0.2", port), Run.of(b"from 1 by address"))
            two.multicast((1, 2, 3), Run.of(b"from 2"))
            three.multicast((1, 2, 3), Run.of(b"from 3"))
            await until(lambda: len(inbox_three) == 2 and len(inbox_one) == 1 and len(inbox_two) == 1)
            assert inbox_one[0].run.data == inbox_two[0].run.data == b"from 3"
            assert await tell(folder, 1, b'{"heal": true}') == {"ok": True}
            two.send(1, Run.of(b"again"))
            await until(lambda: len(inbox_one) == 2)
            assert [each.run.data for each in inbox_one] == [b"from 3", b"again"]

    asyncio.run(story())


def test_a_file_of_commands_holds_from_the_first_datagram_on(port: int, folder: Path) -> None:
    async def story() -> None:
        (folder / "faults1.first").write_text('{"block": [2]}')
        async with faulty(1, port, folder) as (one, inbox), faulty(2, port, folder) as (two, _):
            two.send(1, Run.of(b"lost"))
            assert one.drain() == inbox == []
            await tell(folder, 1, '{"block": []}')
            two.send(1, Run.of(b"kept"))
            await until(lambda: [each.run.data for each in inbox] == [b"kept"])

    asyncio.run(story())


def test_drained_datagrams_are_lost_as_well(port: int, folder: Path) -> None:
    async def story() -> None:
        async with faulty(1, port, folder) as (one, inbox), faulty(2, port, folder) as (two, _):
            await tell(folder, 1, '{"block_receive": [2]}')
            two.send(1, Run.of(b"lost"))
            assert one.drain() == inbox == []
            await tell(folder, 1, '{"block_receive": []}')
            two.send(1, Run.of(b"kept"))
            assert [each.run.data for each in one.drain()] == [b"kept"]

    asyncio.run(story())


def test_a_command_that_is_none_is_answered_with_the_reason(port: int, folder: Path) -> None:
    async def story() -> None:
        async with faulty(1, port, folder) as (one, _):
            for text in ('{"blok": [2]}', '{"loss": 2}', "[]", "not json", b"\xff", '{"block": [0]}', "{" * 5000):
                assert list(await tell(folder, 1, text)) == ["error"]
            assert (one._faults._loss, one._faults._blocked_sends) == (0.0, frozenset())

    asyncio.run(story())


def test_a_socket_left_behind_is_replaced_and_taken_away(port: int, folder: Path) -> None:
    async def story() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
            dead.bind(str(folder / "faults1"))
        async with faulty(1, port, folder):
            assert await tell(folder, 1, "{}") == {"ok": True}
        assert not list(folder.iterdir())

    asyncio.run(story())


def test_peers_may_change(port: int, folder: Path) -> None:
    async def story() -> None:
        async with faulty(1, port, folder) as (one, inbox), faulty(2, port, folder) as (two, _):
            one.set_peers({5: "127.0.0.2"})
            await tell(folder, 1, '{"block": [2]}')
            two.send(1, Run.of(b"from the node that is 5 now"))
            await until(lambda: len(inbox) == 1)
            assert one.counters()["received"] == 1

    asyncio.run(story())


def test_shares_are_kept_and_repeat_with_the_seed() -> None:
    faults = Faults(seed=1)
    faults.command(Command(loss=0.25, loss_send=0.5, duplicate=0.1, seed=7))
    copies = [faults.copies(2) for _ in range(4000)]
    left = sum(map(len, faults.outgoing(2, Run(b"x" * 4000, 1))))
    assert 850 < copies.count(0) < 1150 and 200 < copies.count(2) < 400 and 1800 < left < 2200
    faults.command(Command(seed=7))
    assert [faults.copies(2) for _ in range(4000)] == copies
    faults.command(Command(heal=True))
    assert [faults.copies(None), len(faults.outgoing(None, Run.of(b"x")))] == [1, 1]


def test_directions_can_be_blocked_apart() -> None:
    faults = Faults(seed=1)
    faults.command(Command(block_send=(2,)))
    assert (list(faults.outgoing(2, Run.of(b"x"))), faults.copies(2)) == ([], 1)
    faults.command(Command(block=(3,)))
    assert (faults.outgoing(2, Run.of(b"x")), faults.outgoing(3, Run.of(b"x"))) == ([Run.of(b"x")], [])
    assert (faults.copies(3), faults.incoming(3, Run.of(b"x"))) == (0, [])
    faults.command(Command(heal=True, duplicate=1.0))
    assert faults.incoming(3, Run(b"abc", 2)) == [Run(b"ababc", 2), Run(b"c", 2)], "as the kernel hands them over"
