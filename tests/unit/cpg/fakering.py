"""A ring without a network: totem.sock of several nodes, and one order for all of them.

It keeps the contract of the totem process towards its services (ipc/messages/stream.py) and nothing else, in a loop
of its own thread, so that blocking clients can be tested against it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from totemd.ipc.channel import Session
from totemd.ipc.endpoints import Credentials
from totemd.ipc.ids import RingId
from totemd.ipc.messages.common import Hello
from totemd.ipc.messages.stream import (
    FROM_SERVICE,
    Attached,
    Credit,
    Delivered,
    Events,
    Lane,
    Regular,
    ServiceDown,
    ServiceList,
    ServiceUp,
    StreamEvent,
    Submit,
    Synchronised,
    Transitional,
)
from totemd.ipc.paths import TOTEM_SOCKET
from totemd.ipc.server import Closed, Server

T = TypeVar("T")


@dataclass
class FakeNode:
    """One node's totem process."""

    node_id: int
    path: Path
    ring: FakeRing
    server: Server[Any] | None = None
    service: Session | None = None
    services: tuple[str, ...] = ()
    application: deque[tuple[Session, bytes]] = field(default_factory=deque)
    """Submissions that wait until the services have exchanged their state."""
    synchronised: bool = False

    def admit(self, hello: Hello, credentials: Credentials) -> int:
        return self.ring.credit

    def opened(self, session: Session) -> None:
        ring = self.ring
        self.service = session
        announced = {node.node_id: node.services for node in ring.present()}
        self.server.send(session, Attached(self.node_id, ring.ring_id, ring.members(), announced))  # type: ignore[union-attr]
        self.services, self.synchronised = ("cpg",), False
        ring.place(lambda position: ServiceUp(self.node_id, "cpg", ring.ring_id, position))

    def received(
        self, session: Session, message: Submit | Synchronised | Credit, payload: Sequence[bytes | memoryview]
    ) -> None:
        match message:
            case Submit(items):
                for item, data in zip(items, payload, strict=True):
                    if item.lane is Lane.SYNC:
                        self.originate(session, data)
                    else:
                        self.application.append((session, data))
            case Synchronised(epoch) if epoch.ring == self.ring.ring_id:
                self.synchronised = True
        self.run()

    def run(self) -> None:
        """Give the waiting submissions their place."""
        while self.synchronised and self.application and not self.ring.held:
            session, data = self.application.popleft()
            self.originate(session, data)

    def originate(self, session: Session, data: bytes) -> None:
        if self.service is session and self.server is not None:
            self.server.send(session, Credit(len(data)))
        self.ring.place(lambda position: Delivered(self.node_id, self.ring.ring_id, position), data)

    def closed(self, session: Session, why: Closed) -> None:
        if self.service is session:
            self.service, self.services = None, ()
            if why is not Closed.SERVER_STOPS:
                self.ring.place(lambda position: ServiceDown(self.node_id, "cpg", self.ring.ring_id, position))


class FakeRing:
    """All nodes; use it from the test's thread through `do`."""

    def __init__(self, run_dirs: dict[int, Path], credit: int = 8 * 1024 * 1024) -> None:
        self.credit = credit
        self.held = False
        self.ring_id = RingId(4, min(run_dirs))
        self.delivered: list[tuple[int, bytes]] = []
        """(origin, submission) of everything that got a place, while `recording`."""
        self.recording = False
        self._position = 0
        self.nodes = {node: FakeNode(node, path / TOTEM_SOCKET, self) for node, path in run_dirs.items()}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.do(lambda: [self._serve(node) for node in self.nodes.values()])

    def do(self, action: Callable[[], T]) -> T:
        """Run in the ring's thread and wait for the result."""

        async def run() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def close(self) -> None:
        self.do(lambda: [node.server.close() for node in self.present() if node.server])
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # -- what a test does, from its thread

    def hold(self) -> None:
        """Originate no application message until `release`."""
        self.do(lambda: setattr(self, "held", True))

    def release(self) -> None:
        def release() -> None:
            self.held = False
            for node in self.nodes.values():
                node.run()

        self.do(release)

    def stop_totem(self, node_id: int) -> None:
        """The totem process of a node dies: its service is without a stream, the others get a new ring."""

        def stop() -> None:
            node = self.nodes[node_id]
            assert node.server is not None
            server, node.server = node.server, None
            node.application.clear()
            server.close()
            self._new_ring(set(self.members()) - {node_id})

        self.do(stop)

    def start_totem(self, node_id: int) -> None:
        """It is back, and in the ring with the others at once."""

        def start() -> None:
            survivors = set(self.members())
            self._serve(self.nodes[node_id])
            self._new_ring(survivors)

        self.do(start)

    def new_ring(self) -> None:
        """The same nodes form another ring."""
        self.do(lambda: self._new_ring(set(self.members())))

    # -- in the ring's thread

    def _serve(self, node: FakeNode) -> None:
        node.server = Server(node.path, FROM_SERVICE, node, node_id=node.node_id)

    def present(self) -> list[FakeNode]:
        return [node for node in self.nodes.values() if node.server is not None]

    def members(self) -> tuple[int, ...]:
        return tuple(sorted(node.node_id for node in self.present()))

    def place(self, event: Callable[[int], StreamEvent], data: bytes | None = None) -> None:
        """The next place of the order: everybody gets the event."""
        self._position += 1
        made = event(self._position)
        if self.recording and isinstance(made, Delivered) and data is not None:
            self.delivered.append((made.origin, data))
        self._tell(made, *(() if data is None else (data,)))

    def _tell(self, event: StreamEvent, *data: bytes) -> None:
        for node in self.present():
            if node.service is not None:
                node.server.send(node.service, Events((event,)), *data)  # type: ignore[union-attr]

    def _new_ring(self, survivors: set[int]) -> None:
        old = self.ring_id
        members = self.members()
        if not members:
            return
        self.ring_id = RingId(old.sequence + 4, members[0])
        self._position = 0
        together = tuple(sorted(survivors & set(members)))
        left = tuple(sorted(set(self.nodes) - set(together)))
        self._tell(Transitional(old, self.ring_id, together, left))
        self._tell(Regular(self.ring_id, members, together))
        for node in self.present():
            node.synchronised = False
            self._tell(ServiceList(node.node_id, self.ring_id, node.services))
