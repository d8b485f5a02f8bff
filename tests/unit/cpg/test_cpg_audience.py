"""The cpg process without sockets: credit, limits, who is expelled, and for whom the ring waits."""

from __future__ import annotations

import pytest
from enginekit import Bench, batch
from totemd.ipc.codec import encode
from totemd.ipc.errors import Status
from totemd.ipc.ids import MESSAGE_BYTES_MAX, RingId
from totemd.ipc.messages.common import Refused
from totemd.ipc.messages.cpg import (
    BATCH_BYTES_MAX,
    BATCH_COST_BYTES,
    CLIENT_CREDIT_BYTES,
    Away,
    Consumed,
    Credit,
    Expelled,
    Failed,
    Join,
    Limits,
    Multicast,
)
from totemd.ipc.messages.stream import (
    Regular,
)
from totemd.services.cpg import audience
from totemd.services.cpg.audience import READING_SECONDS, WAIT_SECONDS_MAX, ClientLimits
from totemd.services.cpg.memberships import LocalClient


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


def test_who_is_in_no_group_has_time(bench: Bench) -> None:
    """It may be a program that calls nothing for hours."""
    bench.engine.limit(ClientLimits(unread_seconds=2.0))
    idle = bench.client(10)
    for _ in range(10):
        bench.engine.time_passed(1.0)
    bench.run()
    bench.say(idle, Join(b"g"))
    bench.engine.time_passed(1.0)
    bench.run()
    assert idle.unread and not bench.dismissed


@pytest.mark.parametrize("longest", [MESSAGE_BYTES_MAX, 64 * MESSAGE_BYTES_MAX])
def test_nobody_is_expelled_for_what_it_may_send_before_it_reads(longest: int) -> None:
    limits = ClientLimits(longest)
    assert limits.unread_bytes >= limits.credit_bytes + longest
    assert ClientLimits(backlog_bytes=MESSAGE_BYTES_MAX).unread_bytes == MESSAGE_BYTES_MAX, "as configured"
    assert ClientLimits(2 * MESSAGE_BYTES_MAX, 512 * MESSAGE_BYTES_MAX).unread_bytes == 512 * MESSAGE_BYTES_MAX


def test_a_new_limit_is_told_to_all_and_counts_at_once(bench: Bench) -> None:
    bench.engine.limit(ClientLimits(message_bytes=3 * MESSAGE_BYTES_MAX))
    client = bench.member()
    bench.engine.limit(ClientLimits(message_bytes=2 * MESSAGE_BYTES_MAX))
    bench.run()
    assert bench.got(client) == [Limits(2 * MESSAGE_BYTES_MAX, BATCH_BYTES_MAX)]
    fresh = bench.member(11)
    bench.say(fresh, Multicast(b"g", 1), batch(bytes(2 * MESSAGE_BYTES_MAX + 1)))
    failed = bench.got(fresh)[-1]
    assert isinstance(failed, Failed) and failed.status is Status.TOO_LARGE and "2097152" in failed.detail


def test_what_was_sent_before_a_lower_limit_was_known_is_not_lost(bench: Bench) -> None:
    bench.engine.limit(ClientLimits(message_bytes=3 * MESSAGE_BYTES_MAX))
    client = bench.member()
    bench.engine.limit(ClientLimits())
    bench.run()
    bench.got(client)
    bench.say(client, Multicast(b"g", 1), batch(bytes(3 * MESSAGE_BYTES_MAX)))
    assert not [each for each in bench.got(client) if isinstance(each, Failed)]
    bench.say(client, Multicast(b"g", 1), batch(bytes(3 * MESSAGE_BYTES_MAX + 1)))
    assert [each for each in bench.got(client) if isinstance(each, Failed)]


def test_a_higher_limit_brings_the_credit_for_it(bench: Bench) -> None:
    client = bench.member()
    higher = ClientLimits(message_bytes=16 * MESSAGE_BYTES_MAX)
    bench.engine.limit(higher)
    bench.run()
    more = higher.credit_bytes - ClientLimits().credit_bytes
    assert bench.got(client) == [Limits(16 * MESSAGE_BYTES_MAX, BATCH_BYTES_MAX), Credit(more)]
    bench.say(client, Multicast(b"g", 1), batch(bytes(16 * MESSAGE_BYTES_MAX)))
    assert bench.dismissed == []
    bench.engine.limit(ClientLimits())
    bench.engine.limit(higher)
    bench.run()
    assert not [each for each in bench.got(client) if isinstance(each, Credit)], "it has that already"


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
