"""The network between the nodes: what happens to each packet on its way, decided by the seed.

Every directed link counts its packets; the fate of packet *i* of a link is a function of (seed, link, i) alone.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

from simcluster.chance import bits_at, purpose_key, scramble
from simcluster.options import Weather
from simcluster.scheduler import Scheduler
from totemd.executive.totem.wire.datagrams import DATAGRAM_MAGIC, DATAGRAM_VERSION
from totemd.executive.totem.wire.packets import CommitToken, Mcast, Token
from totemd.executive.totem.wire.seal import FRAME_MAGIC, FRAME_VERSION

BURST_SLICE = 0.05
"""Seconds for which a link stays in or out of a burst."""
BURST_LOSS = 0.5
KEPT_MAX = 400
"""Recorded datagrams."""
REPLAY_GAP = 0.0007
"""Seconds between two datagrams that are played again, or forged."""
FORGED_BYTES_MAX = 400
FORGED_START = bytes([DATAGRAM_MAGIC, DATAGRAM_VERSION << 4, FRAME_MAGIC, FRAME_VERSION])
"""So that every second forgery gets past the first checks."""
_TO_FRACTION = 2.0**-64
_FIELD = 1 << 21
_PER_FIELD = 2.0**-21


class Control:
    """Stands for what the frame layer sends on its own account: challenges and their answers."""


CONTROL = Control()


@dataclass(frozen=True, slots=True)
class Damaged:
    """What arrives of something with flipped bits or a missing end; of a packet that never was bytes, nothing."""

    content: object


Arrive = Callable[[int, int, object], None]
"""(receiver, sender, what was sent)"""


@dataclass(slots=True)
class LossRule:
    """Extra loss for a while: of some packet types, on some links."""

    types: tuple[str, ...]
    """Names of packet types; empty: all."""
    links: tuple[tuple[int, int], ...]
    """(sender, receiver); empty: all."""
    share: float
    until: float
    skip: int = 0
    """So many matching packets get through first."""
    count: int = -1
    """Packets that the rule drops before it ends; -1: no bound."""
    damages: bool = False
    """They arrive, but damaged."""

    def drops(self, link: tuple[int, int], packet: object, chance: float) -> bool:
        """Whether it takes this packet."""
        if self.types and type(packet).__name__ not in self.types:
            return False
        if (self.links and link not in self.links) or chance >= self.share or self.count == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.count -= 1
        return True


@dataclass(frozen=True, slots=True)
class LagRule:
    """Extra delay for a while: of some packet types, on some links."""

    types: tuple[str, ...]
    links: tuple[tuple[int, int], ...]
    lag: float
    """Seconds; infinite: held until `Network.release`."""
    until: float


class Network:
    """Carries packets between nodes 1 … n, more or less."""

    def __init__(self, seed: int, nodes: int, weather: Weather, scheduler: Scheduler, arrive: Arrive) -> None:
        self.nodes = tuple(range(1, nodes + 1))
        self.dropped: Counter[str] = Counter()
        self.carried: Counter[type] = Counter()
        """Packets taken for one receiver each, by type."""
        self.rules: list[LossRule] = []
        self._damaging: list[LossRule] = []
        self.lags: list[LagRule] = []
        self._keeps = False
        self._kept: deque[tuple[tuple[int, int], bytes]] = deque(maxlen=KEPT_MAX)
        """Datagrams that somebody has recorded, to play them again."""
        self._held: list[tuple[int, tuple[int, int], object]] = []
        self._scheduler = scheduler
        self._arrive = arrive
        self._weather = weather
        self._links = [(a, b) for a in self.nodes for b in self.nodes if a != b]
        self._keys = {link: purpose_key(seed, "link", *link) for link in self._links}
        self._burst_keys = {link: purpose_key(seed, "burst", *link) for link in self._links}
        self._counts = dict.fromkeys(self._links, 0)
        self._cut = dict.fromkeys(self._links, False)
        self._loss = dict.fromkeys(self._links, weather.loss)
        self._set_bad_links(seed)
        self._seed = seed
        self._namesake: tuple[int, int] | None = None
        """A node id that a second process has taken, and the address of that process."""
        self._epoch = 0
        """Packets of an earlier epoch are not delivered: the network was flushed."""

    def _set_bad_links(self, seed: int) -> None:
        for link in self._links:
            if bits_at(purpose_key(seed, "bad link", *link), 0) * _TO_FRACTION < self._weather.bad_links:
                self._loss[link] = self._weather.bad_link_loss

    # ------------------------------------------------------------------ faults

    def set_cut(self, sender: int, receiver: int, cut: bool = True) -> None:
        """Break, or mend, one direction of a link."""
        self._cut[sender, receiver] = cut

    def is_cut(self, sender: int, receiver: int) -> bool:
        """Whether nothing gets through in this direction."""
        return self._cut[sender, receiver]

    def partition(self, groups: tuple[tuple[int, ...], ...]) -> None:
        """Only members of one group hear each other; every other cut is mended."""
        side = {node: index for index, group in enumerate(groups) for node in group}
        for a, b in self._links:
            self._cut[a, b] = side.get(a) != side.get(b)

    def heal(self) -> None:
        """Mend every link."""
        for link in self._links:
            self._cut[link] = False

    def set_namesake(self, node: int, address: int) -> None:
        """A second process with the id *node* lives at *address*, and gets what is meant for many, as by multicast."""
        self._namesake = node, address
        for other in self.nodes:
            for link in ((address, other), (other, address)):
                self._links.append(link)
                self._keys[link] = purpose_key(self._seed, "link", *link)
                self._burst_keys[link] = purpose_key(self._seed, "burst", *link)
                self._counts[link], self._cut[link], self._loss[link] = 0, False, self._weather.loss

    def remove_namesake(self) -> None:
        """It is gone."""
        if self._namesake is not None:
            for link in [link for link in self._links if self._namesake[1] in link]:
                self._links.remove(link)
                self._cut[link] = True
            self._namesake = None

    def add_rule(self, rule: LossRule) -> None:
        """Lose, or damage, more from now on."""
        (self._damaging if rule.damages else self.rules).append(rule)

    def keep(self) -> None:
        """Record what passes from now on, for `replay`."""
        self._keeps = True

    def replay(self, count: int, key: int) -> None:
        """Let recorded datagrams arrive a second time, each where it was addressed to, whoever that is by now."""
        for draw in range(count):
            if self._kept:
                (sender, receiver), content = self._kept[bits_at(key, draw) % len(self._kept)]
                flight = (self._epoch, (sender, receiver), content)
                self._scheduler.at(self._scheduler.now + draw * REPLAY_GAP, self._land, flight)

    def forge(self, receiver: int, count: int, key: int) -> None:
        """Let bytes arrive that no node ever sent."""
        for draw in range(count):
            bits = bits_at(key, draw)
            length = bits % FORGED_BYTES_MAX
            content = b"".join(bits_at(bits, index).to_bytes(8, "big") for index in range(length // 8 + 1))
            if bits & 1:
                content = FORGED_START + content
            flight = (self._epoch, (1 if receiver != 1 else 2, receiver), Damaged(content))
            self._scheduler.at(self._scheduler.now + draw * REPLAY_GAP, self._land, flight)

    def release(self, receiver: int) -> None:
        """Deliver what is held for *receiver*."""
        mine = [flight for flight in self._held if flight[1][1] == receiver]
        self._held = [flight for flight in self._held if flight[1][1] != receiver]
        for flight in mine:
            self._scheduler.at(self._scheduler.now, self._land, flight)

    def calm(self) -> None:
        """From now on a perfect network: nothing is lost, and what is still under way is forgotten."""
        self._weather = replace(
            self._weather, corruption=0, loss=0, data_loss=0, bursts=0, duplicates=0, tail=0, data_lag=0, token_lag=0
        )
        self._loss = dict.fromkeys(self._links, 0.0)
        self.rules.clear()
        self._damaging.clear()
        self.lags.clear()
        self._held.clear()
        self.heal()
        self._epoch += 1

    # ----------------------------------------------------------------- packets

    def send(self, sender: int, receiver: int, packet: object, content: object) -> None:
        """Take *packet* for one receiver; *content* is what arrives (the packet, or its bytes)."""
        link = (sender, receiver)
        if self._namesake is not None and not isinstance(packet, (Token, CommitToken, Control)):
            self._send_to_namesake(sender, receiver, packet, content)
        self.carried[type(packet)] += 1
        index = self._counts[link]
        self._counts[link] = index + 1
        if self._cut[link]:
            self.dropped["cut"] += 1
            return
        bits = bits_at(self._keys[link], index)
        chance = (bits % _FIELD) * _PER_FIELD
        if self._is_lost(link, packet, chance):
            return
        if self._weather.corruption or self._damaging:
            content = self._perhaps_damaged(link, packet, content, bits)
        if self._keeps and isinstance(content, bytes):
            self._kept.append((link, content))
        self._launch(link, packet, content, bits >> 21)

    def _send_to_namesake(self, sender: int, receiver: int, packet: object, content: object) -> None:
        """What goes to the one goes to the other, too; what the one sends to many is taken when its first copy goes."""
        assert self._namesake is not None
        node, address = self._namesake
        first = next(other for other in self.nodes if other != node)
        if sender != address and (receiver == node or (sender == node and receiver == first)):
            self.send(sender, address, packet, content)

    def _perhaps_damaged(self, link: tuple[int, int], packet: object, content: object, bits: int) -> object:
        fate = (scramble(bits) % _FIELD) * _PER_FIELD
        hit = fate < self._weather.corruption
        if self._damaging:
            now = self._scheduler.now
            self._damaging = [rule for rule in self._damaging if rule.until > now and rule.count != 0]
            hit = any(rule.drops(link, packet, fate) for rule in self._damaging) or hit
        if not hit:
            return content
        self.dropped[f"damaged.{type(packet).__name__}"] += 1
        return Damaged(damage(content, scramble(~bits)) if isinstance(content, bytes) else None)

    def _is_lost(self, link: tuple[int, int], packet: object, chance: float) -> bool:
        weather = self._weather
        loss = self._loss[link]
        if chance < loss or (weather.data_loss and chance < loss + weather.data_loss and isinstance(packet, Mcast)):
            self.dropped["loss"] += 1
            return True
        if weather.bursts and chance < BURST_LOSS:
            slice_bits = bits_at(self._burst_keys[link], int(self._scheduler.now / BURST_SLICE))
            if slice_bits * _TO_FRACTION < weather.bursts:
                self.dropped["burst"] += 1
                return True
        if self.rules:
            now = self._scheduler.now
            self.rules = [rule for rule in self.rules if rule.until > now and rule.count != 0]
            if any(rule.drops(link, packet, chance) for rule in self.rules):
                self.dropped[f"rule.{type(packet).__name__}"] += 1
                return True
        return False

    def _launch(self, link: tuple[int, int], packet: object, content: object, bits: int) -> None:
        weather = self._weather
        even = (bits % _FIELD) * _PER_FIELD
        delay = weather.latency + weather.jitter * even
        if weather.data_lag and isinstance(packet, Mcast):
            delay += weather.data_lag * even
        elif weather.token_lag and isinstance(packet, Token | CommitToken):
            delay += weather.token_lag * even
        if self.lags:
            delay += self._lag(link, packet)
        fate = (bits >> 21) * _PER_FIELD * 0.5
        if fate < weather.tail:
            delay += min(weather.tail_delay, weather.latency * weather.tail / (fate + 1e-9))
        now = self._scheduler.now
        if delay == inf:
            self._held.append((self._epoch, link, content))
            return
        self._scheduler.at(now + delay, self._land, (self._epoch, link, content))
        if 1 - fate < weather.duplicates:
            later = delay + weather.duplicate_delay * even
            self._scheduler.at(now + later, self._land, (self._epoch, link, content))

    def _lag(self, link: tuple[int, int], packet: object) -> float:
        self.lags = [rule for rule in self.lags if rule.until > self._scheduler.now]
        kind = type(packet).__name__
        return max((rule.lag for rule in self.lags if kind in rule.types and link in rule.links), default=0.0)

    def _land(self, flight: tuple[int, tuple[int, int], object]) -> None:
        epoch, (sender, receiver), content = flight
        if epoch == self._epoch:
            self._arrive(receiver, sender, content)


def damage(content: bytes, bits: int) -> bytes:
    """The same bytes with up to eight bits flipped; every fourth time the end is missing besides."""
    damaged = bytearray(content)
    if bits & 3 == 0 and len(damaged) > 1:
        del damaged[(bits >> 2) % len(damaged) :]
    for draw in range(1 + (bits >> 40) % 8):
        if damaged:
            place = bits_at(bits, draw)
            damaged[(place >> 3) % len(damaged)] ^= 1 << (place & 7)
    return bytes(damaged)
