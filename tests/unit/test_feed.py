"""The feed of totem.sock: credit goes back to whom it was taken from, and to nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import totemd.executive.totem.feed
from totemd.executive.totem.feed import ServiceFeed
from totemd.ipc.channel import Session
from totemd.ipc.ids import Guarantee, RingId
from totemd.ipc.messages.stream import Attached, Credit, Delivered, Epoch, Events, Lane, Submit, SubmitItem
from totemd.ipc.server import Closed

CPG = 1
"""Its channel."""
ITEM = SubmitItem(Lane.APPLICATION, Guarantee.AGREED)


class Owner:
    """Gives numbers as the ring does."""

    def __init__(self) -> None:
        self.number = 0
        self.gone: list[tuple[str, bool]] = []

    def service_attached(self, name: str) -> Attached:
        return Attached(1, RingId(1, 1), (1,), {})

    def service_gone(self, name: str, cleanly: bool) -> None:
        self.gone.append((name, cleanly))

    def service_submits(self, channel: int, item: SubmitItem, payload: bytes) -> int:
        self.number += 1
        return self.number

    def service_synchronised(self, name: str, epoch: Epoch) -> None:
        pass

    def service_consumed(self) -> None:
        pass


class Wire:
    """A server without a socket."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, msgspec.Struct]] = []

    def send(self, session: Session, message: msgspec.Struct, *payload: bytes | memoryview) -> None:
        self.sent.append((session.peer, message))

    def dismiss(self, session: Session) -> None:
        raise AssertionError("nobody is dismissed here")

    def close(self) -> None:
        pass

    def credit(self, session: Session) -> int:
        """What a session got back so far."""
        said = [message for peer, message in self.sent if peer == session.peer]
        alone = sum(message.payload_bytes for message in said if isinstance(message, Credit))
        return alone + sum(message.spent for message in said if isinstance(message, Events))


def feed_over(wire: Wire, owner: Owner | None = None) -> ServiceFeed:
    def open_server(path: Path, handler: ServiceFeed, node_id: int) -> Any:
        return wire

    return ServiceFeed(Path("unused"), 1, owner or Owner(), 0, open_server=open_server)


def attached(feed: ServiceFeed, name: bytes, pid: int) -> Session:
    session = Session(name, "cpg", 0, 0, pid)
    feed.opened(session)
    return session


def test_credit_comes_back_once() -> None:
    wire = Wire()
    feed = feed_over(wire)
    cpg = attached(feed, b"one", 10)
    feed.received(cpg, Submit((ITEM, ITEM)), (b"x" * 100, b"y" * 50))
    feed.taken(CPG, 1, 100)
    feed.taken(CPG, 1, 100)
    feed.flush()
    assert wire.credit(cpg) == 100


def test_credit_goes_with_what_is_delivered_and_wakes_the_service_once() -> None:
    wire = Wire()
    feed = feed_over(wire)
    cpg = attached(feed, b"one", 10)
    feed.received(cpg, Submit((ITEM,)), (b"x" * 100,))
    feed.taken(CPG, 1, 100)
    feed.deliver(CPG, Delivered(1, RingId(4, 1), 7), b"x" * 100)
    wire.sent.clear()
    feed.flush()
    assert [message for _, message in wire.sent] == [Events((Delivered(1, RingId(4, 1), 7),), 100)]
    feed.flush()
    assert len(wire.sent) == 1


def test_what_a_dead_service_had_submitted_gives_no_credit_to_its_successor() -> None:
    """Found by the simulation, seed 5 of the profile `groups`: each death of cpg added to its successors' credit."""
    wire = Wire()
    feed = feed_over(wire)
    dead = attached(feed, b"one", 10)
    feed.received(dead, Submit((ITEM,)), (b"x" * 100,))
    feed.closed(dead, Closed.PROCESS_DIED)
    successor = attached(feed, b"two", 11)
    feed.received(successor, Submit((ITEM,)), (b"y" * 50,))
    feed.taken(CPG, 1, 100)
    feed.taken(CPG, 2, 50)
    feed.flush()
    assert (wire.credit(dead), wire.credit(successor)) == (0, 50)


def test_credit_waits_while_a_service_is_too_far_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totemd.executive.totem.feed, "STREAM_HIGH_BYTES", 99)
    wire = Wire()
    feed = feed_over(wire)
    cpg = attached(feed, b"one", 10)
    feed.received(cpg, Submit((ITEM,)), (b"x" * 100,))
    feed.deliver(CPG, Delivered(1, RingId(4, 1), 7), b"x" * 100)
    feed.flush()
    feed.taken(CPG, 1, 100)
    feed.flush()
    assert feed.congested and wire.credit(cpg) == 0
    feed.received(cpg, Credit(100), ())
    feed.flush()
    assert not feed.congested and wire.credit(cpg) == 100


@pytest.mark.parametrize(
    ("why", "told"),
    [
        (Closed.GOODBYE, [("cpg", True)]),
        (Closed.PROCESS_DIED, [("cpg", False)]),
        (Closed.SILENT, [("cpg", False)]),
        (Closed.SERVER_STOPS, []),
    ],
)
def test_the_end_of_a_service_is_told_as_it_was(why: Closed, told: list[tuple[str, bool]]) -> None:
    owner = Owner()
    feed = feed_over(Wire(), owner)
    feed.closed(attached(feed, b"one", 10), why)
    assert owner.gone == told
