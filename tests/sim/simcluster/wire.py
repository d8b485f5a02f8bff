"""How packets travel between simulated nodes: as they are, through the codec, or as real sealed datagrams.

```
objects   the packet itself                                quick: the ring's rules alone
codec     encode ─► bytes ─► decode                        the packets' own format
sealed    encode ─► seal ─► cut ─► datagrams ─► … ─► decode     all of the frame layer, with sessions and replay windows
```
What the network has damaged never reaches a core: nobody can open it.  Where nothing seals, the shell plays the seal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from simcluster.chance import Chance
from simcluster.network import CONTROL, Damaged
from simcluster.options import Options
from totemd.executive.totem.wire.codec import decode, encode
from totemd.executive.totem.wire.datagrams import DATAGRAM_BYTES_MIN
from totemd.executive.totem.wire.events import DuplicateNode, PacketReceived, PeerEnded, SendControl
from totemd.executive.totem.wire.frames import FrameLayer, FrameSettings
from totemd.executive.totem.wire.packets import AnyPacket, Mcast
from totemd.executive.totem.wire.seal import BOOT_BYTES, EVERYBODY
from totemd.executive.totem.wire.suites import Suite
from totemd.ipc.errors import MalformedMessage

CLUSTER_KEY = b"a key that every simulated node has"
PORT = 5405

Send = Callable[[int, object, object], None]
"""(receiver, packet or `CONTROL`, what travels)"""


class Ended:
    """In place of a packet: the sender's process, as it was known here, has ended."""


class Namesake(NamedTuple):
    """In place of a packet: another process has shown that it has this one's node id."""

    yields: bool
    """It is this one that stops."""


class Epitaph:
    """An obituary where nothing is sealed; the life that follows makes it void, as sessions do."""

    void = False


class Received(NamedTuple):
    """A packet, or the end of its sender, or of this node, that a node believes."""

    sender: int
    packet: AnyPacket | Ended | Namesake


class Wire(Protocol):
    """One node's way to the network, for one life."""

    def send(self, packet: AnyPacket, receivers: Iterable[int], now: float, *, directed: bool, repeated: bool) -> None:
        """Send to each; *directed*: it is meant for its one receiver only; *repeated*: not for the first time."""

    def receive(self, inbox: list[tuple[int, object]], now: float) -> list[Received]:
        """What has arrived, opened."""

    def expire(self, now: float) -> list[Received]:
        """Do what is due."""

    def next_deadline(self) -> float | None:
        """When something is due."""

    def epitaph(self, now: float) -> object:
        """What is sent to all when this life has ended."""

    def reborn(self) -> None:
        """Another life begins."""

    def counters(self) -> dict[str, int]:
        """What happened so far."""


class OpenWire:
    """Packets as they are, or their bytes."""

    def __init__(self, send: Send, codec: bool) -> None:
        self._send = send
        self._codec = codec
        self._epitaph = Epitaph()

    def send(self, packet: AnyPacket, receivers: Iterable[int], now: float, *, directed: bool, repeated: bool) -> None:
        """Send to each."""
        content = encode(packet) if self._codec else packet
        for receiver in receivers:
            self._send(receiver, packet, content)

    def receive(self, inbox: list[tuple[int, object]], now: float) -> list[Received]:
        """What has arrived."""
        received = []
        for sender, content in inbox:
            if isinstance(content, Damaged):
                _survive(content.content)
            elif isinstance(content, Epitaph):
                if not content.void:
                    received.append(Received(sender, Ended()))
            elif isinstance(content, bytes):
                received.append(Received(sender, decode(content)))
            else:
                received.append(Received(sender, content))  # type: ignore[arg-type]  # the network carries what it was given
        return received

    def expire(self, now: float) -> list[Received]:
        """Nothing is ever due."""
        return []

    def next_deadline(self) -> float | None:
        """Never."""
        return None

    def epitaph(self, now: float) -> object:
        """The same for all."""
        return self._epitaph

    def reborn(self) -> None:
        """It means nothing any more."""
        self._epitaph.void = True

    def counters(self) -> dict[str, int]:
        """Nothing."""
        return {}


def _survive(damaged: object) -> None:
    """The decoder must take any bytes without raising anything else; a seal would have dropped them before."""
    if isinstance(damaged, bytes):
        try:
            decode(damaged)
        except MalformedMessage:
            return


class SealedWire:
    """The real frame layer.  Its random bytes come from the seed."""

    def __init__(self, options: Options, node: int, life: int, send: Send, now: float) -> None:
        self._node = node
        self._send = send
        chance = Chance(options.seed, "frames", node, life)

        def random_bytes(count: int) -> bytes:
            return b"".join(chance.bits().to_bytes(8, "big") for _ in range(count // 8 + 1))[:count]

        suite = Suite.NONE if options.wire == "unsealed" else Suite.AES256
        nodes = tuple(range(1, options.nodes + 1))
        size = max(DATAGRAM_BYTES_MIN, options.ring.datagram_bytes)
        settings = FrameSettings(node, "simulated", suite, CLUSTER_KEY, nodes, False, size)
        self._frames = FrameLayer(settings, random_bytes(BOOT_BYTES), random_bytes)
        self._frames.greet(now)
        self._take()

    def send(self, packet: AnyPacket, receivers: Iterable[int], now: float, *, directed: bool, repeated: bool) -> None:
        """Seal once, send to each."""
        targets = tuple(receivers)
        if not targets:
            return
        if repeated and isinstance(packet, Mcast):
            datagrams = self._frames.seal_repeated((packet.ring, packet.seq), encode(packet), now)
        else:
            datagrams = self._frames.seal(encode(packet), now, targets[0] if directed else EVERYBODY)
        for receiver in targets:
            for datagram in datagrams:
                self._send(receiver, packet, datagram)

    def receive(self, inbox: list[tuple[int, object]], now: float) -> list[Received]:
        """Open what has arrived; answers to challenges go out by themselves."""
        for sender, content in inbox:
            datagram = content.content if isinstance(content, Damaged) else content
            assert isinstance(datagram, bytes)
            self._frames.receive(datagram, (str(sender), PORT), now)
        self._frames.ask_for_missing(now)
        return self._take()

    def expire(self, now: float) -> list[Received]:
        """Repeat challenges, give up incomplete frames."""
        self._frames.expire(now)
        return self._take()

    def next_deadline(self) -> float | None:
        """When the frame layer has something to do."""
        return self._frames.next_deadline()

    def epitaph(self, now: float) -> object:
        """A real one."""
        return self._frames.obituary(now)

    def reborn(self) -> None:
        """The sessions of the others will notice."""

    def counters(self) -> dict[str, int]:
        """Those of the frame layer."""
        return self._frames.counters()

    def _take(self) -> list[Received]:
        received = []
        for event in self._frames.take_events():
            match event:
                case PacketReceived(sender=sender, payload=payload):
                    received.append(Received(sender, decode(payload)))
                case PeerEnded(sender=sender):
                    received.append(Received(sender, Ended()))
                case SendControl(to=to, datagrams=datagrams):
                    receiver = to if isinstance(to, int) else int(to[0])
                    for datagram in datagrams:
                        self._send(receiver, CONTROL, datagram)
                case DuplicateNode(yields=yields):
                    received.append(Received(self._node, Namesake(yields)))
                case _:
                    pass
        return received


def open_wire(options: Options, node: int, life: int, send: Send, now: float) -> Wire:
    """The kind of wire that the options ask for, for one life of a node."""
    if options.wire in {"sealed", "unsealed"}:
        return SealedWire(options, node, life, send, now)
    return OpenWire(send, options.wire == "codec")
