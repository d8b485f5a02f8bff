"""Messages that are too large for one submission: parts, turns, and what a change of the ring does to them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from totemd.ipc.errors import MalformedMessage
from totemd.ipc.ids import Guarantee, Reason, RingId
from totemd.services.cpg import outbox as outbox_module
from totemd.services.cpg.memberships import LocalClient
from totemd.services.cpg.outbox import ON_THE_WAY_BYTES, PARTS_ON_THE_WAY_BYTES, Outbox
from totemd.services.cpg.transfers import Transfers
from totemd.services.cpg.wire import PART_BYTES, TRANSFERS_MAX, Mcast, Part, ProcLeave, decode_header
from totemd.services.envelope import disclose

RING = RingId(4, 1)
AGREED, SAFE = Guarantee.AGREED, Guarantee.SAFE


class Line:
    """An outbox with little limits, and the ring behind it."""

    def __init__(self, credit: int = 1_000_000) -> None:
        self.outbox = Outbox()
        self.outbox.open(credit)
        self.guarantees: list[Guarantee] = []

    def client(self, pid: int) -> LocalClient:
        return LocalClient(None, pid, 1_000_000)

    def say(self, client: LocalClient, text: bytes, group: bytes = b"g", guarantee: Guarantee = AGREED) -> None:
        body = len(text).to_bytes(4, "little") + text
        self.outbox.batch(client, group, guarantee, 1, (body,), size=len(body))

    def take(self) -> list[tuple[Any, bytes]]:
        """What goes out now, as headers and bodies."""
        items, payloads = self.outbox.take(7, RING)
        self.guarantees += [item.guarantee for item in items]
        self.last = payloads
        return [(decode_header(opened.header), bytes(opened.body)) for opened in (disclose(each) for each in payloads)]

    def all(self) -> list[tuple[Any, bytes]]:
        """What goes out while the ring takes everything."""
        out: list[tuple[Any, bytes]] = []
        while taken := self.take():
            out += taken
            for payload in self.last:
                self.outbox.credited(len(payload))
        return out


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    monkeypatch.setattr(outbox_module, "WHOLE_BYTES_MAX", 1_000)
    monkeypatch.setattr(outbox_module, "PART_BYTES", 300)
    return Line()


def part(transfer: int, offset: int, total: int, pid: int = 10) -> Part:
    return Part(b"g", pid, 7, 1, AGREED, RING, transfer, offset, total)


def test_a_large_message_goes_out_in_parts_of_which_the_last_has_the_guarantee(line: Line) -> None:
    client, text = line.client(10), bytes(range(256)) * 4
    line.say(client, text, guarantee=SAFE)
    out = line.all()
    assert [header for header, _ in out] == [
        Part(b"g", 10, 7, 1, SAFE, RING, 1, offset, 1_028) for offset in (0, 300, 600, 900)
    ]
    assert b"".join(body for _, body in out) == (1_024).to_bytes(4, "little") + text
    assert line.guarantees == [AGREED, AGREED, AGREED, SAFE]


@pytest.mark.parametrize("cuts", [(), (4,), (300,), (299, 301), (4, 5, 6, 900, 901), tuple(range(0, 1_100, 100))])
def test_the_frames_of_a_message_need_not_be_those_of_its_parts(line: Line, cuts: tuple[int, ...]) -> None:
    body = (1_096).to_bytes(4, "little") + bytes(range(256)) * 4 + bytes(72)
    frames = [memoryview(body)[start:end] for start, end in itertools.pairwise((0, *cuts, len(body)))]
    line.outbox.batch(line.client(10), b"g", AGREED, 1, frames, size=len(body))
    first = line.all()
    line.outbox.begin_anew({1})
    again = line.all()
    assert [len(part) for _, part in first] == [300, 300, 300, 200]
    assert b"".join(part for _, part in first) == body == b"".join(part for _, part in again)


def test_what_follows_waits_until_the_transfer_was_delivered(line: Line) -> None:
    client = line.client(10)
    line.say(client, b"x" * 1_100)
    line.say(client, b"after", group=b"other")
    line.outbox.leave(client, b"g", Reason.LEAVE)
    assert all(isinstance(header, Part) for header, _ in line.all())
    assert line.outbox.transferred(99) is None
    assert line.outbox.transferred(1) == (client, 1_104 + 64)
    after, leave = line.all()
    assert isinstance(after[0], Mcast) and after[1][4:] == b"after" and isinstance(leave[0], ProcLeave)


def test_clients_take_turns_between_the_parts_of_others(line: Line) -> None:
    big, small = line.client(10), line.client(20)
    line.say(big, b"x" * 3_000)
    for number in range(3):
        line.say(small, b"%d" % number, group=b"%d" % number)
    kinds = [type(header).__name__ for header, _ in line.all()]
    assert kinds[:7] == ["Part", "Mcast", "Part", "Mcast", "Part", "Mcast", "Part"]
    assert kinds[7:] == ["Part"] * 7


def test_a_flood_of_whole_messages_does_not_make_others_wait_either(line: Line) -> None:
    flood, small = line.client(10), line.client(20)
    for _ in range(20):
        line.say(flood, b"x" * 900, group=b"flood")
    line.say(small, b"hello")
    pids = [header.pid for header, _ in line.all()]
    assert pids.index(20) <= 1


def test_only_so_many_transfers_at_a_time(line: Line) -> None:
    clients = [line.client(pid) for pid in range(10, 10 + TRANSFERS_MAX + 1)]
    for client in clients:
        line.say(client, b"x" * 1_100)
    first = line.all()
    assert {header.pid for header, _ in first} == {client.pid for client in clients[:-1]}
    line.outbox.transferred(1)
    assert {header.pid for header, _ in line.all()} == {clients[-1].pid}


def test_what_is_broken_off_begins_anew_under_another_number(line: Line) -> None:
    client, other = line.client(10), line.client(20)
    line.say(client, b"x" * 1_100)
    line.say(other, b"y" * 1_100)
    assert len(line.all()) == 8
    line.outbox.begin_anew({1})
    again = line.all()
    assert [(header.transfer, header.offset) for header, _ in again] == [(3, 0), (3, 300), (3, 600), (3, 900)]
    assert line.outbox.transferred(1) is None
    assert line.outbox.transferred(2) == (other, 1_168)
    assert line.outbox.transferred(3) == (client, 1_168)


def test_not_more_than_enough_is_on_the_way() -> None:
    line = Line(credit=100 * 1024 * 1024)
    client = line.client(10)
    for _ in range(60):
        line.say(client, bytes(500_000))
    taken = line.take()
    assert ON_THE_WAY_BYTES <= sum(len(body) for _, body in taken) <= ON_THE_WAY_BYTES + 501_000
    line.outbox.credited(sum(len(payload) for payload in line.last))
    assert len(line.all()) == 60 - len(taken)


def test_what_is_sent_beside_a_large_message_waits_for_little_of_it() -> None:
    line = Line(credit=100 * 1024 * 1024)
    big, flood = line.client(10), line.client(20)
    line.say(big, bytes(20_000_000))
    assert 0 <= sum(len(body) for _, body in line.take()) - PARTS_ON_THE_WAY_BYTES < PART_BYTES
    parts = line.last
    for _ in range(60):
        line.say(flood, bytes(200_000))
    beside = line.take()
    assert {header.pid for header, _ in beside} == {20}
    line.outbox.credited(sum(map(len, parts)))
    kinds = [type(header) for header, _ in line.take()]
    assert abs(kinds.count(Part) - kinds.count(Mcast)) <= 1, "what others send beside it does not stop it"


def test_parts_become_the_message_again() -> None:
    transfers = Transfers()
    assert transfers.part(1, part(1, 0, 10), memoryview(b"abcd")) is None
    assert transfers.part(2, part(1, 0, 6), memoryview(b"xyz")) is None
    assert transfers.part(1, part(1, 4, 10), memoryview(b"efgh")) is None
    assert transfers.part(2, part(1, 3, 6), memoryview(b"uvw")) == b"xyzuvw"
    whole = transfers.part(1, part(1, 8, 10), memoryview(b"ij"))
    assert whole == b"abcdefghij" and whole.readonly
    assert transfers.break_off() == {}


def test_the_rest_of_what_was_broken_off_is_nothing() -> None:
    transfers = Transfers()
    transfers.part(1, part(5, 0, 10), memoryview(b"abcd"))
    transfers.part(2, part(6, 0, 10), memoryview(b"abcd"))
    assert transfers.break_off() == {1: {5}, 2: {6}}
    assert transfers.part(1, part(5, 4, 10), memoryview(b"efghij")) is None
    assert transfers.break_off() == {}


@pytest.mark.parametrize("wrong", [part(1, 5, 10), part(1, 3, 10), part(1, 4, 11)])
def test_a_part_that_does_not_continue_ends_its_transfer(wrong: Part) -> None:
    transfers = Transfers()
    transfers.part(1, part(1, 0, 10), memoryview(b"abcd"))
    with pytest.raises(MalformedMessage, match="does not follow 4 bytes"):
        transfers.part(1, wrong, memoryview(b"e"))
    assert transfers.part(1, part(1, 4, 10), memoryview(b"efghij")) is None


def test_more_bytes_than_announced_are_refused() -> None:
    transfers = Transfers()
    with pytest.raises(MalformedMessage):
        transfers.part(1, part(1, 0, 3), memoryview(b"abcd"))


def test_a_node_has_only_so_many_and_loses_them_with_its_service() -> None:
    transfers = Transfers()
    for number in range(TRANSFERS_MAX):
        transfers.part(1, part(number, 0, 10), memoryview(b"a"))
    with pytest.raises(MalformedMessage, match="which is the limit"):
        transfers.part(1, part(50, 0, 10), memoryview(b"a"))
    assert transfers.part(2, part(50, 0, 10), memoryview(b"a")) is None
    transfers.node_gone(1)
    assert transfers.break_off() == {2: {50}}


def test_turns_are_fair_whoever_came_first(line: Line) -> None:
    clients = [line.client(pid) for pid in range(10, 15)]
    for _, client in itertools.product(range(4), clients):
        line.say(client, b"x" * 800, group=b"%d" % len(line.guarantees))
        line.outbox.leave(client, b"other", Reason.LEAVE)
    order = [header.pid for header, _ in line.all()]
    rounds = [order[start : start + 5] for start in range(0, len(order), 5)]
    assert all(sorted(each) == [10, 11, 12, 13, 14] for each in rounds)
