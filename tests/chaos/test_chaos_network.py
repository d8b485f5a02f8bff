"""Namespaces, the bridge and packet filters as they are: needs root."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaoskit.faults import Fault, Kind
from chaoskit.weather import Weather, rules, weather
from totemd.testing import namespaces, wait_until
from totemd.testing.namespaces import Namespaces, leftovers, obstacle, remove_leftovers, run

pytestmark = pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "never")

DATAGRAMS = 400

COUNT = """
import socket, sys
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
listener.bind((sys.argv[1], 5000))
print("ready", flush=True)
sys.stdin.read()
listener.setblocking(False)
sizes = []
try:
    while True:
        sizes.append(len(listener.recv(65536)))
except BlockingIOError:
    print(sum(size < 500 for size in sizes), sum(size >= 500 for size in sizes))
"""
SEND = """
import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(int(sys.argv[2])):
    for size in (100, 1000):
        sender.sendto(bytes(size), (sys.argv[1], 5000))
"""
FOLDERS = f"{Path(__file__).parent}:{Path(__file__).parents[1] / 'sim'}"


@pytest.fixture(scope="module")
def network() -> Iterator[Namespaces]:
    with Namespaces(3, one_by_one=True) as network:
        yield network


def arrived(network: Namespaces, sender: int, receiver: int) -> tuple[int, int]:
    """How many small and large datagrams of `DATAGRAMS` each arrive."""
    address = network.addresses[receiver]
    with subprocess.Popen(
        [*network.launcher(receiver), sys.executable, "-c", COUNT, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as counting:
        assert counting.stdout is not None
        assert counting.stdout.readline() == "ready\n"
        run(*network.launcher(sender), sys.executable, "-c", SEND, address, str(DATAGRAMS))
        small, large = counting.communicate()[0].split()
    return int(small), int(large)


def apply(network: Namespaces, state: Weather) -> None:
    for node in network.addresses:
        network.nft(node, rules(node, state, network.addresses))


def test_a_network_without_faults_loses_nothing(network: Namespaces) -> None:
    apply(network, Weather())
    assert arrived(network, 1, 2) == (DATAGRAMS, DATAGRAMS)


def test_one_way_is_one_way(network: Namespaces) -> None:
    apply(network, weather(network.addresses, [Fault(0, 1, Kind.ONE_WAY, (1, 2))]))
    assert arrived(network, 2, 1) == (0, 0)
    assert arrived(network, 1, 2) == arrived(network, 3, 1) == (DATAGRAMS, DATAGRAMS)


def test_a_partition_has_sides(network: Namespaces) -> None:
    apply(network, weather(network.addresses, [Fault(0, 1, Kind.PARTITION, (1, 3))]))
    assert arrived(network, 1, 2) == arrived(network, 2, 3) == (0, 0)
    assert arrived(network, 1, 3) == (DATAGRAMS, DATAGRAMS)


def test_loss_is_a_share(network: Namespaces) -> None:
    apply(network, Weather(loss=0.3))
    for count in arrived(network, 1, 2):
        # Six standard deviations to either side.
        assert 0.56 * DATAGRAMS < count < 0.84 * DATAGRAMS


def test_loss_by_size(network: Namespaces) -> None:
    apply(network, Weather(small_lost={2: 1.0}))
    assert arrived(network, 1, 2) == (0, DATAGRAMS)
    apply(network, Weather(large_lost={2: 1.0}))
    assert arrived(network, 1, 2) == (DATAGRAMS, 0)


def test_one_buffer_of_many_datagrams_is_lost_one_by_one(network: Namespaces) -> None:
    """The kernel may carry what UDP_SEGMENT sends as a whole, and drop it as a whole; a wire does not."""
    apply(network, Weather(loss=0.0001))
    before = counted(network, 2)
    program = f"""
import socket, struct
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.sendmsg([bytes(12000)], [(17, 103, struct.pack("=H", 1200))], 0, ("{network.addresses[2]}", 5000))
"""
    network.nft(2, "add table inet seen\nadd chain inet seen in { type filter hook input priority -10; }\n")
    network.nft(2, "add rule inet seen in udp dport 5000 counter\n")
    run(*network.launcher(1), sys.executable, "-c", program)
    assert counted(network, 2) - before == 10
    network.nft(2, "delete table inet seen\n")


def counted(network: Namespaces, node: int) -> int:
    words = network.listing(node).split()
    places = [place for place, word in enumerate(words) if word == "dport" and words[place + 1] == "5000"]
    return sum(int(words[words.index("packets", place) + 1]) for place in places)


OWNER = """
import os, sys
from totemd.testing.namespaces import Namespaces
network = Namespaces(2).__enter__()
print(network.prefix, network._keeper.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_keeper_removes_everything_however_the_run_ends(number: signal.Signals) -> None:
    with owner() as (process, prefix, _):
        os.kill(process.pid, number)
    wait_until(lambda: not named(prefix), 10, "the namespaces are gone")


def test_the_next_run_removes_what_a_killed_keeper_leaves() -> None:
    with owner() as (process, prefix, keeper):
        assert not [name for name in leftovers() if name.startswith(prefix)], "it is in use"
        os.kill(keeper, signal.SIGKILL)
        process.kill()
    assert len(named(prefix)) == 3
    assert set(named(prefix)) <= set(remove_leftovers())
    assert not named(prefix)


def test_names_of_nobody_are_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "NAMED", tmp_path)
    for name in (f"totemd-nodes-{os.getpid()}-1-hub", "totemd-nodes-x-1", f"totemd-nodes-{2**22 + 1}-1-hub", "mine"):
        (tmp_path / name).touch()
    assert leftovers() == [f"totemd-nodes-{2**22 + 1}-1-hub", "totemd-nodes-x-1"]


class owner:
    """A process that has made a network, its prefix, and the pid of its keeper."""

    def __enter__(self) -> tuple[subprocess.Popen[str], str, int]:
        self._process = subprocess.Popen(
            [sys.executable, "-c", OWNER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONPATH": f"{FOLDERS}:{os.environ.get('PYTHONPATH', '')}"},
        )
        assert self._process.stdout is not None
        prefix, keeper = self._process.stdout.readline().split()
        assert len(named(prefix)) == 3
        return self._process, prefix, int(keeper)

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)


def named(prefix: str) -> list[str]:
    return [path.name for path in namespaces.NAMED.glob(f"{prefix}-*")]
