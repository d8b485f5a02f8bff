"""The parts of which singletons are made, each on its own."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from totemd.ipc.errors import MalformedMessage, OperationFailed
from totemd.ipc.ids import Address, RingId
from totemd.ipc.messages.control import AppInfo
from totemd.ipc.messages.quorum import Count, NodeVotes
from totemd.sam.ballots import Ballots
from totemd.sam.cluster.council import Council
from totemd.sam.cluster.effects import (
    AskRenewal,
    BeginTerm,
    CouncilEffect,
    Extend,
    Keep,
    Leash,
    Promote,
    Send,
    TellYielded,
    Unleash,
    Yield,
)
from totemd.sam.cluster.franchise import franchise_of
from totemd.sam.cluster.handover import Handover
from totemd.sam.cluster.messages import STORED_NAMES_MAX, Apps, Claim, Release, Stored, decode, encode
from totemd.sam.cluster.promises import PROMISES_MAX, Kept, Promises, Record
from totemd.sam.cluster.roll import APPS_OF_NODE_MAX, Roll
from totemd.sam.cluster.tenure import Phase, Tenure
from totemd.sam.cluster.timing import DRIFT_MAX, KILL_SECONDS, Timing, hold_of

RING = RingId(8, 1)


# -- timing


@given(st.floats(0.02, 600), st.floats(0.02, 600), st.floats(0, 3600))
def test_a_hold_outlasts_a_lease_on_any_two_clocks(token: float, consensus: float, yields: float) -> None:
    lease = Timing.of_ring(token, consensus).lease(yields)
    assert hold_of(lease) / (1 + DRIFT_MAX) >= lease / (1 - DRIFT_MAX) * (1 - 1e-12)


def test_patience_outlasts_the_loss_of_another_node() -> None:
    timing = Timing.of_ring(1.65, 1.98)
    assert timing.patience > timing.reformation + timing.renew_every
    assert timing.renew_every < timing.patience / 4


def test_the_figures_of_the_page() -> None:
    """docs/singleton.md has them in a table."""
    slow, quick = Timing.of_ring(3.65, 4.38), Timing.of_ring(0.3, 0.36)
    assert (round(slow.lease(1.0), 2), round(hold_of(slow.lease(1.0)), 2)) == (15.92, 16.24)
    assert (round(quick.lease(1.0), 2), round(hold_of(quick.lease(1.0)), 2)) == (3.09, 3.15)
    assert (round(slow.failover(1.0), 1), round(quick.failover(1.0), 1)) == (20.5, 3.6)


# -- votes


def claim(fence: int, *, name: str = "db", hold: int = 5000, renewal: bool = False) -> Claim:
    return Claim(name, fence, fence * 1000, hold, renewal)


def granted(promises: Promises, node: int, asked: Claim, now: float) -> bool:
    return promises.vote(node, 10, asked, now)[0].granted


def test_who_has_promised_it_to_one_gives_it_to_nobody_else_before_the_time_is_over() -> None:
    promises = Promises(Record(), 0.0)
    assert granted(promises, 1, claim(1), 100.0)
    vote, is_new = promises.vote(2, 20, claim(2), 104.0)
    assert (vote.granted, vote.remaining_ms, is_new) == (False, 1000, False)
    assert granted(promises, 1, claim(1, renewal=True), 104.0)
    assert not granted(promises, 2, claim(2), 108.9)
    assert granted(promises, 2, claim(2), 109.1)


def test_a_new_term_needs_the_highest_fence_but_one_that_runs_goes_on() -> None:
    promises = Promises(Record(), 0.0)
    assert granted(promises, 1, claim(7, name="web"), 0.0)
    assert not granted(promises, 1, claim(7), 0.0)
    vote, _ = promises.vote(1, 10, claim(6), 0.0)
    assert (vote.granted, vote.highest, vote.remaining_ms) == (False, 7, 0)
    assert granted(promises, 1, claim(6, renewal=True), 0.0)


def test_a_release_frees_only_the_term_it_names() -> None:
    promises = Promises(Record(), 0.0)
    granted(promises, 1, claim(1), 0.0)
    assert not promises.release(2, "db", 1) and not promises.release(1, "db", 2)
    assert promises.release(1, "db", 1)
    assert granted(promises, 2, claim(2), 0.0)


def test_a_restarted_voter_counts_anew_from_its_start() -> None:
    before = Promises(Record(), 0.0)
    granted(before, 1, claim(3), 0.0)
    after = Promises(before.record(), 1000.0)
    assert not granted(after, 2, claim(4), 1004.9)
    assert granted(after, 1, claim(3, renewal=True), 1004.9)
    assert not granted(after, 2, claim(4), 1009.8)
    assert granted(after, 2, claim(4), 1010.0)


def test_what_is_kept_is_bounded_and_what_is_held_is_not_forgotten() -> None:
    promises = Promises(Record(), 0.0)
    for number in range(1, PROMISES_MAX + 1):
        assert granted(promises, 1, claim(number, name=f"db{number}"), 0.0)
    assert not granted(promises, 1, claim(1000), 1.0)
    assert granted(promises, 1, claim(1000), 6.0)
    assert len(promises.record().promises) <= PROMISES_MAX


def test_the_record_survives_on_disk(tmp_path: Path) -> None:
    ballots = Ballots(tmp_path, 7)
    assert ballots.read() == Record()
    record = Record(9, (Kept("db", 9, 2, 5000),))
    ballots.write(record)
    assert ballots.path.name == "singletons_7" and ballots.read() == record
    ballots.path.write_bytes(b"rubbish")
    with pytest.raises(OperationFailed, match="longer than their leases"):
        ballots.read()


# -- who decides


def count(votes: dict[int, int], expected: int, quorum: int, *flags: str, quorate: bool = True) -> Count:
    nodes = tuple(NodeVotes(node, each) for node, each in votes.items())
    return Count(quorate, 1, RING, nodes, expected, sum(votes.values()), quorum, flags, False)


@pytest.mark.parametrize(
    ("counted", "enough", "too_few"),
    [
        (count({1: 1, 2: 1, 3: 1}, 3, 2), [1, 3], [2]),
        (count({1: 1, 2: 1, 3: 1, 4: 1, 5: 1}, 5, 3), [1, 2, 5], [1, 2]),
        (count({1: 3, 2: 1, 3: 1}, 5, 3), [1], [2, 3]),
        (count({1: 1, 2: 1}, 4, 3, "AutoTieBreaker"), [1, 2], [1]),
        (count({1: 1, 2: 1}, 2, 1, "2Node"), [1, 2], [1]),
        (count({1: 1}, 1, 1), [1], []),
    ],
)
def test_how_many_votes_are_enough(counted: Count, enough: list[int], too_few: list[int]) -> None:
    franchise = franchise_of(counted)
    assert franchise is not None
    assert franchise.enough(enough) and not franchise.enough(too_few) and not franchise.enough([9, 10, 11])


@pytest.mark.parametrize(
    "counted", [None, count({1: 1}, 3, 2, quorate=False), count({1: 1}, 2, 1, "2Node"), count({}, 3, 2)]
)
def test_where_nobody_decides(counted: Count | None) -> None:
    assert franchise_of(counted) is None


# -- a sam-run's tenure


def test_a_tenure_stops_by_itself() -> None:
    tenure = Tenure(2.0)
    tenure.promoted(7, 110.0, 1.0, b"left", 100.0)
    assert tenure.take_effects() == [Leash(110.0 - KILL_SECONDS / 2), BeginTerm(7, b"left")]
    assert tenure.next_deadline() == 101.0
    tenure.expire(101.0)
    assert tenure.take_effects() == [AskRenewal(7)]
    tenure.extended(7, 111.0, 101.1)
    assert tenure.take_effects() == [Leash(111.0 - KILL_SECONDS / 2)]
    tenure.expire(111.0 - KILL_SECONDS - 2.0)
    assert tenure.take_effects() == [Yield(111.0 - KILL_SECONDS)]
    assert tenure.phase is Phase.YIELDING and tenure.term == (7, 111.0)
    tenure.over()
    assert tenure.take_effects() == [Unleash(), TellYielded(7)]
    assert tenure.term is None
    tenure.promoted(8, 120.0, 1.0, b"", 110.0)
    tenure.take_effects()
    tenure.over(stays=False)
    assert tenure.take_effects() == [Unleash()]


def test_what_comes_too_late_is_not_believed() -> None:
    """After a pause an extension may be waiting that was good when it was sent."""
    tenure = Tenure(2.0)
    tenure.promoted(7, 110.0, 1.0, b"", 100.0)
    tenure.take_effects()
    tenure.extended(7, 115.0, 109.0)
    assert tenure.take_effects() == [] and tenure.ends_at == 110.0
    tenure.extended(8, 115.0, 101.0)
    assert tenure.ends_at == 110.0
    assert tenure.may_start(107.0) and not tenure.may_start(109.0)


def test_a_lease_that_is_nearly_over_is_given_back() -> None:
    tenure = Tenure(2.0)
    tenure.promoted(7, 110.0, 1.0, b"", 108.0)
    assert tenure.take_effects() == [TellYielded(7)] and tenure.phase is Phase.STANDBY


# -- a council of one


class Alone:
    """A node that is a cluster, and hears what it says when it is told to."""

    def __init__(self) -> None:
        self.timing = Timing.of_ring(1.0, 1.2)
        self.council = Council(HERE, self.timing, Record(), 100.0)
        self.council.members((HERE,), 100.0)
        self.council.ring(RING, 100.0)
        self.council.count(count({1: 1}, 1, 1), 100.0)
        self.done: list[CouncilEffect] = []

    def hear(self, now: float) -> None:
        """Everything that was said comes back, and what is said about it."""
        while effects := self.council.take_effects():
            for effect in effects:
                self.done.append(effect)
                said = effect.message if isinstance(effect, Send) else effect.then if isinstance(effect, Keep) else None
                if said is not None:
                    self.council.deliver(HERE, said, now)

    @property
    def promoted(self) -> list[Promote]:
        return [effect for effect in self.done if isinstance(effect, Promote)]


def test_a_lease_begins_when_it_is_asked_for_and_no_reload_lengthens_it() -> None:
    alone = Alone()
    alone.hear(100.0)
    alone.council.enlist(1, "db", 1.0, 100.0)
    alone.council.timing = Timing.of_ring(10.0, 12.0)
    alone.hear(101.0)
    (order,) = alone.promoted
    assert order.fence == 1 and order.ends_at == pytest.approx(100.0 + alone.timing.lease(1.0))


def test_a_lease_that_is_over_stays_over() -> None:
    alone = Alone()
    alone.council.enlist(1, "db", 1.0, 100.0)
    alone.hear(100.0)
    (order,) = alone.promoted
    alone.council.renew(1, order.fence, order.ends_at - 0.1)
    alone.hear(order.ends_at + 0.1)
    assert not any(isinstance(effect, Extend) for effect in alone.done)


def test_what_cannot_be_kept_is_not_voted_for() -> None:
    """The vote is part of the effect that writes: who cannot write does not send it."""
    alone = Alone()
    alone.council.enlist(1, "db", 1.0, 100.0)
    for _ in range(3):
        for effect in alone.council.take_effects():
            if isinstance(effect, Send):
                alone.council.deliver(HERE, effect.message, 100.0)
            else:
                assert isinstance(effect, Keep) and effect.then is not None
    assert alone.promoted == [] and alone.council.next_deadline() is not None


def test_who_does_not_know_what_it_promised_votes_for_nobody() -> None:
    council = Council(HERE, Timing.of_ring(1.0, 1.2), None, 100.0)
    council.members((HERE, THERE), 100.0)
    council.take_effects()
    council.deliver(THERE, claim(1), 100.0)
    assert council.take_effects() == []


def test_a_sam_run_that_runs_already_goes_on_in_its_term() -> None:
    alone = Alone()
    alone.council.enlist(1, "db", 1.0, 100.0, (7, 104.0))
    alone.hear(100.0)
    alone.council.renew(1, 7, 101.0)
    alone.hear(101.0)
    extended = [effect for effect in alone.done if isinstance(effect, Extend)]
    assert alone.promoted == [] and [effect.fence for effect in extended] == [7]
    alone.council.yielded(1, 7, 102.0)
    alone.hear(102.0)
    assert [order.fence for order in alone.promoted] == [8]


# -- everybody's applications, and what is handed over


def info(name: str, state: str = "running", pid: int = 1) -> AppInfo:
    return AppInfo(name, 1, pid, state, 1, "restart")


HERE, THERE = Address(1, 10), Address(2, 20)


def told(sender: Roll, receiver: Roll, apps: list[AppInfo]) -> list[Apps]:
    messages = [decode(encode(each)) for each in sender.tell(apps, {})]
    for message in messages:
        assert isinstance(message, Apps)
        receiver.deliver(HERE, message)
    return messages  # type: ignore[return-value]


def test_the_others_know_what_runs_here_until_this_node_is_gone() -> None:
    ours, theirs = Roll(), Roll()
    for roll in (ours, theirs):
        roll.become((HERE, THERE))
    assert len(told(ours, theirs, [info("web"), info("db")])) == 1
    assert told(ours, theirs, [info("web"), info("db")]) == []
    told(ours, theirs, [info("db", "backoff", 0)])
    assert theirs.of_others(2) == [info("db", "backoff", 0)]
    ours.become((HERE, THERE, Address(3, 30)))
    (again,) = told(ours, theirs, [info("db", "backoff", 0)])
    assert again.first
    theirs.become((THERE,))
    assert theirs.of_others(2) == []


def test_very_many_applications_are_told_in_bounded_messages() -> None:
    ours, theirs = Roll(), Roll()
    for roll in (ours, theirs):
        roll.become((HERE, THERE))
    apps = [info(f"app{number:05}") for number in range(APPS_OF_NODE_MAX + 10)]
    assert len(told(ours, theirs, apps)) == 5
    assert len(theirs.of_others(2)) == APPS_OF_NODE_MAX
    told(ours, theirs, [])
    assert theirs.of_others(2) == []


def test_the_latest_data_is_kept_and_the_oldest_names_go() -> None:
    handover = Handover()
    assert handover.take(Stored("db", 2, 1, b"new")) and not handover.take(Stored("db", 1, 9, b"old"))
    assert handover.data("db") == b"new" and handover.data("web") == b""
    for number in range(STORED_NAMES_MAX):
        handover.take(Stored(f"app{number}", 10 + number, 1, b""))
    assert handover.data("db") == b"" and len(handover.heads()) == STORED_NAMES_MAX


@pytest.mark.parametrize(
    "payload", [b"", b"\x02", b"\x01", b"\x01\xc1", encode(claim(1))[:-1], b"\x01" + b"\x91" * 3000]
)
def test_what_is_no_message_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode(payload)


def test_unknown_fields_are_ignored() -> None:
    raw = {"type": "release", "name": "db", "fence": 3, "later": True}
    assert decode(b"\x01" + msgspec.msgpack.encode(raw)) == Release("db", 3)
