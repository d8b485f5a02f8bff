"""The state exchange that a service runs when the ring, or the service on some node, is new.

Nodes that come together know different things.  After each regular configuration, and after each `ServiceUp`, every
node's service submits its state as an ordered message; the exchange is complete where the last of them stands in the
order, which is one place for all nodes.  Application messages ordered after its start wait until then, so that every
receiver knows every sender.  Source: docs/totem.md §8.

```
 Attached ──► DORMANT ── own ServiceUp, Regular ──► EXCHANGING ── last state, ServiceList or ServiceDown ──► COMPLETE
                                                     ▲      │ Regular (aborts)                                 │
                                                     └──────┴────────────── Regular, ServiceUp ◄───────────────┘
```
An own `ServiceDown` is that of a predecessor on this node, and leads back to DORMANT.

Places are what matters here, so everything that happens while an exchange runs is kept in its order:

* Messages wait, and so does the disappearance of a service (`ServiceGone`).
* A `ServiceUp` during an exchange starts its own exchange when the first is complete, at its place among what waits:
  the states exchanged then contain what was ordered before it, and the newcomer receives what was ordered after it.
* An exchange that a new ring aborts drops what waits if it belonged to the start of the ring: it can only come from
  nodes that left (the others would have completed too before they sent anything).  If it belonged to a `ServiceUp`, a
  node that had been complete on this ring releases what waits: its senders are members already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from ..ipc.messages.stream import Attached, Epoch, Regular, ServiceDown, ServiceList, ServiceUp, Transitional
from ..ipc.strict import decode_strictly
from .envelope import Kind, enclose

M = TypeVar("M")

Placed = Transitional | Regular | ServiceList | ServiceUp | ServiceDown
"""Stream events that are not messages."""


@dataclass(frozen=True, slots=True)
class SubmitState:
    """Submit this service's state, as it is now, for *epoch* (sync lane)."""

    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Completed:
    """The exchange is complete at this place: take the states over, then report `Synchronised`."""

    epoch: Epoch
    members: tuple[int, ...]
    states: Mapping[int, bytes | memoryview]
    """By node, this one's own included."""
    without: tuple[int, ...]
    """Members on which this service does not run.  On a new ring also those on which it ended before it gave its state:
    nodes that were with them before know of their processes, the others never will."""
    left: tuple[int, ...]
    """Nodes that went away since the last exchange that this node completed; they may be members again."""


@dataclass(frozen=True, slots=True)
class Released(Generic[M]):
    """An application message may be delivered."""

    message: M


@dataclass(frozen=True, slots=True)
class ServiceGone:
    """The service ended on this node of the ring: what it brought in is void."""

    node: int


Output = SubmitState | Completed | Released[M] | ServiceGone


@dataclass(slots=True)
class _Exchange:
    epoch: Epoch
    states: dict[int, bytes | memoryview] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    """Nodes whose service went down since: not waited for; `ServiceGone` is among what waits."""
    late: set[int] = field(default_factory=set)
    """Nodes whose service came up since: they have an exchange of their own."""


class Synchroniser(Generic[M]):
    """One service's exchange on one node, from one `Attached` on.  Outputs are to be carried out in order.

    *M* is whatever the service wants back in `Released`.
    """

    def __init__(self, service: str, attached: Attached) -> None:
        self._service = service
        self._node_id = attached.node_id
        self._members = attached.members
        self._announced = {node: service in names for node, names in attached.services.items()}
        self._dormant = True
        self._ready = False
        self._exchange: _Exchange | None = None
        self._waiting: list[Released[M] | ServiceGone | _Exchange] = []
        self._base: frozenset[int] = frozenset()
        self._survivors: frozenset[int] = frozenset()

    @property
    def complete(self) -> bool:
        """Whether messages flow."""
        return self._ready and self._exchange is None

    @property
    def ready(self) -> bool:
        """Whether an exchange has been completed since the service was attached."""
        return self._ready

    def handle(self, event: Placed) -> list[Output[M]]:
        """An event of the stream that is no message."""
        match event:
            case Transitional():
                return []
            case Regular():
                return self._new_ring(event)
            case ServiceList(node, _, services):
                self._announced[node] = self._service in services
                return self._advance()
            case ServiceUp() if event.service == self._service:
                return self._service_up(event)
            case ServiceDown() if event.service == self._service:
                return self._service_down(event.node)
            case _:
                return []

    def state(self, origin: int, epoch: Epoch, state: bytes | memoryview) -> list[Output[M]]:
        """A node's state; one for an epoch that is neither running nor waiting is ignored."""
        for exchange in self._open_exchanges():
            if exchange.epoch == epoch:
                exchange.states.setdefault(origin, state)
                return self._advance()
        return []

    def application(self, message: M) -> list[Output[M]]:
        """An application message, at its place."""
        if self._dormant:
            return []  # The states that this service will be given contain what it did.
        if self._exchange is None:
            return [Released(message)]
        self._waiting.append(Released(message))
        return []

    def _new_ring(self, event: Regular) -> list[Output[M]]:
        outputs = self._abort()
        self._members = event.members
        self._announced = {}
        self._survivors &= frozenset(event.survivors)
        self._dormant = False
        self._exchange = _Exchange(Epoch(event.ring, 0))
        return [*outputs, SubmitState(self._exchange.epoch)]

    def _abort(self) -> list[Output[M]]:
        aborted, waiting = self._exchange, self._waiting
        self._exchange, self._waiting = None, []
        if aborted is None or aborted.epoch.number == 0 or not self._ready:
            return []
        return [item for item in waiting if not isinstance(item, _Exchange)]

    def _service_up(self, event: ServiceUp) -> list[Output[M]]:
        self._announced[event.node] = True
        for exchange in self._open_exchanges():
            exchange.late.add(event.node)
        if self._dormant and event.node != self._node_id:
            return []
        self._dormant = False
        exchange = _Exchange(Epoch(event.ring, event.number))
        if self._exchange is not None:
            self._waiting.append(exchange)
            return self._advance()
        self._exchange = exchange
        return [SubmitState(exchange.epoch)]

    def _service_down(self, node: int) -> list[Output[M]]:
        self._announced[node] = False
        if node == self._node_id:
            # It speaks of this service's predecessor, and so did the `ServiceUp` before it, if one came.
            self._dormant, self._ready = True, False
            self._exchange, self._waiting = None, []
        if self._dormant:
            return []
        if self._exchange is None:
            return [ServiceGone(node)]
        for exchange in self._open_exchanges():
            exchange.ended.add(node)
        self._waiting.append(ServiceGone(node))
        return self._advance()

    def _open_exchanges(self) -> list[_Exchange]:
        running = [] if self._exchange is None else [self._exchange]
        return running + [item for item in self._waiting if isinstance(item, _Exchange)]

    def _advance(self) -> list[Output[M]]:
        """Complete what can be completed, and release what waited for it."""
        outputs: list[Output[M]] = []
        while self._exchange is not None and self._has_everything(self._exchange):
            outputs.append(self._completion(self._exchange))
            waiting, self._exchange, self._waiting = self._waiting, None, []
            for index, item in enumerate(waiting):
                if isinstance(item, _Exchange):
                    self._exchange, self._waiting = item, waiting[index + 1 :]
                    outputs.append(SubmitState(item.epoch))
                    break
                outputs.append(item)
        return outputs

    def _has_everything(self, exchange: _Exchange) -> bool:
        settled = exchange.states.keys() | exchange.ended | exchange.late
        return all(node in self._announced and (not self._announced[node] or node in settled) for node in self._members)

    def _completion(self, exchange: _Exchange) -> Completed:
        left = self._base - self._survivors
        self._base = self._survivors = frozenset(self._members)
        self._ready = True
        without = frozenset(self._members) - exchange.states.keys()
        if exchange.epoch.number:
            # Everybody knows of its processes, and their messages may be among what waits, before `ServiceGone`.
            without -= exchange.ended
        return Completed(exchange.epoch, self._members, exchange.states, tuple(sorted(without)), tuple(sorted(left)))


def enclose_state(epoch: Epoch, state: bytes) -> bytes:
    """The submission that carries a node's state."""
    return enclose(Kind.STATE, _ENCODER.encode(epoch), (state,))


def decode_epoch(header: memoryview) -> Epoch:
    """The epoch in the header of a state submission.

    Raises:
        MalformedMessage: it is none.
    """
    return decode_strictly(_EPOCH, header, "header of a state submission")


_ENCODER = msgspec.msgpack.Encoder()
_EPOCH = msgspec.msgpack.Decoder(Epoch)
