"""The cpg process without sockets: what goes to the ring and comes back, in which order, and what is refused."""

from __future__ import annotations

import pytest
from enginekit import CREDIT, LIFE, OTHER_LIFE, RING, Bench, batch, headers
from totemd.ipc.errors import Status
from totemd.ipc.ids import MESSAGE_BYTES_MAX, Guarantee, Reason, RingId
from totemd.ipc.messages.cpg import (
    BATCH_BYTES_MAX,
    Away,
    Changed,
    Credit,
    Failed,
    Groups,
    Join,
    Leave,
    Limits,
    Lookup,
    Messages,
    Multicast,
    Ring,
    Say,
)
from totemd.ipc.messages.stream import (
    Attached,
    Epoch,
    Regular,
    ServiceList,
    ServiceUp,
    Synchronised,
)
from totemd.services.cpg import lookup
from totemd.services.cpg.wire import (
    JoinList,
    Mcast,
    ProcJoin,
    ProcLeave,
    enclose_header,
    encode_join_list,
)
from totemd.services.envelope import disclose
from totemd.services.sync import enclose_state


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
    piece = batch(b"x" * 400_000)
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


def test_a_lookup_during_an_exchange_is_answered_at_its_end(bench: Bench) -> None:
    """Also where the ring stays as it is: then clients are told of no ring, after which they would ask again."""
    client = bench.member()
    bench.engine.event(ServiceUp(2, "cpg", RING, 9))
    bench.say(client, Lookup(1, b"g"))
    gone = bench.client(11)
    bench.say(gone, Lookup(1, None))
    bench.engine.closed(gone)
    assert bench.got(client) == []
    epoch = Epoch(RING, 9)
    bench.deliver(1, enclose_state(epoch, encode_join_list(bench.engine.state.join_list())))
    bench.deliver(2, enclose_state(epoch, encode_join_list(JoinList(99, {}))))
    (answer,) = [each for each in bench.got(client) if isinstance(each, Groups)]
    assert answer.number == 1 and dict(answer.groups or ()) == {b"g": ((1, 10),)}


def test_lookups_that_wait_are_bounded_and_those_without_a_ring_are_told_to_ask_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    monkeypatch.setattr(lookup, "INQUIRIES_MAX", 2)
    client = bench.client()
    bench.say(client, Lookup(1, b"g"))
    assert bench.got(client)[-1] == Groups(1, None)
    bench.ring()
    bench.engine.event(ServiceUp(2, "cpg", RING, 9))
    bench.got(client)
    for number in (2, 3, 4):
        bench.say(client, Lookup(number, b"g"))
    assert bench.got(client) == [Groups(4, None)]
    bench.engine.detach("the ring is gone")
    bench.run()
    assert not [each for each in bench.got(client) if isinstance(each, Groups)], "it asks again when there is a ring"
