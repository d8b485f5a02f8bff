"""A client without sockets: its groups, what it saw while it was away, batches and credit."""

from __future__ import annotations

from typing import Any

import pytest
from totemd.ipc.codec import Codec
from totemd.ipc.errors import (
    AccessDenied,
    AlreadyMember,
    ConnectionLost,
    Expelled,
    InvalidArgument,
    MessageTooLarge,
    NotMember,
    OperationFailed,
    Status,
)
from totemd.ipc.ids import MESSAGE_BYTES_MAX, Address, Guarantee, Member, Reason, RingId
from totemd.ipc.messages import cpg as wire
from totemd.ipc.messages.common import Welcome
from totemd.services.cpg.batches import as_parts
from totemd.services.cpg.channel import REPORT_MESSAGES, Channel
from totemd.services.cpg.events import ConfigChange, Message, Rejoined, RingChange
from totemd.services.cpg.subscription import Stage, Subscription

ME = Address(1, 10)
RING = RingId(4, 1)
AWAY = wire.Away("the ring is away")
AGREED, SAFE = Guarantee.AGREED, Guarantee.SAFE


class Desk:
    """A channel, and what it wants sent."""

    def __init__(self, credit: int = 1_000_000) -> None:
        self.channel = Channel()
        self.codec: Codec[Any] = Codec(wire.FROM_CLIENT)
        self.credit = credit
        self.welcome()

    def welcome(self) -> None:
        self.channel.welcomed(Welcome((1, 0), 1, 99, ME.pid, self.credit))
        self.hear(wire.Ring(RING, (1, 2)))

    def hear(self, message: Any, *payload: bytes | memoryview) -> None:
        self.channel.arrived(message, payload)

    def sent(self) -> list[Any]:
        self.channel.flush()
        outgoing, self.channel.outgoing = self.channel.outgoing, []
        return [
            (message, *payload) if payload else message
            for message, payload in (self.codec.decode(frames) for frames in outgoing)
        ]

    def changed(self, joined: tuple[Any, ...] = (), left: tuple[Any, ...] = (), group: bytes = b"g") -> None:
        members = ((1, 10),) if (1, 10) not in {each[:2] for each in left} else ()
        self.hear(wire.Changed(group, members, joined, left))

    def member(self, group: bytes = b"g") -> Subscription:
        subscription = self.channel.join(group)
        self.changed(joined=((1, 10, Reason.JOIN),), group=group)
        assert isinstance(subscription.take(), ConfigChange)
        self.sent()
        return subscription

    def messages(self, *payloads: bytes, sender: tuple[int, int] = (2, 5), group: bytes = b"g") -> None:
        self.hear(wire.Messages(group, *sender, len(payloads), AGREED, RING), batch(*payloads))


def batch(*payloads: bytes) -> bytes:
    return b"".join(len(each).to_bytes(4, "little") + each for each in payloads)


def everything(subscription: Subscription) -> list[Any]:
    events = []
    while subscription.has_events:
        events.append(subscription.take())
    return events


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_join_is_done_when_the_own_process_is_in_the_delivered_membership(desk: Desk) -> None:
    subscription = desk.channel.join(b"g")
    assert desk.sent() == [wire.Join(b"g")]
    assert subscription.stage is Stage.JOINING and not subscription.has_events
    desk.hear(wire.Changed(b"g", ((1, 10), (2, 5)), ((1, 10, Reason.JOIN),)))
    assert subscription.stage is Stage.JOINED
    members = (Member(1, 10), Member(2, 5))
    assert subscription.take() == ConfigChange(members, (Member(1, 10, Reason.JOIN),), (), "g")
    assert subscription.members == members
    assert desk.channel.ring == RingChange(RING, (1, 2))


def test_messages_come_one_by_one_and_whole(desk: Desk) -> None:
    subscription = desk.member()
    desk.messages(b"one", b"", b"three")
    events = everything(subscription)
    assert [event.payload for event in events] == [b"one", b"", b"three"]
    assert events[0] == Message(Address(2, 5), b"one", "g", AGREED, RING)


@pytest.mark.parametrize(
    ("body", "count"), [(b"", 1), (batch(b"x"), 2), (batch(b"x", b"y"), 1), (b"\xff\xff\xff\xffx", 1), (b"\1\0", 1)]
)
def test_a_batch_that_is_none_is_dropped_whole(desk: Desk, body: bytes, count: int) -> None:
    subscription = desk.member()
    desk.hear(wire.Messages(b"g", 2, 5, count, AGREED, RING), body)
    desk.messages(b"after")
    assert [event.payload for event in (subscription.take(),) if isinstance(event, Message)] == [b"after"]
    assert subscription.malformed == 1


def test_each_group_has_its_own_events_and_all_see_the_ring(desk: Desk) -> None:
    a, b = desk.member(b"a"), desk.member(b"b")
    desk.messages(b"for b", group=b"b")
    desk.messages(b"for nobody", group=b"c")
    desk.hear(wire.Ring(RingId(8, 1), (1,)))
    change = RingChange(RingId(8, 1), (1,))
    assert everything(a) == [change]
    assert [type(each) for each in everything(b)] == [Message, RingChange]


def test_a_leave_ends_with_the_own_leave(desk: Desk) -> None:
    subscription = desk.member()
    desk.channel.leave(subscription)
    desk.channel.leave(subscription)
    assert desk.sent() == [wire.Leave(b"g")]
    desk.messages(b"still a member")
    with pytest.raises(NotMember):
        desk.channel.append(subscription, b"x", AGREED)
    desk.changed(left=((1, 10, Reason.LEAVE),))
    message, change = (subscription.take(), subscription.take())
    assert isinstance(message, Message) and isinstance(change, ConfigChange)
    assert change.left == (Member(1, 10, Reason.LEAVE),)
    with pytest.raises(NotMember):
        subscription.take()
    with pytest.raises(NotMember):
        desk.channel.append(subscription, b"x", AGREED)
    assert desk.channel.join(b"g").stage is Stage.JOINING


def test_a_group_is_joined_once(desk: Desk) -> None:
    subscription = desk.member()
    with pytest.raises(AlreadyMember):
        desk.channel.join(b"g")
    desk.channel.leave(subscription)
    assert desk.channel.is_leaving(b"g")


def test_a_refused_join_says_why(desk: Desk) -> None:
    subscription = desk.channel.join(b"g")
    desk.hear(wire.Failed(b"g", wire.Verb.JOIN, Status.ALREADY_MEMBER, "in it already"))
    with pytest.raises(AlreadyMember, match="in it already"):
        subscription.take()


def test_a_refusal_that_crossed_with_something_else_is_none_of_this_membership(desk: Desk) -> None:
    subscription = desk.member()
    for verb in wire.Verb:
        desk.hear(wire.Failed(b"g", verb, Status.NOT_MEMBER, "of an earlier time"))
    assert subscription.stage is Stage.JOINED


def send(desk: Desk, subscription: Subscription, *payloads: bytes) -> None:
    for payload in payloads:
        assert desk.channel.append(subscription, payload, AGREED)
    desk.sent()


@pytest.mark.parametrize("how", ["connection", "ring"])
def test_who_was_away_learns_it_before_anything_new(desk: Desk, how: str) -> None:
    subscription = desk.member()
    send(desk, subscription, b"1", b"2", b"3")
    desk.messages(b"1", sender=ME)
    if how == "connection":
        desk.channel.lost()
        assert not desk.channel.append(subscription, b"4", AGREED)
        desk.welcome()
    else:
        desk.hear(wire.Away("gone"))
        desk.hear(wire.Ring(None))
        assert desk.channel.ring is None
    assert desk.sent() == [wire.Join(b"g")]
    assert not desk.channel.append(subscription, b"4", AGREED)
    desk.hear(wire.Ring(RingId(12, 1), (1,)))
    desk.changed(joined=((1, 10, Reason.JOIN),))
    message, rejoined, change = everything(subscription)
    assert message.payload == b"1"
    assert rejoined == Rejoined(2, "g")
    assert change.joined == (Member(1, 10, Reason.JOIN),)
    send(desk, subscription, b"4")
    assert subscription.sent == 1


def test_being_away_twice_before_being_back_is_told_once(desk: Desk) -> None:
    subscription = desk.member()
    send(desk, subscription, b"1")
    desk.channel.lost()
    desk.welcome()
    desk.hear(wire.Away("again"))
    assert desk.sent() == [wire.Join(b"g"), wire.Join(b"g")]
    desk.changed(joined=((1, 10, Reason.JOIN),))
    assert [type(each) for each in everything(subscription)] == [Rejoined, ConfigChange]


def test_a_first_join_that_is_interrupted_is_simply_repeated(desk: Desk) -> None:
    subscription = desk.channel.join(b"g")
    desk.sent()
    desk.channel.lost()
    desk.welcome()
    assert desk.sent() == [wire.Join(b"g")]
    desk.changed(joined=((1, 10, Reason.JOIN),))
    assert [type(each) for each in everything(subscription)] == [ConfigChange]


def test_a_leave_that_is_interrupted_is_done(desk: Desk) -> None:
    subscription = desk.member()
    desk.channel.leave(subscription)
    desk.hear(wire.Away("gone"))
    assert desk.sent() == [wire.Leave(b"g")]
    with pytest.raises(NotMember):
        subscription.take()


@pytest.mark.parametrize("how", ["away", "lost", "lost before", "away before"])
def test_a_leave_that_is_interrupted_tells_what_may_be_lost(desk: Desk, how: str) -> None:
    subscription = desk.member()
    for payload in (b"one", b"two", b"three"):
        assert desk.channel.append(subscription, payload, AGREED)
    desk.sent()
    desk.messages(b"one", sender=(1, 10))
    steps = [lambda: desk.channel.leave(subscription), desk.channel.lost if "lost" in how else lambda: desk.hear(AWAY)]
    for step in reversed(steps) if "before" in how else steps:
        step()
    assert isinstance(subscription.take(), Message)
    if how == "away before":  # the join is under way again, and so is the leave
        desk.hear(wire.Failed(b"g", wire.Verb.LEAVE, Status.NOT_MEMBER, "never began"))
    assert subscription.gap
    with pytest.raises(ConnectionLost, match="2 own messages"):
        subscription.take()


def test_a_leave_that_was_told_ends_well_whatever_is_missing(desk: Desk) -> None:
    """What was refused never comes back; the own leave comes after all that does."""
    subscription = desk.member()
    assert desk.channel.append(subscription, b"refused", AGREED)
    desk.sent()
    desk.channel.leave(subscription)
    desk.changed(left=((1, 10, Reason.LEAVE),))
    assert not subscription.gap
    assert isinstance(subscription.take(), ConfigChange)
    with pytest.raises(NotMember):
        subscription.take()


def test_what_was_gathered_but_not_sent_goes_out_after_the_return(desk: Desk) -> None:
    subscription = desk.member()
    assert desk.channel.append(subscription, b"gathered", AGREED)
    desk.channel.lost()
    desk.welcome()
    assert desk.sent() == [wire.Join(b"g")]
    desk.changed(joined=((1, 10, Reason.JOIN),))
    assert desk.sent() == [(wire.Multicast(b"g", 1), batch(b"gathered"))]


def test_an_expelled_member_reads_what_it_got_and_then_learns_it(desk: Desk) -> None:
    subscription = desk.member()
    desk.messages(b"m")
    desk.hear(wire.Expelled("64 MiB unread"))
    assert isinstance(subscription.take(), Message)
    for action in (subscription.take, lambda: desk.channel.append(subscription, b"x", AGREED)):
        with pytest.raises(Expelled, match="64 MiB"):
            action()
    desk.channel.lost()
    desk.welcome()
    assert desk.sent() == []
    assert desk.channel.join(b"g").stage is Stage.JOINING


def test_a_client_that_is_not_let_in_again_is_told(desk: Desk) -> None:
    subscription = desk.member()
    desk.channel.lost()
    desk.channel.rejected(OperationFailed("busy"))
    assert subscription.stage is Stage.AWAY
    desk.channel.rejected(AccessDenied("no"))
    with pytest.raises(AccessDenied):
        subscription.take()


def test_a_message_is_bytes_wherever_libzmq_has_put_it(desk: Desk) -> None:
    subscription = desk.member()
    everything(subscription)
    desk.hear(wire.Messages(b"g", 2, 5, 2, AGREED, RING), memoryview(batch(b"one", b"two")))
    payloads = [event.payload for event in everything(subscription)]
    assert payloads == [b"one", b"two"] and all(type(each) is bytes for each in payloads)


def test_batches_are_cut_where_the_order_or_the_limit_demands(desk: Desk) -> None:
    a, b = desk.member(b"a"), desk.member(b"b")
    big = b"x" * 40_000
    for subscription, payload, guarantee in (
        *((a, b"1", AGREED), (a, b"2", AGREED), (b, b"3", AGREED), (a, b"4", AGREED)),
        *((a, b"5", SAFE), (a, big, AGREED), (a, big, AGREED), (a, bytes(MESSAGE_BYTES_MAX - 600_000), AGREED)),
        (a, b"6", AGREED),
    ):
        assert desk.channel.append(subscription, payload, guarantee)
    sent = desk.sent()
    assert [(message.group, message.count, message.guarantee) for message, *_ in sent] == [
        *((b"a", 2, AGREED), (b"b", 1, AGREED), (b"a", 1, AGREED), (b"a", 1, SAFE)),
        *((b"a", 1, AGREED), (b"a", 1, AGREED), (b"a", 1, AGREED), (b"a", 1, AGREED)),
    ]
    assert [len(frames) for _, *frames in sent] == [1, 1, 1, 1, 1, 1, 2, 1], "what is long is not copied"


@pytest.mark.parametrize(("told", "batches"), [(None, [3, 1]), (30_000, [1, 1, 1, 1]), (240 * 1024, [4]), (2**30, [4])])
def test_a_batch_is_as_long_as_the_service_takes(told: int | None, batches: list[int]) -> None:
    desk = Desk(credit=10**6)
    subscription = desk.member()
    if told is not None:
        desk.hear(wire.Limits(MESSAGE_BYTES_MAX, told))
    for _ in range(4):
        assert desk.channel.append(subscription, bytes(20_000), AGREED)
    assert [message.count for message, *_ in desk.sent()] == batches


def test_a_sender_without_credit_waits_until_some_is_returned() -> None:
    desk = Desk(credit=350)
    subscription = desk.member()
    assert desk.channel.append(subscription, b"x" * 96, AGREED)
    assert desk.channel.append(subscription, b"x" * 96, AGREED)
    assert not desk.channel.append(subscription, b"x" * 96, AGREED)
    assert desk.channel.alone(subscription, b"x" * 96, AGREED) is None
    assert desk.sent() == [(wire.Multicast(b"g", 2), batch(b"x" * 96, b"x" * 96))]
    desk.hear(wire.Credit(264))
    assert desk.channel.alone(subscription, b"x" * 96, AGREED) is not None
    assert not desk.channel.append(subscription, b"x" * 200, AGREED)


def test_a_message_sent_alone_is_said_in_one_frame(desk: Desk) -> None:
    subscription = desk.member()
    for content in (b"", b"hello", bytes(wire.SAY_BYTES_MAX)):
        frames = desk.channel.alone(subscription, content, SAFE)
        assert frames is not None
        message, payload = desk.codec.decode(frames)
        assert message == wire.Say(b"g", content, SAFE) and payload == ()
    assert subscription.sent == 3
    assert desk.channel.alone(subscription, bytes(wire.SAY_BYTES_MAX + 1), AGREED) is None


@pytest.mark.parametrize(
    ("payload", "error"),
    [("text", InvalidArgument), (5, InvalidArgument), (bytes(MESSAGE_BYTES_MAX + 1), MessageTooLarge)],
)
def test_what_cannot_be_a_message_is_refused(desk: Desk, payload: Any, error: type[Exception]) -> None:
    subscription = desk.member()
    with pytest.raises(error) as caught:
        desk.channel.append(subscription, payload, AGREED)
    assert error is InvalidArgument or "1048576 bytes" in str(caught.value)
    assert desk.sent() == []


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_anything_with_a_buffer_can_be_a_message(desk: Desk, kind: Any) -> None:
    subscription = desk.member()
    assert desk.channel.append(subscription, kind(b"hello"), AGREED)
    assert desk.sent() == [(wire.Multicast(b"g", 1), batch(b"hello"))]


def test_the_service_is_told_what_was_read_and_only_that(desk: Desk) -> None:
    subscription = desk.member()
    desk.channel.settle(subscription)
    unreported = 2  # the ring and the own join
    for _ in range(REPORT_MESSAGES):
        desk.messages(b"x")
    desk.channel.settle(subscription)
    assert desk.sent() == []
    for _ in range(REPORT_MESSAGES - unreported):
        subscription.take()
        desk.channel.settle(subscription)
    assert desk.sent() == [wire.Consumed(REPORT_MESSAGES)]


def test_where_time_counts_the_service_is_told_at_once_that_all_was_read(desk: Desk) -> None:
    desk.hear(wire.Limits(MESSAGE_BYTES_MAX, unread_ms=2_000))
    assert desk.sent() == [wire.Consumed(2)]
    subscription = desk.member()
    assert desk.sent() == []
    desk.messages(b"x")
    desk.messages(b"y")
    for said in ([], [wire.Consumed(3)]):  # the own join waits to be settled, too
        subscription.take()
        desk.channel.settle(subscription)
        assert desk.sent() == said
    desk.hear(wire.Limits(MESSAGE_BYTES_MAX))
    desk.messages(b"z")
    subscription.take()
    desk.channel.settle(subscription)
    assert desk.sent() == []


def test_large_batches_are_reported_early(desk: Desk) -> None:
    subscription = desk.member()
    desk.messages(b"x" * 300_000)
    subscription.take()
    desk.channel.settle(subscription)
    assert desk.sent() == [wire.Consumed(3)]


def test_what_a_lost_connection_had_delivered_is_not_reported_to_the_next(desk: Desk) -> None:
    subscription = desk.member()
    for _ in range(REPORT_MESSAGES):
        desk.messages(b"x")
    desk.channel.lost()
    desk.welcome()
    desk.sent()
    everything(subscription)
    desk.channel.settle(subscription)
    assert desk.sent() == []


def test_a_closed_client_ends_every_group(desk: Desk) -> None:
    subscription = desk.member()
    desk.channel.close(ConnectionLost("closed"))
    with pytest.raises(ConnectionLost):
        subscription.take()


def test_parts_travel_as_they_are_behind_one_length(desk: Desk) -> None:
    subscription = desk.member()
    assert desk.channel.append(subscription, b"before", AGREED)
    parts = as_parts([b"x" * 70_000, bytearray(b"y"), memoryview(b"z" * 5)])
    assert desk.channel.append_parts(subscription, parts, SAFE)
    before, (control, *frames) = desk.sent()
    assert before == (wire.Multicast(b"g", 1), batch(b"before"))
    assert control == wire.Multicast(b"g", 1, SAFE)
    assert frames == [(70_006).to_bytes(4, "little"), b"x" * 70_000, b"y", b"z" * 5]
    assert desk.channel.room(subscription) == 1_000_000 - 2 * 68 - 70_006 - 6 - 68
    assert subscription.sent == 2


def test_parts_that_are_short_or_many_are_joined() -> None:
    assert as_parts([b"a", b"", b"b"]) == [b"ab"]
    assert as_parts([]) == [b""]
    assert as_parts([b"x" * 2_000] * 64) == [b"x" * 128_000]
    assert as_parts([b"x" * 2_000] * 63) == [b"x" * 2_000] * 63


def test_parts_obey_limits_and_credit(desk: Desk) -> None:
    subscription = desk.member()
    with pytest.raises(MessageTooLarge, match="1048577"):
        desk.channel.append_parts(subscription, [bytes(MESSAGE_BYTES_MAX), b"x"], AGREED)
    assert desk.channel.append_parts(subscription, [bytes(600_000), b"x"], AGREED)
    assert not desk.channel.append_parts(subscription, [bytes(600_000), b"x"], AGREED)
    assert desk.channel.room(subscription) == 1_000_000 - 600_001 - 2 * 68
    desk.channel.lost()
    assert desk.channel.room(subscription) == -1
    assert not desk.channel.append_parts(subscription, [b"x" * 70_000, b"x"], AGREED)


def test_the_ring_follows_the_own_join_where_it_is_asked_for(desk: Desk) -> None:
    subscription = desk.channel.join(b"g", initial_ring=True)
    desk.changed(joined=((1, 10, Reason.JOIN),))
    assert [type(event) for event in everything(subscription)] == [ConfigChange, RingChange]
    desk.changed(joined=((2, 10, Reason.JOIN),))
    assert [type(event) for event in everything(subscription)] == [ConfigChange]


def test_all_that_is_there_is_taken_at_once_and_the_end_is_told_last(desk: Desk) -> None:
    subscription = desk.member()
    desk.messages(b"1", b"2")
    desk.messages(b"3")
    assert [event.payload for event in subscription.take_all() if isinstance(event, Message)] == [b"1", b"2", b"3"]
    assert subscription.take_all() == []
    desk.messages(b"4")
    desk.channel.close(ConnectionLost("gone"))
    assert len(subscription.take_all()) == 1
    with pytest.raises(ConnectionLost, match="gone"):
        subscription.take_all()
