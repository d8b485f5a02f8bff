"""Delivery: agreed and safe messages in order, and the one step that installs a ring (docs/totem.md §4.6, §6)."""

from __future__ import annotations

from ....ipc.errors import MalformedMessage
from ....ipc.ids import Guarantee
from ..wire.packets import Mcast
from ..wire.packing import unpack
from .context import Episode, Installed, RingContext, RingState
from .effects import Deliver, Discarded, Level, RegularConfiguration, TransitionalConfiguration
from .timers import Timer


def deliver_available(ring: RingContext) -> None:
    """Deliver what is next in order: agreed messages that are here, safe ones once everybody is known to have them."""
    installed = ring.installed
    while (frame := installed.store.get(installed.delivered + 1)) is not None:
        if frame.guarantee is Guarantee.SAFE and frame.seq > ring.rotation.safe:
            return
        _deliver_frame(ring, frame, transitional=False)
        installed.delivered = frame.seq


def _deliver_frame(ring: RingContext, frame: Mcast, *, transitional: bool) -> None:
    try:
        body = unpack(frame.body)
    except MalformedMessage:
        ring.count("delivery.malformed")
        return
    for part in body.parts:
        payload = ring.assembler.feed(frame.origin, body.incarnation, part)
        if payload is not None:
            ring.emit(
                Deliver(
                    frame.origin,
                    part.number,
                    body.incarnation,
                    part.channel,
                    frame.guarantee,
                    frame.ring,
                    frame.seq,
                    transitional,
                    payload,
                )
            )


def install(ring: RingContext, now: float) -> None:
    """Close the old ring and install the new one, in one step that nothing can interrupt."""
    recovery, old = ring.recovery, ring.installed
    assert recovery is not None and recovery.install_seq is not None
    members, episode = ring.rotation.members, ring.episode
    _close_old_ring(ring, old, recovery.delivered)
    left = tuple(node for node in old.members if node not in recovery.survivors)
    ring.emit(TransitionalConfiguration(old.ring, ring.ring, recovery.survivors, left))
    _deliver_rest(ring, old)
    ring.assembler.reset()
    for void in ring.outbox.new_ring():
        ring.emit(Discarded(void.number, void.channel, void.payload_bytes))
    joined = tuple(node for node in members if node not in recovery.survivors)
    ring.emit(RegularConfiguration(ring.ring, members, recovery.survivors, joined))
    ring.fact("ring.installed", Level.NOTICE, ring=str(ring.ring), members=members, joined=joined, left=left,
              left_cleanly=tuple(node for node in left if node in episode.leavers), because=episode.reason.value,
              took_ms=round(1000 * (now - episode.began), 1), rounds=episode.rounds)  # fmt: skip
    ring.count("operational.entered")
    recovery.store.release(recovery.install_seq)
    ring.installed = Installed(ring.ring, members, recovery.store, delivered=recovery.install_seq)
    ring.recovery = None
    ring.backoff.installed(members, episode.failed, now, episode.deaf)
    ring.episode = Episode(members)
    ring.state = RingState.OPERATIONAL
    ring.rotation.unchanged_visits = 0
    ring.timers.arm(Timer.MERGE, now + ring.parameters.merge)


def _close_old_ring(ring: RingContext, old: Installed, delivered_by_somebody: int) -> None:
    """Deliver the rest of the old regular configuration up to the cut, which is the same for all survivors.

    Up to *delivered_by_somebody* everything is present and was delivered by a survivor already.  Beyond it, the first
    hole or the first safe message is the cut: a safe message that only this node knows to be safe goes into the
    transitional configuration, which is allowed; two nodes that cut differently are not.
    """
    while (frame := old.store.get(old.delivered + 1)) is not None:
        if frame.guarantee is Guarantee.SAFE and frame.seq > delivered_by_somebody:
            ring.count("install.cut_at_safe")
            return
        _deliver_frame(ring, frame, transitional=False)
        old.delivered = frame.seq
    if old.delivered < delivered_by_somebody:
        # Cannot happen: recovery brings everything that a survivor has delivered.  Counted so that tests see it.
        ring.count("bug.install_below_delivered")


def _deliver_rest(ring: RingContext, old: Installed) -> None:
    """Deliver in the transitional configuration: all before the first hole; behind it only from obliged senders.

    A message of anybody else behind a hole may depend on the missing one.
    """
    expected = old.delivered + 1
    behind_hole = False
    for frame in old.store.above(old.delivered):
        if frame.seq != expected and not behind_hole:
            behind_hole = True
            ring.count("install.hole")
        if not behind_hole or frame.origin in old.obligations:
            _deliver_frame(ring, frame, transitional=True)
            old.delivered = frame.seq
        else:
            ring.count("install.dropped_behind_hole")
        expected = frame.seq + 1
