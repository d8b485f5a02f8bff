"""A link on loopback: what is sent arrives, strangers do not, and nothing on the network raises."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pytest
from totemd.executive.config.model import Configuration, InterfaceOptions, NodeEntry, TotemOptions
from totemd.executive.runtime.logging import get_logger
from totemd.executive.totem.links import factory, udpu
from totemd.executive.totem.links.base import READ_DATAGRAMS_MAX, PortClosed, Received
from totemd.executive.totem.links.complaints import COMPLAINT_SECONDS, COMPLAINTS_MAX, Complaints
from totemd.executive.totem.links.faults import FAULTS_VARIABLE, FaultyLink
from totemd.executive.totem.links.settings import LinkSettings
from totemd.executive.totem.links.udpu import UdpuLink
from totemd.executive.totem.wire.datagrams import Run
from totemd.ipc.errors import OperationFailed

LOG = get_logger("TOTEM")
DEADLINE_SECONDS = 20.0
HOSTS = {1: "127.0.0.1", 2: "127.0.0.2", 3: "127.0.0.3"}


@pytest.fixture
def port() -> Iterator[int]:
    """A port that is free on the three addresses; a socket on a fourth keeps others of this suite away from it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as keeper:
        keeper.bind(("127.0.0.254", 0))
        yield keeper.getsockname()[1]


def settings(node: int, port: int, **more: Any) -> LinkSettings:
    return LinkSettings(node, HOSTS[node], port, {n: host for n, host in HOSTS.items() if n != node}, **more)


@contextlib.asynccontextmanager
async def opened(each: LinkSettings) -> AsyncIterator[tuple[UdpuLink, list[Received]]]:
    inbox: list[Received] = []
    link = UdpuLink(each, inbox.extend, LOG)
    link.open()
    try:
        yield link, inbox
    finally:
        link.close()


@contextlib.asynccontextmanager
async def complaining(each: LinkSettings) -> AsyncIterator[tuple[UdpuLink, list[PortClosed]]]:
    reports: list[PortClosed] = []
    link = UdpuLink(each, lambda _: None, LOG, reports.extend)
    link.open()
    try:
        yield link, reports
    finally:
        link.close()


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.001)


def data(received: Sequence[Received]) -> list[bytes]:
    return [datagram for each in received for datagram in each.run]


def test_datagrams_reach_the_nodes_they_are_for(port: int) -> None:
    async def story() -> None:
        async with (
            opened(settings(1, port)) as (one, inbox_one),
            opened(settings(2, port)) as (two, inbox_two),
            opened(settings(3, port)) as (_, inbox_three),
        ):
            one.multicast((1, 2, 3), Run.of(b"to all"))
            one.send(2, Run.of(b"to two"))
            two.send(("127.0.0.1", port), Run.of(b"to an address"))
            await until(lambda: [len(data(each)) for each in (inbox_one, inbox_two, inbox_three)] == [1, 2, 1])
            assert data(inbox_two) == [b"to all", b"to two"] and data(inbox_one) == [b"to an address"]
            assert {each.source for each in inbox_two} == {("127.0.0.1", port)}
            assert (one.counters()["sent"], two.counters()["received"]) == (3, 2)

    asyncio.run(story())


@pytest.mark.parametrize("segmentation", [True, False])
@pytest.mark.parametrize("coalescing", [True, False])
def test_the_datagrams_of_a_frame_stay_apart_and_in_order(port: int, segmentation: bool, coalescing: bool) -> None:
    async def story() -> None:
        async with opened(settings(1, port)) as (one, _), opened(settings(2, port)) as (two, inbox):
            one._segmentation = segmentation
            if not coalescing and two._socket is not None:
                two._socket.setsockopt(17, 104, 0)
                two._coalescing = False
            pieces = [bytes([number]) * 1472 for number in range(150)] + [b"the short last one"]
            one.send(2, Run(b"".join(pieces), 1472))
            others = [b"", b"alone", b"of any length", b"but", b""]
            for other in others:
                one.send(2, Run.of(other))
            await until(lambda: len(data(inbox)) == len(pieces) + len(others))
            assert data(inbox) == pieces + others
            assert one._segmentation == segmentation

    asyncio.run(story())


def test_where_segmentation_is_refused_plain_sends_do(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def __init__(self, real: socket.socket) -> None:
            self._real = real

        def sendmsg(self, *_: object) -> int:
            raise OSError(errno.EINVAL, "Invalid argument")

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    async def story() -> None:
        async with opened(settings(1, port)) as (one, _), opened(settings(2, port)) as (_, inbox):
            monkeypatch.setattr(one, "_socket", Refusing(one._socket))  # type: ignore[arg-type]
            for _ in range(2):
                one.send(2, Run(b"a" * 100 + b"b" * 100, 100))
            await until(lambda: len(data(inbox)) == 4)
            assert not one._segmentation

    asyncio.run(story())


def test_strangers_are_rejected_unless_they_are_let_in(port: int) -> None:
    async def story(block: bool) -> tuple[int, list[bytes]]:
        async with opened(settings(1, port, block_unlisted=block)) as (one, inbox):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind(("127.0.0.77", 0))
                stranger.sendto(b"hello", ("127.0.0.1", port))
            async with opened(settings(2, port)) as (two, _):
                two.send(1, Run.of(b"listed"))
                await until(lambda: b"listed" in data(inbox))
            return one.counters().get("dropped_unlisted_address", 0), data(inbox)

    assert asyncio.run(story(block=True)) == (1, [b"listed"])
    assert asyncio.run(story(block=False)) == (0, [b"hello", b"listed"])


def test_parts_of_frames_come_from_the_port_of_nodes_only(port: int) -> None:
    async def story(block: bool) -> tuple[int, list[bytes]]:
        whole, part = b"\x54\x10whole", b"\x54\x11part"
        async with opened(settings(1, port, block_unlisted=block)) as (one, inbox):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind(("127.0.0.2", 0))
                for datagram in (whole, part):
                    stranger.sendto(datagram, ("127.0.0.1", port))
            async with opened(settings(2, port)) as (two, _):
                two.send(1, Run.of(part + b" of a node"))
                await until(lambda: part + b" of a node" in data(inbox))
            return one.counters().get("dropped_other_port", 0), data(inbox)

    assert asyncio.run(story(block=True)) == (1, [b"\x54\x10whole", b"\x54\x11part of a node"])
    assert asyncio.run(story(block=False))[0] == 0


def test_the_node_list_may_change(port: int) -> None:
    async def story() -> None:
        async with opened(settings(1, port)) as (one, _), opened(settings(2, port)) as (two, inbox):
            one.set_peers({2: "127.0.0.2"})
            one.send(3, Run.of(b"nobody"))
            assert one.counters()["unknown_receiver"] == 1
            two.set_peers({3: "127.0.0.3"})
            one.send(2, Run.of(b"not any more"))
            await until(lambda: two.counters().get("dropped_unlisted_address", 0) == 1)
            assert inbox == []

    asyncio.run(story())


def test_drain_reads_what_is_there_and_no_more_than_asked_for(port: int) -> None:
    async def story() -> None:
        async with opened(settings(1, port)) as (one, _), opened(settings(2, port)) as (two, inbox):
            assert two.drain() == []
            for number in range(10):
                one.send(2, Run.of(b"%d" % number))
            # The loop has not turned, so the reader has not run: all of it is still in the socket.
            assert data(two.drain(limit=4)) == [b"0", b"1", b"2", b"3"]
            assert data(two.drain()) == [b"4", b"5", b"6", b"7", b"8", b"9"]
            assert inbox == []

    asyncio.run(story())


def test_a_flood_is_delivered_in_bounded_batches(port: int) -> None:
    async def story() -> None:
        batches: list[int] = []
        receiver = UdpuLink(settings(2, port), lambda received: batches.append(len(received)), LOG)
        receiver.open()
        try:
            async with opened(settings(1, port)) as (one, _):
                for _ in range(2 * READ_DATAGRAMS_MAX + 1):
                    one.send(2, Run.of(b"x"))
                await until(lambda: sum(batches) == 2 * READ_DATAGRAMS_MAX + 1)
        finally:
            receiver.close()
        assert max(batches) == READ_DATAGRAMS_MAX

    asyncio.run(story())


def test_errors_of_the_network_are_counted_and_dropped(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        error: OSError = BlockingIOError(errno.EAGAIN, "again")

        def sendto(self, *_: object) -> int:
            raise self.error

        recvfrom = recvmsg = sendto

    async def story() -> dict[str, int]:
        async with opened(settings(1, port)) as (one, _):
            failing = Failing()
            with monkeypatch.context() as patch:
                patch.setattr(one, "_socket", failing)
                one.send(2, Run.of(b"x"))
                for number in (errno.ENETUNREACH, errno.ECONNREFUSED, errno.EPERM, errno.EMSGSIZE):
                    failing.error = OSError(number, "no")
                    one.multicast((2, 3), Run.of(b"x"))
                failing.error = OSError(errno.EHOSTUNREACH, "no route")
                assert one.drain(limit=3) == []
                failing.error = OSError(errno.ECONNREFUSED, "refused")
                assert one.drain(limit=3) == []
            return one.counters()

    counters = asyncio.run(story())
    assert counters["send_buffer_full"] == 1
    assert counters["send_failed_enetunreach"] == counters["send_failed_eperm"] == counters["send_given_up"] == 2
    assert counters["receive_failed_ehostunreach"] == 3


def test_a_real_error_of_the_kernel_does_not_raise(port: int) -> None:
    async def story() -> dict[str, int]:
        async with opened(settings(1, port)) as (one, _):
            one.send(2, Run.of(bytes(65_507)))
            one.send(2, Run.of(bytes(66_000)))
            one.send(("255.255.255.255", port), Run.of(b"broadcast without leave"))
            return one.counters()

    counters = asyncio.run(story())
    assert counters["send_failed_emsgsize"] == 1
    assert sum(count for name, count in counters.items() if name.startswith("send_failed")) == 2


@pytest.mark.parametrize("host", ["127.0.0.{}", "::1"])
def test_a_port_that_nobody_listens_at_is_reported_with_what_was_sent(port: int, host: str) -> None:
    async def story() -> None:
        peers = {2: host.format(2)}
        # The port of the node itself is closed if it has another one, which is all that IPv6 can have on loopback.
        mine = LinkSettings(1, host.format(1), port, peers)
        async with complaining(mine) as (one, reports):
            if ":" in host:
                one._addresses = {2: ("::1", port + 1, 0, 0)}
            one.send(2, Run.of(b"anybody there?"))
            await until(lambda: bool(reports))
            assert reports == [PortClosed(2, b"anybody there?")]

    asyncio.run(story())


def test_a_closed_port_costs_no_datagram_to_others_and_no_processor_time(port: int) -> None:
    async def story() -> None:
        async with complaining(settings(1, port)) as (one, reports), opened(settings(3, port)) as (_, inbox):
            wakes = 0
            readable = one._readable

            def count() -> None:
                nonlocal wakes
                wakes += 1
                readable()

            assert one._loop is not None and one._socket is not None
            one._loop.add_reader(one._socket.fileno(), count)
            for number in range(200):
                one.multicast((2, 3), Run.of(b"%d" % number))
            one.multicast((2, 3), Run(b"a" * 5000, 1000))
            await until(lambda: len(data(inbox)) == 205 and bool(reports))
            assert {report.node for report in reports} == {2}
            before = wakes
            await asyncio.sleep(0.05)
            assert wakes - before <= 2, "the loop is not woken for ever by what was read already"
            assert not [name for name in one.counters() if "failed" in name or "given_up" in name]
            assert one.counters()["port_closed"] > 5

    asyncio.run(story())


def test_reports_about_strangers_and_after_the_end_are_dropped(port: int) -> None:
    async def story() -> None:
        async with complaining(settings(1, port)) as (one, reports):
            one.send(("127.0.0.77", port), Run.of(b"an answer to a stranger"))
            await until(lambda: one.counters().get("port_closed") == 1)
            one.send(2, Run.of(b"x"))
            one.drain()
            one.close()
            await asyncio.sleep(0)
            assert reports == []

    asyncio.run(story())


def test_ipv6(port: int) -> None:
    async def story() -> None:
        loopback = LinkSettings(1, "::1", port, {2: "::1"})
        async with opened(loopback) as (one, inbox):
            one.send(2, Run(b"six" * 101, 300))
            await until(lambda: len(data(inbox)) == 2)
            assert data(inbox)[1] == b"six" and inbox[-1].source == ("::1", port)
            one.send(inbox[0].source, Run.of(b"back"))
            await until(lambda: len(data(inbox)) == 3)

    asyncio.run(story())


def test_what_cannot_be_opened_says_why(port: int) -> None:
    async def story() -> None:
        async with opened(settings(1, port)):
            with pytest.raises(OperationFailed, match=rf"127\.0\.0\.1 port {port} \(UDP\).*another totemd or corosync"):
                UdpuLink(settings(1, port), print, LOG).open()
        elsewhere = LinkSettings(1, "192.0.2.1", port, {})
        with pytest.raises(OperationFailed, match="no interface of this machine has that address"):
            UdpuLink(elsewhere, print, LOG).open()
        with pytest.raises(OperationFailed, match="'not-a-number' is no numeric address"):
            UdpuLink(LinkSettings(1, "127.0.0.1", port, {2: "not-a-number"}), print, LOG)

    asyncio.run(story())


def test_a_closed_link_is_quiet(port: int) -> None:
    async def story() -> None:
        async with opened(settings(1, port)) as (one, _):
            one.close()
            one.send(2, Run.of(b"x"))
            assert one.drain() == []
            one.close()

    asyncio.run(story())


def test_small_buffers_are_mentioned(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Log:
        def info(self, event: str) -> None:
            said.append(event)

    async def story() -> None:
        link = UdpuLink(settings(1, port, buffer_bytes=1 << 29), print, Log())  # type: ignore[arg-type]
        link.open()
        link.close()

    monkeypatch.setattr(udpu, "_SO_RCVBUFFORCE", socket.SO_RCVBUF)
    monkeypatch.setattr(udpu, "_SO_SNDBUFFORCE", socket.SO_SNDBUF)
    asyncio.run(story())
    for line, direction, limit in zip(said, ("receive", "send"), ("rmem", "wmem"), strict=True):
        assert re.fullmatch(
            rf"The {direction} buffer has \d+ bytes instead of {1 << 29}: .*; raise net\.core\.{limit}_max", line
        )


def test_settings_follow_from_the_configuration() -> None:
    nodes = (NodeEntry(1, "a", ("10.0.0.1",)), NodeEntry(2, "b", ("10.0.0.2",)), NodeEntry(3, "c", ("10.0.0.3",)))
    configuration = Configuration(
        totem=TotemOptions(netmtu=9000, block_unlisted_ips=False),
        interfaces=(InterfaceOptions(port=5500),),
        nodes=nodes,
        local_node_id=2,
    )
    link, found = factory.create_link(configuration, print, LOG, environment={})
    assert found == LinkSettings(2, "10.0.0.2", 5500, {1: "10.0.0.1", 3: "10.0.0.3"}, False, 9000)
    assert isinstance(link, UdpuLink)
    faulty, _ = factory.create_link(configuration, print, LOG, environment={FAULTS_VARIABLE: "/run/faults"})
    assert isinstance(faulty, FaultyLink)


@pytest.mark.parametrize(
    ("address", "netmtu", "payload"),
    [("10.0.0.1", 1500, 1472), ("fd00::1", 1500, 1452), ("10.0.0.1", 100_000, 65_507), ("10.0.0.1", 1, 154)],
)
def test_the_longest_datagram(address: str, netmtu: int, payload: int) -> None:
    assert LinkSettings(1, address, 5405, {}, netmtu=netmtu).datagram_bytes == payload


def test_complaints_are_made_now_and_then() -> None:
    complaints = Complaints()
    assert [complaints.admit("a", float(now)) for now in range(3)] == [0, None, None]
    assert complaints.admit("b", 3.0) == 0
    assert complaints.admit("a", COMPLAINT_SECONDS) == 2
    for number in range(3 * COMPLAINTS_MAX):
        complaints.admit(number, 20.0)
    assert len(complaints._limits) == COMPLAINTS_MAX
