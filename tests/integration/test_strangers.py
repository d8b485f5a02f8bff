"""Whatever anybody sends to a node's port or sockets: the ring stays, memory stays flat, groups go on."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import zmq
from kit.full import sized
from totemd.testing import Cluster, Node, wait_until

DATAGRAMS = sized(20_000, 100_000)
FRAMES = sized(3_000, 20_000)
MEMORY_GROWTH_MAX = 30 * 1024 * 1024
"""Bytes by which a process may grow under a flood: allocator slack, not one kept datagram of each."""

BURST = 50
SOCKETS = ("executive.sock", "totem.sock", "cpg.sock", "sam.sock")


def memory(node: Node) -> dict[str, int]:
    return {name: psutil.Process(node.pid(name)).memory_info().rss for name in ("executive", "totem", "cpg", "sam")}


@pytest.fixture
def unshaken(trio: Cluster) -> Iterator[Node]:
    """Node 1 before and after: same ring, same processes, memory nearly the same, groups still work."""
    node = trio[1]
    ring, pids, before = node.stands(), [node.pid(name) for name in ("totem", "cpg", "sam")], memory(node)
    yield node
    assert node.stands() == ring
    assert [node.pid(name) for name in ("totem", "cpg", "sam")] == pids
    grown = {name: size - before[name] for name, size in memory(node).items()}
    assert all(growth < MEMORY_GROWTH_MAX for growth in grown.values()), grown
    with node.client() as client, client.join("still here") as group:
        group.mcast(b"?")


def captured(cluster: Cluster, count: int) -> list[bytes]:
    """Datagrams as nodes send them: what arrives when we take the place of a node that does not run."""
    cluster[3].stop()
    cluster.wait_for_ring({1, 2})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as impostor:
        impostor.bind((cluster.addresses[3], cluster.port))
        impostor.settimeout(20)
        datagrams = [impostor.recv(65_536) for _ in range(count)]
    cluster[3].start()
    cluster.wait_for_ring({1, 2, 3})
    return datagrams


def flood(node: Node, port: int, sender: str, datagrams: Callable[[], bytes], count: int) -> None:
    """Send in bursts; after each the node must have read what was sent, or most would be lost in its socket buffer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind((sender, 0))
        for sent in range(count):
            stranger.sendto(datagrams(), (node.address, port))
            if sent % BURST == BURST - 1:
                wait_until(lambda: not unread(node.address, port), 30, "the node reads")


def unread(address: str, port: int) -> bool:
    """Whether datagrams wait in the socket buffer of that address (/proc/net/udp)."""
    packed = "".join(f"{int(part):02X}" for part in reversed(address.split(".")))
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == f"{packed}:{port:04X}":
            return int(fields[4].split(":")[1], 16) > 0
    return False


@pytest.mark.timeout(600)
def test_random_datagrams(trio: Cluster, unshaken: Node) -> None:
    chance = random.Random(1)
    flood(unshaken, trio.port, trio.addresses[2], lambda: chance.randbytes(chance.randrange(1500)), DATAGRAMS)


@pytest.mark.timeout(600)
def test_mutated_datagrams(trio: Cluster) -> None:
    chance = random.Random(2)
    seeds = captured(trio, 5)

    def mutated() -> bytes:
        datagram = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 4)):
            datagram[chance.randrange(len(datagram))] ^= 1 << chance.randrange(8)
        return bytes(datagram[: chance.choice((len(datagram), chance.randrange(len(datagram) + 1)))])

    ring = trio[1].stands()
    before = memory(trio[1])
    flood(trio[1], trio.port, trio.addresses[2], mutated, DATAGRAMS)
    assert trio[1].stands() == ring
    assert all(size - before[name] < MEMORY_GROWTH_MAX for name, size in memory(trio[1]).items())


def test_replayed_datagrams(trio: Cluster) -> None:
    seeds = captured(trio, 20)
    ring = trio[1].stands()
    flood(trio[1], trio.port, trio.addresses[2], iter(seeds * 20).__next__, len(seeds) * 20)
    assert trio[1].stands() == ring


@pytest.mark.parametrize("name", SOCKETS)
def test_random_frames_at_a_socket(unshaken: Node, name: str) -> None:
    chance = random.Random(name)
    context = zmq.Context()
    try:
        dealer = context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(f"ipc://{unshaken.run_dir / name}")
        for _ in range(FRAMES):
            dealer.send_multipart([chance.randbytes(chance.randrange(200)) for _ in range(chance.randrange(1, 4))])
            while dealer.poll(0):
                dealer.recv_multipart()
        dealer.send(b"the last one")
        assert dealer.poll(20_000), "the socket answers even nonsense"
        dealer.close()
    finally:
        context.term()


@pytest.mark.parametrize("name", SOCKETS)
def test_random_bytes_below_zeromq(unshaken: Node, name: str) -> None:
    chance = random.Random(name)
    for _ in range(50):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as raw:
            raw.settimeout(5)
            raw.connect(str(unshaken.run_dir / name))
            try:
                raw.sendall(chance.randbytes(chance.randrange(1, 4096)))
            except (BrokenPipeError, ConnectionResetError):
                continue
