"""The cpg process without sockets: what clients may do, what waits for the ring, what is refused, who is expelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from totemd.ipc.codec import Codec, encode
from totemd.ipc.errors import Status
from totemd.ipc.ids import MESSAGE_BYTES_MAX, Guarantee, Reason, RingId
from totemd.ipc.messages.common import Refused
from totemd.ipc.messages.cpg import (
    BATCH_BYTES_MAX,
    BATCH_COST_BYTES,
    CLIENT_CREDIT_BYTES,
    TO_CLIENT,
    Away,
    Changed,
    Consumed,
    Credit,
    Expelled,
    Failed,
    Join,
    Leave,
    Limits,
    Messages,
    Multicast,
    Ring,
    Say,
)
from totemd.ipc.messages.stream import Attached, Delivered, Epoch, Regular, ServiceList, Submit, Synchronised
from totemd.services.cpg import audience
from totemd.services.cpg.audience import READING_SECONDS, WAIT_SECONDS_MAX, ClientLimits
from totemd.services.cpg.effects import Dismiss, Note, ToClients, ToRing
from totemd.services.cpg.engine import Engine
from totemd.services.cpg.memberships import LocalClient
from totemd.services.cpg.wire import (
    JoinList,
    Mcast,
    ProcJoin,
    ProcLeave,
    decode_header,
    enclose_header,
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


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Credit is told of at once, so that every refund can be seen."""
    monkeypatch.setattr(audience, "CREDIT_PARTS", CLIENT_CREDIT_BYTES)
    made = Bench()
    made.ring()
    return made


def test_credit_is_told_of_when_it_is_worth_a_message() -> None:
    bench = Bench()
    bench.ring()
    client = bench.member()
    part = CLIENT_CREDIT_BYTES // audience.CREDIT_PARTS
    told, sent = 0, 0
    while not told:
        bench.say(client, Multicast(b"g", 1), batch(bytes(60_000)))
        sent += 60_000 + BATCH_COST_BYTES + 4
        bench.loop_back()
        told = sum(each.payload_bytes for each in bench.got(client) if isinstance(each, Credit))
        assert sent < 2 * part
    assert told == sent >= part


def test_a_client_learns_the_ring_first_and_its_own_join_as_first_event(bench: Bench) -> None:
    client = bench.client()
    assert bench.got(client) == [Limits(MESSAGE_BYTES_MAX, BATCH_BYTES_MAX), Ring(RING, (1, 2))]
    bench.say(client, Join(b"g"))
    assert headers(bench.submitted) == [ProcJoin(b"g", 10, LIFE)]
    bench.deliver(2, enclose_header(ProcJoin(b"g", 5, OTHER_LIFE)))
    assert bench.got(client) == []
    bench.loop_back()
    assert bench.got(client) == [Changed(b"g", ((1, 10), (2, 5)), joined=((1, 10, Reason.JOIN),))]


def test_a_message_goes_out_and_comes_back_with_its_batch_untouched(bench: Bench) -> None:
    client = bench.member()
    body = batch(b"one", b"", b"three")
    bench.say(client, Multicast(b"g", 3, Guarantee.SAFE), body)
    assert bench.items[-1].guarantee is Guarantee.SAFE
    assert bench.got(client) == []
    bench.loop_back()
    assert bench.got(client) == [Credit(64 + len(body)), (Messages(b"g", 1, 10, 3, Guarantee.SAFE, RING), body)]


def test_what_is_said_alone_travels_and_costs_as_a_batch_of_one(bench: Bench) -> None:
    client = bench.member()
    bench.say(client, Say(b"g", b"hello", Guarantee.SAFE))
    bench.loop_back()
    assert bench.got(client) == [
        Credit(64 + 4 + 5),
        (Messages(b"g", 1, 10, 1, Guarantee.SAFE, RING), batch(b"hello")),
    ]
    bench.say(client, Say(b"other", b"hello"))
    refused, credit = sorted(bench.got(client), key=lambda each: isinstance(each, Credit))
    assert isinstance(refused, Failed) and refused.status is Status.NOT_MEMBER and credit == Credit(64 + 4 + 5)


def test_batches_of_one_drain_travel_together_up_to_a_limit(bench: Bench) -> None:
    client, other = bench.member(10), bench.member(20)
    piece = batch(b"x" * 100_000)
    for each in (client, client, other, client, client):
        bench.engine.received(each, Multicast(b"g", 1), [piece])
    bench.engine.received(client, Multicast(b"g", 1, Guarantee.SAFE), [piece])
    bench.run()
    assert [(header.pid, header.count, header.guarantee) for header in headers(bench.submitted)] == [
        (10, 2, Guarantee.AGREED),
        (20, 1, Guarantee.AGREED),
        (10, 2, Guarantee.AGREED),
        (10, 1, Guarantee.SAFE),
    ]
    assert len(disclose(bench.submitted[0]).body) == 2 * len(piece) <= BATCH_BYTES_MAX


def test_what_a_client_does_in_between_is_not_overtaken(bench: Bench) -> None:
    client = bench.member()
    for message in (Multicast(b"g", 1), Join(b"h"), Multicast(b"g", 1), Leave(b"g")):
        bench.engine.received(client, message, [batch(b"x")] if isinstance(message, Multicast) else [])
    bench.run()
    bench.loop_back()
    assert [type(each) for each in headers(bench.taken)[1:]] == [Mcast, ProcJoin, Mcast, ProcLeave]


def test_little_batches_wait_while_others_are_on_the_way_and_travel_together(bench: Bench) -> None:
    client = bench.member()
    for _ in range(20):
        bench.say(client, Multicast(b"g", 1), batch(b"x" * 500))
    assert len(bench.submitted) == 2
    bench.engine.credited(len(bench.submitted[0]))
    bench.run()
    assert [header.count for header in headers(bench.submitted)] == [1, 1, 18]
    bench.say(client, Multicast(b"g", 1), batch(b"x" * 500))
    assert len(bench.submitted) == 3
    bench.say(client, Multicast(b"g", 1), batch(b"x" * 20_000))
    assert headers(bench.submitted)[-1].count == 2, "what is large need not wait"


def test_submissions_wait_for_the_rings_credit_and_batches_grow_meanwhile() -> None:
    bench = Bench(credit=1_000)
    bench.ring()
    client = bench.member()
    for _ in range(10):
        bench.say(client, Multicast(b"g", 1), batch(b"x" * 300))
    assert len(bench.submitted) == 2
    bench.loop_back()
    counts = [message[0].count for message in bench.got(client) if isinstance(message, tuple)]
    assert sum(counts) == 10 and len(counts) < 10


def test_nothing_is_submitted_during_an_exchange(bench: Bench) -> None:
    client = bench.member()
    bench.engine.event(Regular(RingId(8, 1), (1, 2), (1, 2)))
    bench.say(client, Multicast(b"g", 1), batch(b"x"))
    bench.say(client, Leave(b"g"))
    assert len(bench.submitted) == 1, "the state of this node, and that only"


def test_the_ring_is_told_after_the_memberships_and_before_what_waited(bench: Bench) -> None:
    client = bench.member()
    bench.deliver(2, enclose_header(ProcJoin(b"g", 5, OTHER_LIFE)))
    bench.got(client)
    second = RingId(8, 1)
    bench.engine.event(Regular(second, (1, 3), (1,)))
    for node in (1, 3):
        bench.engine.event(ServiceList(node, second, ("cpg",)))
    bench.deliver(1, enclose_state(Epoch(second, 0), encode_join_list(bench.engine.state.join_list())))
    early = enclose_header(Mcast(b"g", 6, 99, 1, Guarantee.AGREED, second), (batch(b"early"),))
    bench.deliver(3, early)
    assert bench.got(client) == []
    bench.deliver(3, enclose_state(Epoch(second, 0), encode_join_list(JoinList(99, {b"g": (6,)}))))
    assert bench.got(client) == [
        Changed(b"g", ((1, 10),), left=((2, 5, Reason.NODE_DOWN),)),
        Changed(b"g", ((1, 10), (3, 6)), joined=((3, 6, Reason.NODE_UP),)),
        Ring(second, (1, 3)),
        (Messages(b"g", 3, 6, 1, Guarantee.AGREED, second), batch(b"early")),
    ]
    assert bench.reports[-1] == Synchronised(Epoch(second, 0))


def test_a_message_of_a_node_without_a_member_is_dropped_in_corosyncs_words(bench: Bench) -> None:
    client = bench.member()
    bench.deliver(2, enclose_header(Mcast(b"g", 5, OTHER_LIFE, 1, Guarantee.AGREED, RING), (batch(b"x"),)))
    assert bench.got(client) == []
    assert bench.notes[-1].text == "Unknown node -> we will not deliver message"
    assert bench.engine.counters.dropped == 1


@pytest.mark.parametrize("payload", [b"", b"\0\0\0", b"\1\0\0", b"\1\4\0xxxx", b"\0\1\0\xc1"])
def test_submissions_that_cannot_be_read_are_dropped(bench: Bench, payload: bytes) -> None:
    bench.deliver(2, payload)
    assert bench.engine.counters.malformed == 1


def test_a_process_is_in_a_group_once(bench: Bench) -> None:
    first = bench.member()
    second = bench.client(10)
    bench.got(second)
    bench.say(second, Join(b"g"))
    (refused,) = bench.got(second)
    assert isinstance(refused, Failed) and refused.status is Status.ALREADY_MEMBER
    bench.say(first, Join(b"g"))
    assert bench.got(first)[0].status is Status.ALREADY_MEMBER


def test_a_join_waits_for_the_leave_before_it(bench: Bench) -> None:
    first = bench.member()
    bench.say(first, Leave(b"g"))
    second = bench.client(10)
    bench.say(second, Join(b"g"))
    assert [type(each) for each in headers(bench.submitted)] == [ProcLeave]
    bench.loop_back()
    assert bench.got(first) == [Changed(b"g", (), left=((1, 10, Reason.LEAVE),))]
    assert bench.got(second)[-1] == Changed(b"g", ((1, 10),), joined=((1, 10, Reason.JOIN),))


def test_a_join_that_never_began_can_be_given_up(bench: Bench) -> None:
    first = bench.member()
    bench.engine.closed(first)
    second = bench.client(10)
    bench.got(second)
    bench.say(second, Join(b"g"))
    bench.say(second, Leave(b"g"))
    assert bench.got(second)[0].status is Status.NOT_MEMBER
    bench.loop_back()
    assert bench.engine.own_members() == 0


def test_a_client_that_is_gone_leaves_as_process_down_after_what_it_sent(bench: Bench) -> None:
    client = bench.member()
    bench.engine.received(client, Multicast(b"g", 1), [batch(b"last words")])
    bench.engine.closed(client)
    bench.run()
    sent, left = headers(bench.submitted)
    assert isinstance(sent, Mcast)
    assert left == ProcLeave(b"g", 10, LIFE, Reason.PROCESS_DOWN)


@pytest.mark.parametrize(
    ("message", "payload", "status"),
    [
        (Multicast(b"g", 1), [batch(b"x" * (MESSAGE_BYTES_MAX + 1))], Status.TOO_LARGE),
        (Multicast(b"g", 2), [batch(b"x" * BATCH_BYTES_MAX, b"")], Status.TOO_LARGE),
        (Multicast(b"g", 1), [b"\5\0\0\0abc"], Status.INVALID_ARGUMENT),
        (Multicast(b"g", 9), [batch(b"", b"")], Status.INVALID_ARGUMENT),
        (Multicast(b"g", 1), [], Status.INVALID_ARGUMENT),
        (Multicast(b"g", 1), [b"", b""], Status.INVALID_ARGUMENT),
        (Multicast(b"other", 1), [batch(b"x")], Status.NOT_MEMBER),
    ],
)
def test_batches_that_cannot_be_are_refused_and_their_credit_returned(
    bench: Bench, message: Multicast, payload: list[bytes], status: Status
) -> None:
    client = bench.member()
    bench.say(client, message, *payload)
    got = bench.got(client)
    assert [each.status for each in got if isinstance(each, Failed)] == [status]
    assert sum(each.payload_bytes for each in got if isinstance(each, Credit)) == 64 + sum(map(len, payload))
    assert client.on_the_way == 0 and not bench.submitted


def test_the_largest_message_passes(bench: Bench) -> None:
    client = bench.member()
    bench.say(client, Multicast(b"g", 1), batch(b"x" * MESSAGE_BYTES_MAX))
    bench.loop_back()
    assert len(bench.got(client)[-1][1]) == MESSAGE_BYTES_MAX + 4


def test_a_client_that_ignores_its_credit_is_dismissed(bench: Bench) -> None:
    client = bench.member()
    bench.engine.event(Regular(RingId(8, 1), (1, 2), (1, 2)))
    for _ in range(4):
        bench.say(client, Multicast(b"g", 1), batch(b"x" * MESSAGE_BYTES_MAX))
    assert not bench.dismissed
    bench.say(client, Multicast(b"g", 1), batch(b"one more"))
    assert bench.dismissed == [client]
    assert isinstance(bench.got(client)[-1], Refused)


def test_a_client_that_does_not_read_is_expelled_and_the_others_go_on(bench: Bench) -> None:
    bench.engine.limit(ClientLimits(backlog_bytes=100_000))
    lazy, busy = bench.member(10), bench.member(20)
    bench.got(lazy)
    for _ in range(6):
        bench.say(busy, Multicast(b"g", 1), batch(b"x" * 30_000))
        bench.loop_back()
        bench.say(busy, Consumed(len(bench.got(busy))))
    assert bench.dismissed == [lazy]
    last = bench.got(lazy)[-1]
    assert isinstance(last, Expelled) and "cpg.backlog is 100000" in last.why
    bench.loop_back()
    assert bench.engine.state.members(b"g") == ((1, 20),)
    assert bench.engine.audience.unread == sum(each.unread for each in bench.engine.audience.clients) < 100_000
    assert bench.engine.counters.expelled == 1


def test_a_client_that_reads_nothing_for_too_long_is_expelled(bench: Bench) -> None:
    bench.engine.limit(ClientLimits(unread_seconds=2.0))
    lazy, slow, idle = bench.member(10), bench.member(20), bench.member(30, b"other")
    for client in (lazy, slow, idle):
        bench.say(client, Consumed(1_000))
    bench.say(slow, Multicast(b"g", 2), batch(b"x", b"y"))
    bench.loop_back()
    for _ in range(4):
        bench.engine.time_passed(1.0)
        bench.run()
        bench.say(slow, Multicast(b"g", 1), batch(b"more"))
        bench.loop_back()
        bench.say(slow, Consumed(1))
    assert bench.dismissed == [lazy]
    last = bench.got(lazy)[-1]
    assert isinstance(last, Expelled) and "nothing was read for 3 s; cpg.unread_timeout is 2 s" in last.why
    assert bench.engine.state.members(b"g") == ((1, 20),)


def test_a_new_limit_is_told_to_all_and_counts_at_once(bench: Bench) -> None:
    bench.engine.limit(ClientLimits(message_bytes=3 * MESSAGE_BYTES_MAX))
    client = bench.member()
    bench.engine.limit(ClientLimits(message_bytes=2 * MESSAGE_BYTES_MAX))
    bench.run()
    assert bench.got(client) == [Limits(2 * MESSAGE_BYTES_MAX, BATCH_BYTES_MAX)]
    bench.say(client, Multicast(b"g", 1), batch(bytes(2 * MESSAGE_BYTES_MAX + 1)))
    failed = bench.got(client)[-1]
    assert isinstance(failed, Failed) and failed.status is Status.TOO_LARGE and "2097152" in failed.detail


def test_all_clients_together_are_bounded_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "BACKLOG_BYTES_ALL_MAX", 100_000)
    behind, less = bench.member(10), bench.member(20, b"other")
    bench.say(less, Multicast(b"other", 1), batch(b"x" * 30_000))
    bench.say(behind, Multicast(b"g", 1), batch(b"x" * 55_000))
    bench.loop_back()
    assert not bench.dismissed
    bench.say(less, Multicast(b"other", 1), batch(b"x" * 10_000))
    bench.loop_back()
    bench.say(less, Multicast(b"other", 1), batch(b"x" * 6_000))
    bench.loop_back()
    assert bench.dismissed == [behind]


def test_when_the_ring_is_away_clients_are_told_and_rejoin(bench: Bench) -> None:
    client = bench.member()
    bench.say(client, Multicast(b"g", 1), batch(b"lost"))
    bench.engine.detach("gone")
    bench.run()
    assert bench.got(client) == [Credit(64 + 8), Away("gone"), Ring(None)]
    bench.submitted.clear()
    bench.say(client, Join(b"g"))
    bench.say(client, Join(b"g"))
    bench.engine.attach(Attached(1, RingId(1, 1), (1,), {}), CREDIT, LIFE + 1)
    bench.run()
    assert not bench.submitted
    bench.ring(RingId(12, 1))
    assert headers(bench.submitted) == [ProcJoin(b"g", 10, LIFE + 1)]
    bench.loop_back()
    assert bench.got(client) == [
        Ring(RingId(12, 1), (1, 2)),
        Changed(b"g", ((1, 10),), joined=((1, 10, Reason.JOIN),)),
    ]


def test_a_stop_lets_everybody_leave(bench: Bench) -> None:
    bench.member(10)
    bench.member(20)
    assert bench.engine.stop()
    bench.run()
    assert [each.reason for each in headers(bench.submitted)] == [Reason.PROCESS_DOWN] * 2
    bench.loop_back()
    assert bench.engine.own_members() == 0
    assert not bench.engine.stop()


def behind(bench: Bench, unread: int) -> LocalClient:
    """A member that has so many bytes unread, of a backlog of 100,000."""
    bench.engine.limit(ClientLimits(backlog_bytes=100_000))
    client = bench.member(10)
    bench.say(client, Consumed(1_000))
    bench.engine.audience.send((client,), (encode(Away("why")), bytes(unread // 2)))
    bench.engine.audience.send((client,), (encode(Away("why")), bytes(unread // 2)))
    return client


def test_the_ring_waits_for_who_reads_slowly(bench: Bench) -> None:
    audience = bench.engine.audience
    slow = behind(bench, 30_000)
    assert audience.ring_waits
    bench.say(slow, Consumed(1))
    assert audience.ring_waits, "until it has caught up by half"
    audience.send((slow,), (encode(Away("why")), bytes(10_000)))
    bench.say(slow, Consumed(2))
    assert not audience.ring_waits


def test_the_ring_does_not_wait_for_who_is_close_behind_has_stopped_or_is_gone(bench: Bench) -> None:
    audience = bench.engine.audience
    client = behind(bench, 20_000)
    assert not audience.ring_waits
    audience.send((client,), (encode(Away("why")), bytes(20_000)))
    assert audience.ring_waits
    bench.engine.time_passed(READING_SECONDS)
    assert not audience.ring_waits, "it has stopped"
    bench.say(client, Consumed(1))
    assert audience.ring_waits, "or has it?"
    audience.leave(client)
    assert not audience.ring_waits


def test_the_ring_does_not_wait_for_ever(bench: Bench) -> None:
    audience = bench.engine.audience
    slow = behind(bench, 40_000)
    for _ in range(int(2 * WAIT_SECONDS_MAX) - 1):
        bench.engine.time_passed(0.5)
        audience.send((slow,), (encode(Away("why")), bytes(20_000)))
        bench.say(slow, Consumed(1))
        assert audience.ring_waits
    bench.engine.time_passed(0.5)
    assert not audience.ring_waits
    bench.say(slow, Consumed(10))
    audience.send((slow,), (encode(Away("why")), bytes(30_000)))
    assert audience.ring_waits, "it had caught up in between"
