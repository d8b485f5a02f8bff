"""What a member sends with the token: what others miss, and what waits here (docs/totem.md §4.3, §4.5)."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ....ipc.ids import Guarantee
from ..wire.codec import MCAST_OVERHEAD_BYTES
from ..wire.packets import NOBODY, Mcast, Token
from .context import RingContext
from .effects import Originated
from .flow import units


class Sending(NamedTuple):
    """What `originate` has done."""

    highest: int
    """Highest number of the ring now."""
    units: int
    """Datagram units sent."""
    kept: bool
    """The last frame says that this node keeps the token, as it was allowed to: nothing is left to send."""


def backlog(ring: RingContext) -> int:
    """What this node could send now, in datagram units."""
    size = ring.parameters.datagram_bytes
    if ring.recovery is not None:
        return sum(units(len(frame.body), size) for frame in ring.recovery.queue.values())
    pending = ring.outbox.pending_bytes(application=ring.installed.synchronised)
    return units(pending, size) if pending else 0


def wants_to_send(ring: RingContext) -> bool:
    """Whether something waits that this ring may carry now."""
    return ring.outbox.pending_bytes(application=ring.installed.synchronised) > 0


def retransmit(ring: RingContext, wanted: tuple[int, ...], budget: int) -> tuple[tuple[int, ...], int]:
    """Send again what others miss and we have; returns (what is still missing, units sent)."""
    still: list[int] = []
    repeats = ring.rotation.repeats
    spent = 0
    for seq in wanted:
        frame = ring.store.get(seq)
        size = 0 if frame is None else _size(ring, frame.body)
        if frame is None or (spent and spent + size > budget) or repeats.leaves_to_others(seq):
            still.append(seq)
            continue
        repeats.sent(seq, ring.receivers - 1)
        ring.multicast_ring(frame, repeated=True)
        ring.count("mcast.retransmitted")
        if frame.origin == ring.me:
            ring.frame_size.repeated()
        spent += size
    return tuple(still), spent


class Budget(NamedTuple):
    """What a visit may send anew."""

    units: int
    frames: int


def bounded(ring: RingContext, token: Token, allowed: int) -> Budget:
    """Stop sending before anybody's store is full: the slowest receiver throttles all."""
    # The others may send up to a window, in frames of any size, before this node sees the token again.
    parameters = ring.parameters
    window = parameters.window_size * parameters.window_growth
    frames = ring.store.room(token.highest) - min(window, parameters.store_frames_max // 2)
    room = (parameters.store_bytes_max - ring.store.held_bytes) // parameters.datagram_bytes
    if allowed > 0 and (frames <= 0 or room < allowed):
        ring.count("flow.store_limit")
    return Budget(max(0, min(allowed, room)), frames)


def originate(ring: RingContext, highest: int, allowed: Budget, *, resent: int, may_keep: bool) -> Sending:
    """Give our waiting frames their numbers and send them: what is *allowed* besides the *resent* units of this visit.

    *may_keep*: the token may stay here afterwards.  It does not if something is left, or waits for the safe mark.
    """
    sent = 0
    for _ in range(allowed.frames):
        if sent >= allowed.units:
            break
        # The first frame of a visit may always be a whole one, else nothing would ever be sent.
        most = allowed.units - sent if resent or sent else None
        frame = _next_rebroadcast(ring, highest + 1, most) if ring.recovery else _next_frame(ring, highest + 1, most)
        if frame is None:
            break
        may_keep = may_keep and frame.guarantee is not Guarantee.SAFE
        if may_keep and not ring.outbox.waiting_bytes:
            frame = msgspec.structs.replace(frame, kept=True)
        highest = ring.rotation.originated = frame.seq
        ring.store.add(frame)
        ring.multicast_ring(frame)
        ring.count("mcast.originated")
        size = _size(ring, frame.body)
        ring.frame_size.sent(size, ring.receivers)
        sent += size
    return Sending(highest, sent, may_keep and sent > 0 and not ring.outbox.waiting_bytes)


def _size(ring: RingContext, body: bytes) -> int:
    """Units of a frame with this body."""
    return units(len(body) + MCAST_OVERHEAD_BYTES, ring.parameters.datagram_bytes)


def _next_rebroadcast(ring: RingContext, seq: int, most: int | None) -> Mcast | None:
    """The next frame of at most *most* units that recovery has to send again."""
    assert ring.recovery is not None
    queue = ring.recovery.queue
    if not queue:
        return None
    first = next(iter(queue))
    if most is not None and _size(ring, queue[first].body) > most:
        return None
    waiting = queue.pop(first)
    return Mcast(ring.ring, seq, ring.me, waiting.guarantee, True, waiting.body)


def _next_frame(ring: RingContext, seq: int, most: int | None) -> Mcast | None:
    """The next frame of what waits here, of at most *most* units."""
    frame_bytes = ring.frame_bytes()
    if most is not None:
        frame_bytes = min(frame_bytes, most * ring.parameters.datagram_bytes - MCAST_OVERHEAD_BYTES)
    frame = ring.outbox.next_frame(frame_bytes, application=ring.installed.synchronised)
    if frame is None:
        return None
    for done in frame.completed:
        ring.emit(Originated(done.number, done.channel, ring.ring, seq, done.payload_bytes))
    return Mcast(ring.ring, seq, ring.me, frame.guarantee, False, frame.body)


def received_by_all(ring: RingContext, token: Token, highest: int) -> tuple[int, int]:
    """Paper: aru and aru_id.  The mark only rises when who lowered it passes, or when nobody lags."""
    mine = ring.store.received
    if mine < token.received_by_all or token.held_back_by in (ring.me, NOBODY):
        return mine, NOBODY if mine == highest else ring.me
    return token.received_by_all, token.held_back_by
