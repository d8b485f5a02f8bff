"""Whole frame layers on a wire that tests can listen to."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence

from totemd.executive.totem.wire.datagrams import Source
from totemd.executive.totem.wire.events import PacketReceived, SendControl
from totemd.executive.totem.wire.frames import FrameLayer, FrameSettings
from totemd.executive.totem.wire.suites import Suite

KEY = bytes(range(128))
NODES = (1, 2, 3)


def address(node: int) -> Source:
    return (f"127.0.0.{node}", 5405)


def deterministic_bytes(name: str) -> Callable[[int], bytes]:
    numbers = itertools.count()
    return lambda size: hashlib.sha256(f"{name} {next(numbers)}".encode()).digest()[:size]


class Wire:
    """Nodes whose control datagrams reach each other at once; what is sealed for packets goes where the test says."""

    def __init__(self, suite: Suite = Suite.AES256, datagram_bytes: int = 1472) -> None:
        self.suite = suite
        self.datagram_bytes = datagram_bytes
        self.layers: dict[int, FrameLayer] = {}
        self.recorded: list[tuple[int, bytes]] = []
        self.events: dict[int, list[object]] = {}
        self.boots = itertools.count()

    def start(self, node: int, key: bytes = KEY, cluster: str = "alpha") -> FrameLayer:
        random_bytes = deterministic_bytes(f"{node} {next(self.boots)}")
        settings = FrameSettings(node, cluster, self.suite, key, NODES, False, self.datagram_bytes)
        layer = self.layers[node] = FrameLayer(settings, random_bytes(16), random_bytes)
        self.events[node] = []
        return layer

    def greet(self, now: float) -> None:
        for node, layer in self.layers.items():
            layer.greet(now)
            self.deliver_control(node, now)

    def carry(self, sender: int, to: int, datagrams: Iterable[bytes], now: float) -> None:
        for datagram in datagrams:
            self.recorded.append((sender, datagram))
            if to in self.layers:
                self.layers[to].receive(datagram, address(sender), now)
                self.deliver_control(to, now)

    def deliver_control(self, node: int, now: float) -> None:
        for event in self.layers[node].take_events():
            if isinstance(event, SendControl):
                to = event.to if isinstance(event.to, int) else int(event.to[0].rsplit(".", 1)[1])
                self.carry(node, to, event.datagrams, now)
            else:
                self.events[node].append(event)

    def packets(self, node: int) -> list[bytes]:
        got = [event.payload for event in self.events[node] if isinstance(event, PacketReceived)]
        self.events[node].clear()
        return got


def started(suite: Suite = Suite.AES256, nodes: Sequence[int] = NODES, datagram_bytes: int = 1472) -> Wire:
    wire = Wire(suite, datagram_bytes)
    for node in nodes:
        wire.start(node)
    wire.greet(0.0)
    for node in nodes:
        assert wire.layers[node].unproven() == tuple(other for other in NODES if other not in nodes)
        wire.packets(node)
    return wire
