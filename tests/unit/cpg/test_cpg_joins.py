"""The cpg process without sockets: joins and leaves that cross, and what is sent around them."""

from __future__ import annotations

import pytest
from enginekit import LIFE, Bench, batch, headers
from totemd.ipc.errors import AccessDenied, Status
from totemd.ipc.ids import Guarantee, Reason
from totemd.ipc.messages.cpg import (
    Changed,
    Failed,
    Join,
    Leave,
    Multicast,
    Say,
    Verb,
)
from totemd.services.cpg import engine
from totemd.services.cpg.wire import (
    Mcast,
    ProcJoin,
    ProcLeave,
)


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


def test_a_join_may_be_repeated_while_it_waits_for_the_leave_before_it(bench: Bench) -> None:
    client = bench.member()
    for message in (Leave(b"g"), Join(b"g"), Join(b"g")):
        bench.engine.received(client, message, ())
    bench.run()
    bench.loop_back()
    assert bench.got(client) == [
        Changed(b"g", (), left=((1, 10, Reason.LEAVE),)),
        Changed(b"g", ((1, 10),), joined=((1, 10, Reason.JOIN),)),
    ]


def test_who_follows_a_closed_connection_joins_after_what_that_had_said(bench: Bench) -> None:
    first = bench.member()
    bench.engine.departs(first)
    second, third = bench.client(10), bench.client(10)
    bench.say(second, Join(b"g"))
    bench.say(second, Say(b"g", b"new"))
    bench.engine.received(first, Say(b"g", b"old"), ())
    bench.engine.departs(second)
    bench.say(third, Join(b"g"))
    bench.say(third, Say(b"g", b"newest"))
    assert not any(isinstance(each, Failed) for each in bench.got(third))
    bench.engine.closed(second)
    bench.engine.closed(first)
    bench.run()
    bench.loop_back()
    assert [type(header) for header in headers(bench.taken)][-4:] == [Mcast, ProcLeave, ProcJoin, Mcast]
    assert [each[1][4:] for each in bench.got(third) if isinstance(each, tuple)] == [b"newest"]
    assert third.on_the_way == 0


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


def test_what_follows_a_join_that_waits_for_a_leave_follows_it_in_the_order(bench: Bench) -> None:
    client = bench.member()
    for message in (Leave(b"g"), Join(b"g"), Say(b"g", b"one"), Say(b"g", b"two", Guarantee.SAFE)):
        bench.engine.received(client, message, ())
    bench.run()
    bench.loop_back()
    said = [type(header) for header in headers(bench.taken)][-4:]
    assert said == [ProcLeave, ProcJoin, Mcast, Mcast]
    assert [each[1][4:] for each in bench.got(client) if isinstance(each, tuple)] == [b"one", b"two"]
    assert client.on_the_way == 0


def test_another_client_of_the_process_may_send_behind_its_join_too(bench: Bench) -> None:
    first, second = bench.member(), bench.client()
    bench.engine.received(first, Leave(b"g"), ())
    for message in (Join(b"g"), Say(b"g", b"hello")):
        bench.engine.received(second, message, ())
    bench.run()
    bench.loop_back()
    assert [each[1][4:] for each in bench.got(second) if isinstance(each, tuple)] == [b"hello"]


def test_the_credit_of_what_followed_a_join_that_was_given_up_comes_back(bench: Bench) -> None:
    client = bench.member()
    for message in (Leave(b"g"), Join(b"g"), Say(b"g", b"never"), Leave(b"g")):
        bench.say(client, message)
    bench.loop_back()
    assert client.on_the_way == 0 and not [each for each in bench.got(client) if isinstance(each, tuple)]


def test_what_a_client_sent_that_died_before_its_join_began_is_not_sent_for_its_successor(bench: Bench) -> None:
    bench.say(bench.member(), Leave(b"g"))
    dead = bench.client()
    for message in (Join(b"g"), Say(b"g", b"of the dead")):
        bench.say(dead, message)
    bench.engine.closed(dead)
    heir = bench.client()
    for message in (Join(b"g"), Say(b"g", b"of the heir")):
        bench.say(heir, message)
    bench.loop_back()
    assert [each[1][4:] for each in bench.got(heir) if isinstance(each, tuple)] == [b"of the heir"]
    assert bench.engine.counters.messages_submitted == 1


def test_only_that_one_is_no_member_is_told_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "REFUSED_GROUPS_MAX", 3)
    client = bench.member()
    for _ in range(2):
        bench.say(client, Multicast(b"g", 1), b"\5\0\0\0abc")
        bench.say(client, Say(b"other", b"x"))
    told = [(each.group, each.status) for each in bench.got(client) if isinstance(each, Failed)]
    assert told == [
        (b"g", Status.INVALID_ARGUMENT),
        (b"other", Status.NOT_MEMBER),
        (b"g", Status.INVALID_ARGUMENT),
    ]
    for number in range(100):
        bench.say(client, Say(b"%d" % number, b"x"))
    assert len(client.refused) <= 3


def test_a_join_that_is_denied_is_answered(bench: Bench) -> None:
    client = bench.client()
    bench.engine.refuse_join(client, b"totemd:x", AccessDenied("not yours"))
    bench.run()
    assert bench.got(client)[-1] == Failed(b"totemd:x", Verb.JOIN, Status.ACCESS_DENIED, "not yours")
