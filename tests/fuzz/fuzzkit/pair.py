"""Two frame layers that know each other."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from totemd.executive.totem.wire.datagrams import Source
from totemd.executive.totem.wire.events import PacketReceived, SendControl
from totemd.executive.totem.wire.frames import FrameLayer, FrameSettings
from totemd.executive.totem.wire.suites import Suite

KEY = bytes(range(128))
HERE: Source = ("127.0.0.1", 5405)
THERE: Source = ("127.0.0.2", 5405)


def deterministic_bytes(name: str) -> Callable[[int], bytes]:
    """Stands for the kernel's generator."""
    numbers = itertools.count()
    return lambda size: hashlib.sha256(f"{name} {next(numbers)}".encode()).digest()[:size]


@dataclass
class Pair:
    """Node 1 sends, node 2 receives; their handshake is through."""

    suite: Suite
    datagram_bytes: int = 1472
    now: float = 1.0
    got: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sender, self.receiver = self.layer(1), self.layer(2)
        self.sender.greet(self.now)
        self.receiver.greet(self.now)
        self.exchange()
        assert self.sender.unproven() == self.receiver.unproven() == ()

    def layer(self, node: int, name: str = "") -> FrameLayer:
        random_bytes = deterministic_bytes(f"{node}{name}")
        chosen = FrameSettings(node, "alpha", self.suite, KEY, (1, 2), False, self.datagram_bytes)
        return FrameLayer(chosen, random_bytes(16), random_bytes)

    def exchange(self) -> None:
        """Carry control datagrams to and fro until there are none."""
        busy = True
        while busy:
            busy = False
            for layer, other, source in ((self.sender, self.receiver, HERE), (self.receiver, self.sender, THERE)):
                for event in layer.take_events():
                    if isinstance(event, SendControl):
                        busy = True
                        for datagram in event.datagrams:
                            other.receive(datagram, source, self.now)
                    elif isinstance(event, PacketReceived):
                        self.got.append(event.payload)

    def arrive(self, datagram: bytes) -> None:
        self.receiver.receive(datagram, HERE, self.now)
        self.exchange()
