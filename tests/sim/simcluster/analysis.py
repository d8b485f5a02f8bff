"""Histories arranged the way the properties speak of them: stays in a configuration, and the order of each ring.

As in Moser et al., Extended Virtual Synchrony (ICDCS 1994): `com_p(c)` is a `Stay`, the regular configuration *c* at
*p* together with the transitional one that followed it there.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from simcluster.history import (
    Delivered,
    Entry,
    Failed,
    History,
    Incarnation,
    MessageId,
    Regular,
    RingKey,
    Sent,
    Submitted,
    Synchronised,
    Transitional,
)


class Ending(enum.Enum):
    """How a process ended its stay in a configuration."""

    CLOSED = "closed"
    """It delivered the next regular configuration."""
    FAILED = "failed"
    PENDING = "pending"
    """The history ends there."""


class Delivery(NamedTuple):
    """A delivery with its place in its history."""

    serial: int
    time: float
    event: Delivered


class Sending(NamedTuple):
    """A send with its place in its sender's history, and what the sender knew."""

    serial: int
    time: float
    event: Sent
    sender: Incarnation


@dataclass
class Epoch:
    """One configuration at one process, with what was delivered in it."""

    process: Incarnation
    configuration: Regular | Transitional
    serial: int
    time: float
    deliveries: list[Delivery] = field(default_factory=list)

    def messages(self) -> tuple[MessageId, ...]:
        """What was delivered, in order."""
        return tuple(delivery.event.message for delivery in self.deliveries)


@dataclass
class Stay:
    """A regular configuration at one process and the transitional one after it."""

    regular: Epoch
    transitional: Epoch | None = None
    ending: Ending = Ending.PENDING
    sends: list[Sending] = field(default_factory=list)
    synchronised: Entry | None = None

    @property
    def process(self) -> Incarnation:
        """Whose stay it is."""
        return self.regular.process

    @property
    def ring(self) -> RingKey:
        """The regular configuration's ring."""
        assert isinstance(self.regular.configuration, Regular)
        return self.regular.configuration.ring

    def epochs(self) -> Iterator[Epoch]:
        """The regular configuration, then the transitional one if there was one."""
        yield self.regular
        if self.transitional is not None:
            yield self.transitional

    def deliveries(self) -> Iterator[Delivery]:
        """Everything delivered in either configuration, in order."""
        for epoch in self.epochs():
            yield from epoch.deliveries


@dataclass
class Life:
    """One process: its stays in order, and what lies outside of any."""

    process: Incarnation
    stays: list[Stay] = field(default_factory=list)
    submissions: dict[MessageId, Entry] = field(default_factory=dict)
    strays: list[Delivery] = field(default_factory=list)
    """Deliveries before the first configuration."""
    failed: bool = False

    def epochs(self) -> Iterator[Epoch]:
        """All configurations, in order."""
        for stay in self.stays:
            yield from stay.epochs()

    def deliveries(self) -> Iterator[Delivery]:
        """Everything delivered, in order."""
        yield from self.strays
        for epoch in self.epochs():
            yield from epoch.deliveries


class Analysis:
    """What the property checks read."""

    def __init__(self, history: History) -> None:
        self.lives: list[Life] = []
        """In the order in which they began."""
        self.sends: dict[MessageId, list[Sending]] = {}
        self.stays: dict[RingKey, dict[int, Stay]] = {}
        """By ring, then by node."""
        self.order: dict[RingKey, list[Sending]] = {}
        """What was sent on a ring, in its total order: by position, within a frame as sent."""
        self._places: dict[MessageId, tuple[RingKey, int]] = {}
        self.submissions: dict[MessageId, Entry] = {}
        for process, entries in history.processes.items():
            self.lives.append(self._live(process, entries))
        self._arrange()

    def _live(self, process: Incarnation, entries: list[Entry]) -> Life:
        life = Life(process)
        for entry in entries:
            self._add(life, entry)
        if life.stays and life.failed:
            life.stays[-1].ending = Ending.FAILED
        self.submissions.update(life.submissions)
        return life

    def _add(self, life: Life, entry: Entry) -> None:
        serial, time, event = entry
        stay = life.stays[-1] if life.stays else None
        match event:
            case Regular():
                if stay is not None:
                    stay.ending = Ending.CLOSED
                life.stays.append(Stay(Epoch(life.process, event, serial, time)))
                self.stays.setdefault(event.ring, {})[life.process.node] = life.stays[-1]
            case Transitional() if stay is not None:
                stay.transitional = Epoch(life.process, event, serial, time)
            case Delivered():
                delivery = Delivery(serial, time, event)
                if stay is None:
                    life.strays.append(delivery)
                else:
                    (stay.transitional or stay.regular).deliveries.append(delivery)
            case Sent():
                sending = Sending(serial, time, event, life.process)
                self.sends.setdefault(event.message, []).append(sending)
                if stay is not None:
                    stay.sends.append(sending)
            case Synchronised() if stay is not None and stay.ring == event.ring:
                stay.synchronised = entry
            case Submitted():
                life.submissions[event.message] = entry
            case Failed():
                life.failed = True
            case _:
                pass

    def _arrange(self) -> None:
        for sendings in self.sends.values():
            first = sendings[0]
            self.order.setdefault(first.event.ring, []).append(first)
        for order in self.order.values():
            order.sort(key=lambda sending: (sending.event.position, sending.serial))
            for index, sending in enumerate(order):
                self._places[sending.event.message] = (sending.event.ring, index)

    def place(self, message: MessageId, ring: RingKey, otherwise: int) -> int:
        """Index of *message* in the `order` of *ring*; *otherwise* if it was not (first) sent there."""
        known = self._places.get(message)
        return known[1] if known is not None and known[0] == ring else otherwise
