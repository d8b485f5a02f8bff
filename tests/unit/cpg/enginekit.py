"""One node's engine without sockets or ring, and what its clients and its ring get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from totemd.ipc.codec import Codec
from totemd.ipc.ids import RingId
from totemd.ipc.messages.common import Refused
from totemd.ipc.messages.cpg import (
    TO_CLIENT,
    Join,
)
from totemd.ipc.messages.stream import (
    Attached,
    Delivered,
    Epoch,
    Regular,
    ServiceList,
    Submit,
)
from totemd.services.cpg.effects import Dismiss, Note, ToClients, ToRing
from totemd.services.cpg.engine import Engine
from totemd.services.cpg.memberships import LocalClient
from totemd.services.cpg.wire import (
    JoinList,
    decode_header,
    encode_join_list,
)
from totemd.services.envelope import disclose
from totemd.services.sync import enclose_state

RING = RingId(4, 1)
LIFE, OTHER_LIFE = 77, 88
CREDIT = 8 * 1024 * 1024


class Bench:
    """Node 1 in a ring with node 2; what the engine does is sorted by whom it is for."""

    def __init__(self, credit: int = CREDIT) -> None:
        self.engine = Engine()
        self.codec: Codec[Any] = Codec(TO_CLIENT | Refused)
        self.inbox: dict[LocalClient, list[Any]] = {}
        self.submitted: list[bytes] = []
        """What the ring has not taken."""
        self.taken: list[bytes] = []
        self.items: list[Any] = []
        self.reports: list[Any] = []
        self.notes: list[Note] = []
        self.dismissed: list[LocalClient] = []
        self.position = 0
        self.engine.attach(Attached(1, RingId(1, 1), (1,), {}), credit, LIFE)

    def run(self) -> None:
        self.engine.flush()
        for effect in self.engine.take_effects():
            match effect:
                case ToClients(clients, frames):
                    message, payload = self.codec.decode([bytes(frame) for frame in frames])
                    for client in clients:
                        self.inbox.setdefault(client, []).append((message, *payload) if payload else message)
                case ToRing(Submit(items), payload):
                    self.items += items
                    self.submitted += payload
                case ToRing(message):
                    self.reports.append(message)
                case Note():
                    self.notes.append(effect)
                case Dismiss(client):
                    self.dismissed.append(client)
                    self.engine.closed(client)

    def ring(self, ring: RingId = RING, others: dict[int, JoinList] | None = None) -> None:
        """A ring with the node 2, and its exchange."""
        others = {2: JoinList(OTHER_LIFE, {})} if others is None else others
        members = (1, *others)
        self.engine.event(Regular(ring, members, (1,)))
        self.run()
        self.engine.credited(len(self.submitted.pop()))
        for node in members:
            self.engine.event(ServiceList(node, ring, ("cpg",)))
        joins = {1: self.engine.state.join_list(), **others}
        for node, joined in joins.items():
            self.deliver(node, enclose_state(Epoch(ring, 0), encode_join_list(joined)))

    def deliver(self, origin: int, payload: bytes) -> None:
        self.position += 1
        self.engine.event(Delivered(origin, RING, self.position), payload)
        self.run()

    def loop_back(self) -> None:
        """The ring takes and delivers what was submitted."""
        while self.submitted:
            payload = self.submitted.pop(0)
            self.taken.append(payload)
            self.engine.credited(len(payload))
            self.deliver(1, payload)

    def client(self, pid: int = 10) -> LocalClient:
        client = self.engine.opened(object(), pid)
        self.run()
        return client

    def say(self, client: LocalClient, message: Any, *payload: bytes) -> None:
        self.engine.received(client, message, payload)
        self.run()

    def member(self, pid: int = 10, group: bytes = b"g") -> LocalClient:
        client = self.client(pid)
        self.say(client, Join(group))
        self.loop_back()
        self.inbox[client].clear()
        return client

    def got(self, client: LocalClient) -> list[Any]:
        got, self.inbox[client] = self.inbox.get(client, []), []
        return got


def batch(*messages: bytes) -> bytes:
    return b"".join(len(each).to_bytes(4, "little") + each for each in messages)


def headers(payloads: Sequence[bytes]) -> list[Any]:
    return [decode_header(disclose(payload).header) for payload in payloads]
