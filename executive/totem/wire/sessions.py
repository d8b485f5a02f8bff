"""Who may be believed: a boot of a node only once it has proven, by answering a challenge, that it is alive now.

A valid seal proves that a holder of the key sealed a frame, not when.  Somebody without the key can record frames and
play them again later: those of an earlier boot of a node, or those that were sent before this process started.  So:

* A frame of an unknown boot is not believed.  Its node is asked to seal 16 random bytes (a challenge); whichever boot
  answers is the living one.  Challenges go to the configured address, at a bounded rate.
* The answer states a floor: the counter from which the sender's frames are at most `3 * RECENT_SECONDS` old.  Frames
  below it are never believed, those that waited for the answer and lie above it are.
* From then on a window over the counters lets each frame through once.  The node's earlier boot is retired.
* An obituary retires the boot that sealed it.  It is sealed when the boot begins and leaves the machine only when it
  has ended; so the window does not apply to it, and whoever plays it again later says what is true already.

Both directions are proven separately, with every suite.  A frame with this node's own id and another boot is asked in
the same way, at the address it came from; an answer means that there are two nodes with one id.

Pure: time and random bytes come in, effects come out as data.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from .allowance import Allowance
from .datagrams import NAMED_BOOT_BYTES, Source
from .events import Dropped, DuplicateNode, PacketReceived, PeerEnded, PeerProven, Target
from .packets import NODES_MAX
from .refusals import Refusal
from .replay import ReplayWindow
from .seal import EVERYBODY, FrameKind, OpenedFrame

CHALLENGE_BYTES: Final = 16
"""Random bytes of a challenge."""

CHALLENGE_INTERVAL_SECONDS: Final = 0.05
"""Shortest time between two challenges to one node, whatever makes us ask.  Repetitions by themselves double it."""

CHALLENGE_SECONDS: Final = 3.0
"""How long a challenge may be answered.  Bounds how long an answer, and what it vouches for, can be held back."""

ANSWERS_AT_ONCE_MAX: Final = 64
"""Challenges of boots of one node, none of which is believed, that are answered within a moment."""

ANSWERS_PER_SECOND_MAX: Final = 40
"""And in the long run: a node asks 20 times a second, but recorded challenges of earlier boots can be played faster."""

ANSWERED_MAX: Final = 256
"""Challenges that are remembered, so that none is answered twice."""

PENDING_FRAMES_MAX: Final = 8
"""Frames of one node that wait for its answer; the oldest gives way."""

PENDING_BYTES_MAX: Final = 1024 * 1024
"""Bytes that wait for answers, all nodes together."""

RETIRED_BOOTS_MAX: Final = 16
"""Earlier boots of a node that are remembered; an older one would be asked, and could not answer."""

_RESPONSE: Final = struct.Struct(f">{CHALLENGE_BYTES}sQ")


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a challenge."""

    node: int
    """The receiver's node id, for the seal."""
    to: Target
    challenge: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """Send a response; its floor is for the sealer to add (see `response`)."""

    node: int
    to: Target
    challenge: bytes


@dataclass(frozen=True, slots=True)
class Repair:
    """Send again what a believed node lacks of a frame."""

    to: Target
    payload: bytes
    """What it asks for (see `repair`)."""


PeersEffect: TypeAlias = PacketReceived | Repair | Ask | Answer | PeerProven | PeerEnded | DuplicateNode | Dropped


def response(challenge: bytes, floor: int) -> bytes:
    """The payload of a response."""
    return _RESPONSE.pack(challenge, floor)


@dataclass(slots=True)
class _Challenge:
    """One that is open.  Sent again unchanged, so that a late answer to any of its copies counts."""

    nonce: bytes
    node: int
    to: Target
    ends: float
    interval: float
    """Until it is sent again, if nothing happens."""
    again_at: float


@dataclass(slots=True)
class _Pending:
    frame: OpenedFrame
    source: Source


@dataclass(slots=True)
class _Peer:
    """What is known of a node.  Invariant: frames are pending only while a challenge is open."""

    boot: bytes = b""
    """The believed one; empty if none is."""
    window: ReplayWindow = field(default_factory=lambda: ReplayWindow(0))
    retired: deque[bytes] = field(default_factory=lambda: deque(maxlen=RETIRED_BOOTS_MAX))
    challenge: _Challenge | None = None
    ask_from: float = 0.0
    """No challenge before."""
    pending: deque[_Pending] = field(default_factory=deque)


class Peers:
    """The other nodes, as far as they can be believed."""

    def __init__(
        self,
        node_id: int,
        boot: bytes,
        nodes: Iterable[int],
        admit_unlisted: bool,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """*nodes*: the configured ones.  *admit_unlisted*: others with the key may speak too, `NODES_MAX` in all."""
        self._node_id = node_id
        self._my_names = (EVERYBODY, node_id)
        self._boot = boot
        self._random_bytes = random_bytes
        self._admit_unlisted = admit_unlisted
        self._listed: frozenset[int] = frozenset()
        self._peers: dict[int, _Peer] = {}
        self._asked: dict[int, _Peer] = {}
        """Those with an open challenge."""
        self._believed: dict[bytes, int] = {}
        """First half of a believed boot -> its node."""
        self._namesake = _Peer()
        self._pending_bytes = 0
        self._answers = Allowance(ANSWERS_AT_ONCE_MAX, ANSWERS_PER_SECOND_MAX)
        self._answered: deque[tuple[bytes, int]] = deque(maxlen=ANSWERED_MAX)
        """Boots and counters of challenges."""
        self._effects: list[PeersEffect] = []
        self.set_nodes(nodes)

    def set_nodes(self, nodes: Iterable[int]) -> None:
        """The configured nodes from now on; what is known of those that are gone is forgotten."""
        self._listed = frozenset(nodes) - {self._node_id}
        if not self._admit_unlisted:
            for gone in sorted(self._peers.keys() - self._listed):
                self._close(gone, self._peers[gone])
                self._believed.pop(self._peers[gone].boot[:NAMED_BOOT_BYTES], None)
                del self._peers[gone]

    def greet(self, now: float) -> None:
        """Challenge every configured node that is not believed yet, instead of waiting for its first frame."""
        for node in sorted(self._listed):
            if not self._peer(node).boot:
                self._ask(node, self._peer(node), node, now)

    def unproven(self) -> tuple[int, ...]:
        """Configured nodes none of whose boots is believed yet."""
        return tuple(node for node in sorted(self._listed) if node not in self._peers or not self._peers[node].boot)

    def receive(self, frame: OpenedFrame, source: Source, now: float) -> None:
        """Take a frame whose seal has been checked."""
        peer = self._peers.get(frame.sender)
        if frame.to not in self._my_names:
            self._drop(Refusal.MISDIRECTED_FRAME, source)
        elif frame.kind == FrameKind.OBITUARY:
            self._from_the_dead(frame, peer, source)
        elif peer is None or peer.boot != frame.boot:
            self._from_unknown_boot(frame, source, now)
        elif not peer.window.accept(frame.counter):
            self._drop(Refusal.REPLAYED_FRAME, source)
        elif frame.kind == FrameKind.PACKET:
            self._effects.append(PacketReceived(frame.sender, frame.boot, frame.payload))
        elif frame.kind == FrameKind.CHALLENGE:
            self._answer(frame, source)
        elif frame.kind == FrameKind.REPAIR:
            self._effects.append(Repair(self.target(frame.sender, source), frame.payload))
        elif self._read_response(frame, peer, source) is not None:
            # The believed boot is alive, so whatever made us ask was old.
            self._close(frame.sender, peer)

    def believed(self, boot: bytes) -> int | None:
        """The node whose believed boot begins so: with the half of it that fragments name."""
        return self._believed.get(boot)

    def has_spoken(self, boot: bytes, counter: int) -> bool:
        """Whether this frame of the believed boot that begins so has been received, or is too old to be."""
        node = self.believed(boot)
        return node is not None and self._peers[node].window.seen(counter)

    def expire(self, now: float) -> None:
        """Repeat, or give up, the challenges that are due."""
        for node, peer in list(self._asked.items()):
            challenge = peer.challenge
            if challenge is None or now >= challenge.ends:
                self._close(node, peer)
            elif now >= challenge.again_at:
                challenge.interval *= 2
                self._send(peer, challenge, now)

    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        if not self._asked:
            return None
        challenges = [peer.challenge for peer in self._asked.values() if peer.challenge is not None]
        return min(min(challenge.again_at, challenge.ends) for challenge in challenges)

    def take_effects(self) -> list[PeersEffect]:
        """What is to be done now, in this order."""
        effects, self._effects = self._effects, []
        return effects

    def _from_unknown_boot(self, frame: OpenedFrame, source: Source, now: float) -> None:
        if frame.sender == self._node_id:
            self._from_namesake(frame, source, now)
            return
        if not self._may_speak(frame.sender):
            self._drop(Refusal.UNLISTED_SENDER, source)
            return
        peer = self._peer(frame.sender)
        if frame.boot in peer.retired:
            self._drop(Refusal.RETIRED_BOOT, source)
        elif frame.kind == FrameKind.RESPONSE:
            floor = self._read_response(frame, peer, source)
            if floor is not None:
                self._believe(frame, peer, floor, now)
        else:
            if frame.kind == FrameKind.CHALLENGE:
                self._answer_unproven(frame, source, now)
            self._ask(frame.sender, peer, self.target(frame.sender, source), now)
            if frame.kind == FrameKind.PACKET:
                self._hold(peer, frame, source)

    def _from_namesake(self, frame: OpenedFrame, source: Source, now: float) -> None:
        if frame.boot == self._boot:
            self._drop(Refusal.OWN_FRAME, source)
        elif frame.kind == FrameKind.RESPONSE:
            if self._read_response(frame, self._namesake, source) is not None:
                self._close(self._node_id, self._namesake)
                self._effects.append(DuplicateNode(self._node_id, source, yields=self._boot > frame.boot))
        else:
            self._drop(Refusal.NAMESAKE_FRAME, source)
            # Before the answer: with that the other one may end at once, and then would not answer any more.
            self._ask(self._node_id, self._namesake, source, now)
            if frame.kind == FrameKind.CHALLENGE:
                self._answer_unproven(frame, source, now)

    def _from_the_dead(self, frame: OpenedFrame, peer: _Peer | None, source: Source) -> None:
        """A boot has ended; that concerns us if it is the believed one."""
        if frame.sender == self._node_id:
            self._drop(Refusal.OWN_FRAME if frame.boot == self._boot else Refusal.NAMESAKE_FRAME, source)
        elif peer is None or peer.boot != frame.boot:
            known = peer is not None and frame.boot in peer.retired
            self._drop(Refusal.RETIRED_BOOT if known else Refusal.UNPROVEN_FRAME, source)
        else:
            peer.retired.append(peer.boot)
            self._believed.pop(peer.boot[:NAMED_BOOT_BYTES], None)
            peer.boot = b""
            self._effects.append(PeerEnded(frame.sender, frame.boot))

    def _may_speak(self, sender: int) -> bool:
        return sender in self._listed or (
            self._admit_unlisted and (sender in self._peers or len(self._peers) < NODES_MAX)
        )

    def _peer(self, node: int) -> _Peer:
        if node not in self._peers:
            self._peers[node] = _Peer()
        return self._peers[node]

    def target(self, sender: int, source: Source) -> Target:
        """A configured node is spoken to at its configured address, whatever address a frame of it comes from."""
        return sender if sender in self._listed else source

    def _ask(self, node: int, peer: _Peer, to: Target, now: float) -> None:
        if peer.challenge is not None and now >= peer.challenge.ends:
            self._close(node, peer)
        if now < peer.ask_from:
            return
        if peer.challenge is None:
            nonce = self._random_bytes(CHALLENGE_BYTES)
            peer.challenge = _Challenge(
                nonce, node, to, now + CHALLENGE_SECONDS, CHALLENGE_INTERVAL_SECONDS, again_at=now
            )
            self._asked[node] = peer
        # Somebody speaks, so a repetition that has been put off because nobody did is worth while now.
        peer.challenge.interval = CHALLENGE_INTERVAL_SECONDS
        self._send(peer, peer.challenge, now)

    def _send(self, peer: _Peer, challenge: _Challenge, now: float) -> None:
        challenge.again_at = now + challenge.interval
        peer.ask_from = now + CHALLENGE_INTERVAL_SECONDS
        self._effects.append(Ask(challenge.node, challenge.to, challenge.nonce))

    def _answer_unproven(self, frame: OpenedFrame, source: Source, now: float) -> None:
        """It may be a recording: each is answered once, and not too many of them."""
        name = (frame.boot, frame.counter)
        if name in self._answered or not self._answers.take(frame.sender, now):
            self._drop(Refusal.UNPROVEN_FRAME, source)
            return
        self._answered.append(name)
        self._answer(frame, source)

    def _answer(self, frame: OpenedFrame, source: Source) -> None:
        if len(frame.payload) != CHALLENGE_BYTES:
            self._drop(Refusal.BAD_CONTROL, source)
            return
        # A namesake is answered where it is; anybody else at the configured address.
        to = source if frame.sender == self._node_id else self.target(frame.sender, source)
        self._effects.append(Answer(frame.sender, to, frame.payload))

    def _read_response(self, frame: OpenedFrame, peer: _Peer, source: Source) -> int | None:
        """The floor that a response states, if it answers the open challenge; else it is dropped."""
        if len(frame.payload) != _RESPONSE.size:
            self._drop(Refusal.BAD_CONTROL, source)
            return None
        nonce, floor = _RESPONSE.unpack(frame.payload)
        if peer.challenge is None or nonce != peer.challenge.nonce:
            self._drop(Refusal.UNASKED_RESPONSE, source)
            return None
        if floor > frame.counter:
            self._drop(Refusal.BAD_CONTROL, source)
            return None
        return int(floor)

    def _hold(self, peer: _Peer, frame: OpenedFrame, source: Source) -> None:
        """Keep a frame until its sender has answered; without an open challenge none is to be expected."""
        if peer.challenge is None or self._pending_bytes + len(frame.payload) > PENDING_BYTES_MAX:
            self._drop(Refusal.UNPROVEN_FRAME, source)
            return
        if len(peer.pending) >= PENDING_FRAMES_MAX:
            oldest = peer.pending.popleft()
            self._pending_bytes -= len(oldest.frame.payload)
            self._drop(Refusal.UNPROVEN_FRAME, oldest.source)
        peer.pending.append(_Pending(frame, source))
        self._pending_bytes += len(frame.payload)

    def _believe(self, response_frame: OpenedFrame, peer: _Peer, floor: int, now: float) -> None:
        restarted = bool(peer.boot or peer.retired)
        if peer.boot:
            peer.retired.append(peer.boot)
            self._believed.pop(peer.boot[:NAMED_BOOT_BYTES], None)
        peer.boot = response_frame.boot
        self._believed[peer.boot[:NAMED_BOOT_BYTES]] = response_frame.sender
        peer.window = ReplayWindow(floor)
        peer.window.accept(response_frame.counter)
        self._effects.append(PeerProven(response_frame.sender, peer.boot, restarted))
        waited, peer.pending = peer.pending, deque()
        for pending in waited:
            self._pending_bytes -= len(pending.frame.payload)
            if pending.frame.boot == peer.boot and pending.frame.counter >= floor:
                self.receive(pending.frame, pending.source, now)
            else:
                self._drop(Refusal.UNPROVEN_FRAME, pending.source)
        self._close(response_frame.sender, peer)

    def _close(self, node: int, peer: _Peer) -> None:
        """The open challenge is over; what still waits for an answer is dropped."""
        peer.challenge = None
        self._asked.pop(node, None)
        for pending in peer.pending:
            self._pending_bytes -= len(pending.frame.payload)
            self._drop(Refusal.UNPROVEN_FRAME, pending.source)
        peer.pending.clear()

    def _drop(self, refusal: Refusal, source: Source) -> None:
        self._effects.append(Dropped(refusal, source))
