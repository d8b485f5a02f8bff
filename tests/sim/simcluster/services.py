"""The services of a simulated node: submit, take what is delivered, and exchange state after a ring change.

The exchange is the smallest that keeps the rules of docs/totem.md §8: one message of the SYNC lane per node and ring,
which names the ring; complete when those of all members have been delivered on it, be it in the transitional
configuration that follows.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

from simcluster.history import (
    Boots,
    Delivered,
    Event,
    Incarnation,
    Lane,
    MessageId,
    Regular,
    RingKey,
    Sent,
    Submitted,
    Synchronised,
    Transitional,
)
from totemd.executive.totem.core.effects import (
    Deliver,
    Discarded,
    Originated,
    RegularConfiguration,
    TransitionalConfiguration,
)
from totemd.executive.totem.core.submission import Submission
from totemd.ipc.ids import Guarantee, RingId
from totemd.ipc.messages.stream import Lane as WireLane

SYNC_CHANNEL, APPLICATION_CHANNEL = 1, 2

NO_MESSAGE = MessageId(0, 0, 0)
"""Stands for the message that completed an exchange that is none."""


class Core(Protocol):
    """The part of the ring that services use."""

    @property
    def installed(self) -> RingId:
        """The ring whose regular configuration was delivered last."""

    def submit(self, submission: Submission, now: float) -> int:
        """Hand in a message."""

    def services_synchronised(self, now: float) -> None:
        """Open the application lane."""


def ring_key(ring: RingId) -> RingKey:
    """The ring id as histories have it."""
    return RingKey(ring.sequence, ring.representative)


class Services:
    """What one incarnation's services know; *record* writes its history."""

    def __init__(
        self, process: Incarnation, core: Core, record: Callable[[Event], None], exchange: str, boots: Boots
    ) -> None:
        self.ring = RingKey(0, 0)
        self.synchronised: RingKey | None = None
        """The last ring whose exchange is complete."""
        self.announced: RingKey | None = None
        """The last ring for which our own state was submitted."""
        self.opened: RingKey | None = None
        """The last ring on which the core was told so."""
        self._process = process
        self._core = core
        self._record = record
        self._exchange = exchange
        self._boots = boots
        self._awaited: set[int] = set()
        self.undelivered: dict[MessageId, int] = {}
        """Own application messages that have not come back, with their number of bytes."""

    # ------------------------------------------------------------------- input

    def on_effect(
        self, effect: Deliver | Originated | Discarded | RegularConfiguration | TransitionalConfiguration
    ) -> None:
        """One event of the ordered stream."""
        match effect:
            case Deliver():
                self._deliver(effect)
            case Originated():
                message = MessageId(*self._process, effect.number)
                self._record(Sent(message, self._named(effect.ring), effect.position))
            case TransitionalConfiguration(old, new, members, left):
                self._record(Transitional(self._named(old), self._named(new), members, left))
            case RegularConfiguration(ring, members, survivors, joined):
                self.ring = ring_key(ring)
                self._boots.installed(self._process, self.ring)
                self._awaited = set(members)
                self._record(Regular(self._named(ring), members, survivors, joined))
                if self._exchange == "none":
                    self.announced = self.ring
                    self._synchronise(NO_MESSAGE)

    def _deliver(self, effect: Deliver) -> None:
        ring = ring_key(effect.ring)
        message = self._boots.message(effect.origin, effect.incarnation, effect.number, ring)
        safe = effect.guarantee is Guarantee.SAFE
        digest = zlib.crc32(effect.payload)
        place = self._named(effect.ring), effect.position
        self._record(Delivered(message, *place, safe, digest, effect.in_transitional))
        self.undelivered.pop(message, None)
        if effect.channel == SYNC_CHANNEL and bytes(effect.payload) == _sync_payload(ring):
            self._awaited.discard(effect.origin)
            if not self._awaited and self.synchronised != ring:
                self._synchronise(message)

    def _synchronise(self, message: MessageId) -> None:
        self.synchronised = self.ring
        self._record(Synchronised(self._boots.ring(self._process, self.ring), message))

    def _named(self, ring: RingId) -> RingKey:
        return self._boots.ring(self._process, ring_key(ring))

    # ----------------------------------------------------------------- actions

    def flush(self) -> None:
        """The core's effects have been carried out."""

    def has_work(self) -> bool:
        """Whether something is to be told to the core."""
        return self.announced != self.ring or self._may_open()

    def work(self, now: float) -> None:
        """Submit our state for a new ring; open the application lane once its exchange is complete."""
        if self.announced != self.ring:
            self.announced = self.ring
            self.submit(_sync_payload(self.ring), Lane.SYNC, safe=self._exchange == "safe", now=now)
        if self._may_open():
            self.opened = self.synchronised
            self._core.services_synchronised(now)

    def _may_open(self) -> bool:
        """The exchange is complete, and its ring is still the installed one (it may complete in a transition)."""
        return (
            self.synchronised is not None
            and self.opened != self.synchronised
            and ring_key(self._core.installed) == self.synchronised
        )

    def submit(self, payload: bytes, lane: Lane, *, safe: bool, now: float) -> None:
        """Hand a message to the core, and write it down."""
        sync = lane is Lane.SYNC
        guarantee = Guarantee.SAFE if safe else Guarantee.AGREED
        channel = SYNC_CHANNEL if sync else APPLICATION_CHANNEL
        wire_lane = WireLane.SYNC if sync else WireLane.APPLICATION
        number = self._core.submit(Submission(channel, wire_lane, guarantee, payload), now)
        message = MessageId(*self._process, number)
        self._record(Submitted(message, lane, safe, zlib.crc32(payload)))
        if not sync:
            self.undelivered[message] = len(payload)


def _sync_payload(ring: RingKey) -> bytes:
    return f"{ring.sequence},{ring.representative}".encode()
