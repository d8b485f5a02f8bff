"""What a dead child left to be said: to whom, how often, from where."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
from structlog.testing import CapturingLogger
from totemd.executive.supervisor.obituary import REPEATED_AFTER_SECONDS, Obituaries
from totemd.ipc.messages.control import Obituary

WAIT_SECONDS = 20.0
ME = "127.0.0.1"


@pytest.fixture
def receivers() -> Iterator[list[socket.socket]]:
    """Two nodes on one port; the port is free at the dead one's address."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        one.bind(("127.0.0.2", 0))
        two.bind(("127.0.0.3", one.getsockname()[1]))
        for each in (one, two):
            each.setblocking(False)
        yield [one, two]


def left_to(receivers: list[socket.socket]) -> Obituary:
    return Obituary(ME, receivers[0].getsockname()[1], ("127.0.0.2", "127.0.0.3"), b"sealed")


async def heard(receiver: socket.socket) -> tuple[bytes, tuple[str, int]]:
    async with asyncio.timeout(WAIT_SECONDS):
        return await asyncio.get_running_loop().sock_recvfrom(receiver, 100)


def test_it_is_said_at_once_from_the_childs_own_address_and_repeated(receivers: list[socket.socket]) -> None:
    async def story() -> None:
        obituaries = Obituaries(CapturingLogger())  # type: ignore[arg-type]
        obituaries.keep("totem", Obituary(ME, 1, (), b"an earlier one"))
        obituaries.keep("totem", left_to(receivers))
        obituaries.child_ended("totem")
        for receiver in receivers:
            assert await heard(receiver) == (b"sealed", (ME, receiver.getsockname()[1]))
            for _ in REPEATED_AFTER_SECONDS:
                data, (address, _) = await heard(receiver)
                assert (data, address) == (b"sealed", ME)

    asyncio.run(story())


def test_it_is_said_by_nobody_who_left_none_and_once_per_life(receivers: list[socket.socket]) -> None:
    async def story() -> None:
        obituaries = Obituaries(CapturingLogger())  # type: ignore[arg-type]
        obituaries.keep("totem", left_to(receivers))
        obituaries.child_ended("cpg")
        obituaries.child_ended("totem")
        obituaries.child_ended("totem")
        for _ in range(1 + len(REPEATED_AFTER_SECONDS)):
            await heard(receivers[0])
        await asyncio.sleep(0)
        with pytest.raises(BlockingIOError):
            receivers[0].recv(100)

    asyncio.run(story())


def test_a_port_that_is_taken_already_does_not_silence_it(receivers: list[socket.socket]) -> None:
    async def story() -> None:
        obituaries = Obituaries(CapturingLogger())  # type: ignore[arg-type]
        port = receivers[0].getsockname()[1]
        obituaries.keep("totem", Obituary("127.0.0.2", port, ("127.0.0.3",), b"sealed"))
        obituaries.child_ended("totem")
        for _ in range(1 + len(REPEATED_AFTER_SECONDS)):
            _, (address, source_port) = await heard(receivers[1])
            assert address == "127.0.0.2" and source_port != port

    asyncio.run(story())


def test_an_address_that_is_gone_is_no_bug(receivers: list[socket.socket]) -> None:
    async def story() -> CapturingLogger:
        log = CapturingLogger()
        obituaries = Obituaries(log)  # type: ignore[arg-type]
        obituaries.keep("totem", Obituary("192.0.2.1", 5405, ("127.0.0.3",), b"sealed"))
        obituaries.child_ended("totem")
        return log

    assert any("cannot be sent" in str(call) for call in asyncio.run(story()).calls)
