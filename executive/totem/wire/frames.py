"""The frame layer: packets in, datagrams out, and back.  The totem process talks to this and to its link only.

```
seal(packet)  ─ seal ─ cut ──► a run of datagrams for any number of receivers
receive_run(run) ─ reassemble ─ open ─ prove the sender, drop replays ──► take_events()
                       └─ ask_for_missing() ──► take_events(): what was lost of a frame comes again
```

Pure: time and random bytes come in, what is to be done comes out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import assert_never

from .allowance import Allowance
from .datagrams import (
    NAMED_BOOT_BYTES,
    Fragments,
    Frame,
    Run,
    Source,
    cut,
    leading_fragments,
    quoted_frame,
    split_name,
)
from .events import Dropped, DuplicateNode, FrameEvent, PacketReceived, PeerEnded, PeerProven, SendControl, Target
from .reassembly import Reassembler, Wanted
from .refusals import Refusal, Refused
from .repair import REQUESTS_AT_ONCE_MAX, REQUESTS_PER_SECOND_MAX, SentRuns, request
from .repeated import RepeatedFrames
from .replay import RecentFloor
from .seal import EVERYBODY, ClusterSecret, FrameKind, Opener, Sealer, name_of
from .sessions import Answer, Ask, Peers, PeersEffect, Repair, response
from .suites import Suite


@dataclass(frozen=True, slots=True)
class FrameSettings:
    """What the layer has to know of the configuration."""

    node_id: int
    cluster_name: str
    suite: Suite
    key: bytes
    """The cluster key; not used with `Suite.NONE`."""
    nodes: tuple[int, ...]
    """The configured node ids."""
    admit_unlisted: bool
    """Whether other node ids may speak too, if they have the key (block_unlisted_ips: no)."""
    datagram_bytes: int
    """Longest datagram (without IP and UDP headers)."""


class FrameLayer:
    """Sealing, sessions and datagrams of one process.

    After each call of `receive` (or a batch of them) the caller calls `ask_for_missing`.  After that, `expire` or
    `greet` it acts on `take_events`, and looks at `next_deadline`.
    """

    def __init__(self, settings: FrameSettings, boot: bytes, random_bytes: Callable[[int], bytes]) -> None:
        """*boot*: 16 bytes of the kernel's generator, fresh for this process; *random_bytes*: that generator.

        Raises:
            InvalidArgument: the suite needs a key and there is none.
            OperationFailed: this machine does not offer the cipher.
        """
        secret = ClusterSecret(settings.suite, settings.cluster_name, settings.key)
        self._datagram_bytes = settings.datagram_bytes
        self._whole_boot = boot
        self._boot = int.from_bytes(boot[:NAMED_BOOT_BYTES], "big")
        self._sealer = Sealer(secret, settings.node_id, boot)
        self._opener = Opener(secret)
        self._peers = Peers(settings.node_id, boot, settings.nodes, settings.admit_unlisted, random_bytes)
        self._reassembler = Reassembler(self._is_known)
        self._sent = SentRuns(boot[:NAMED_BOOT_BYTES])
        self._allowance = Allowance(REQUESTS_AT_ONCE_MAX, REQUESTS_PER_SECOND_MAX)
        self._repairs_asked = 0
        self._repairs_sent = 0
        self._recent = RecentFloor()
        self._repeated = RepeatedFrames()
        self._events: list[FrameEvent] = []
        self._dropped: Counter[Refusal] = Counter()
        self._received = 0
        self._datagrams_received = 0
        self._quotes_refused = 0
        self._sealed_bytes = 0

    def seal(self, payload: bytes, now: float, to: int = EVERYBODY) -> Run:
        """The datagrams of one packet, good for any number of receivers, once; with *to* for that node only.

        Raises:
            InvalidArgument: more than `seal.PAYLOAD_BYTES_MAX` bytes.
        """
        return self._seal(FrameKind.PACKET, payload, to, now)

    def seal_repeated(self, name: Hashable, payload: bytes, now: float) -> Run:
        """As `seal`, of a packet that is sent again: for a while as the same datagrams, so that a receiver who lost
        some of them before has use for the others.  *name* is the packet's, by which it is known again.
        """
        kept = self._repeated.get(name, self._sealer.counter, now)
        if kept is not None:
            self._sent.keep(kept.counter, kept.datagrams)
            return kept.datagrams
        number = self._sealer.counter
        datagrams = self.seal(payload, now)
        self._repeated.keep(name, datagrams, number, now)
        return datagrams

    def obituary(self, now: float) -> bytes:
        """One datagram that ends this boot for whoever receives it; for the executive to keep until it is true."""
        (datagram,) = self._seal(FrameKind.OBITUARY, b"", EVERYBODY, now)
        return datagram

    def has_sent(self, quoted: bytes, now: float) -> bool:
        """Whether *quoted* is the beginning of a datagram that this boot has sent lately.

        Nobody can guess that who has not seen one, since it holds random bytes of this boot.
        """
        frame = quoted_frame(quoted)
        name = name_of(frame) if isinstance(frame, bytes) else frame
        boot, counter = name if name is not None else (b"", 0)
        ours = boot in (self._boot, self._whole_boot)
        recent = self._recent.at(self._sealer.counter, now) <= counter < self._sealer.counter
        if not (ours and recent):
            self._quotes_refused += 1
        return ours and recent

    def greet(self, now: float) -> None:
        """Ask every configured node that is not proven yet whether it is there.

        To be called once the link is open: with all of them proven before the first packet, none has to wait.
        """
        self._peers.greet(now)
        self._carry_out(self._peers.take_effects(), now)

    def receive_run(self, run: Run, source: Source, now: float) -> None:
        """Take any datagrams that arrived from one source; they never raise."""
        at, end, size = 0, len(run.data), run.size
        while True:
            several = leading_fragments(run, at)
            if several is None:
                self.receive(run.data[at : at + size], source, now)
                at += size
            else:
                fragments, at = several
                self._datagrams_received += len(fragments.chunks)
                self._reassemble(fragments, source, now)
            if at >= end:
                return

    def receive(self, datagram: bytes, source: Source, now: float) -> None:
        """Take any bytes that arrived; they never raise."""
        self._datagrams_received += 1
        self._reassemble(datagram, source, now)

    def _reassemble(self, found: bytes | Fragments, source: Source, now: float) -> None:
        try:
            if isinstance(found, bytes):
                frame = self._reassembler.receive(found, source, now)
            else:
                frame = self._reassembler.take(found, source, now)
        except Refused as refused:
            self._drop(Dropped(refused.refusal, source))
            return
        if frame is not None:
            self._take(frame, source, now)

    def _take(self, frame: bytes, source: Source, now: float) -> None:
        try:
            opened = self._opener.open(frame)
        except Refused as refused:
            self._drop(Dropped(refused.refusal, source))
            return
        self._reassembler.overtaken(source, opened.boot, opened.counter, now)
        self._peers.receive(opened, source, now)
        self._carry_out(self._peers.take_effects(), now)

    def ask_for_missing(self, now: float) -> None:
        """Ask for the rest of frames, where it is time: once for all that was received at once."""
        for wanted in self._reassembler.wanted(now):
            self._ask_for(wanted, now)

    def expire(self, now: float) -> None:
        """Do what is due at *now*: repeat challenges, ask for the rest of incomplete frames, give them up."""
        self._reassembler.expire(now)
        self.ask_for_missing(now)
        self._peers.expire(now)
        self._carry_out(self._peers.take_effects(), now)

    def next_deadline(self) -> float | None:
        """When `expire` has something to do; None = nothing is pending."""
        incomplete, asked = self._reassembler.next_deadline(), self._peers.next_deadline()
        if incomplete is None or asked is None:
            return asked if incomplete is None else incomplete
        return min(incomplete, asked)

    def take_events(self) -> list[FrameEvent]:
        """What happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def set_nodes(self, nodes: Iterable[int]) -> None:
        """The configured nodes from now on."""
        self._peers.set_nodes(nodes)

    def unproven(self) -> tuple[int, ...]:
        """The other configured nodes that have not shown yet that they are there."""
        return self._peers.unproven()

    def counters(self) -> dict[str, int]:
        """Numbers since the start: what was sealed and received, and what was dropped for which `Refusal`."""
        dropped = {f"dropped_{refusal.value}": self._dropped[refusal] for refusal in Refusal}
        dropped[f"dropped_{Refusal.INCOMPLETE_FRAME.value}"] += self._reassembler.abandoned
        return {
            "frames_sealed": self._sealer.counter,
            "bytes_sealed": self._sealed_bytes,
            "datagrams_received": self._datagrams_received,
            "packets_received": self._received,
            "repairs_asked": self._repairs_asked,
            "repairs_sent": self._repairs_sent,
            "quotes_refused": self._quotes_refused,
            "bytes_awaiting_fragments": self._reassembler.held_bytes,
            **dropped,
        }

    def _seal(self, kind: FrameKind, payload: bytes, to: int, now: float) -> Run:
        number = self._sealer.counter
        self._recent.note(number, now)
        self._sealed_bytes += len(payload)
        run = cut(self._sealer.seal(kind, payload, to), self._datagram_bytes, Frame(self._boot, number))
        self._sent.keep(number, run)
        return run

    def _carry_out(self, effects: list[PeersEffect], now: float) -> None:
        for effect in effects:
            match effect:
                case PacketReceived():
                    self._received += 1
                    self._events.append(effect)
                case Ask():
                    self._control(effect, FrameKind.CHALLENGE, effect.challenge, now)
                case Answer():
                    floor = self._recent.at(self._sealer.counter, now)
                    self._control(effect, FrameKind.RESPONSE, response(effect.challenge, floor), now)
                case Dropped():
                    self._drop(effect)
                case Repair(to=to, payload=payload):
                    self._repair(to, payload)
                case PeerProven() | PeerEnded() | DuplicateNode():
                    self._events.append(effect)
                case _:
                    assert_never(effect)

    def _control(self, effect: Ask | Answer, kind: FrameKind, payload: bytes, now: float) -> None:
        self._events.append(SendControl(effect.to, self._seal(kind, payload, effect.node, now)))

    def _is_known(self, name: bytes) -> bool:
        boot, number = split_name(name)
        return self._peers.has_spoken(boot, number)

    def _ask_for(self, wanted: Wanted, now: float) -> None:
        boot, _ = split_name(wanted.name)
        node = self._peers.believed(boot)
        if node is None or not self._allowance.take(node, now):
            return
        self._repairs_asked += 1
        to = self._peers.target(node, wanted.source)
        self._events.append(SendControl(to, self._seal(FrameKind.REPAIR, request(wanted), node, now)))

    def _repair(self, to: Target, payload: bytes) -> None:
        run = self._sent.asked(payload)
        if run is not None:
            self._repairs_sent += len(run)
            self._events.append(SendControl(to, run))

    def _drop(self, dropped: Dropped) -> None:
        self._dropped[dropped.refusal] += 1
        self._events.append(dropped)
