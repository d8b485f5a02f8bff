"""The checker of what members of groups saw: for each property a history that breaks it, and a good one beside it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from simcluster import group_liveness
from simcluster.analysis import Analysis
from simcluster.cluster import Cluster
from simcluster.group_history import (
    Back,
    Came,
    Cause,
    Exchange,
    GroupEvent,
    GroupHistory,
    Membership,
    Place,
    RingSeen,
    Said,
    Seen,
    Who,
)
from simcluster.group_properties import SINGLE, check_groups
from simcluster.machine import Machine
from simcluster.options import derive
from simcluster.story import FIRST, SECOND, Story, go_on, together
from totemd.services.cpg.subscription import Stage

A, B = Who(1, 100), Who(2, 100)
WHOLE = Exchange(SECOND, 0, "both from the first ring")
SEED, SEEDS_AT_REST = 2, 10
"""Of the profile `groups`: one of these runs has members that are left at the end."""


class Tale:
    """Two nodes in one ring; a client on each, in one group."""

    def __init__(self) -> None:
        self.story = Story()
        together(self.story, (1, 2))
        self.history = GroupHistory()
        self.members = {who: Membership(who, "g", stage="joined") for who in (A, B)}
        self.history.memberships.extend(self.members.values())
        self._time = 1.0

    def see(self, who: Who, event: GroupEvent, cause: Cause) -> None:
        self._time += 0.001
        self.members[who].seen.append(Seen(self._time, event, cause))

    def both(self, event: GroupEvent, cause: Cause) -> None:
        for who in (A, B):
            self.see(who, event, cause)

    def start(self) -> None:
        """A joins, B joins."""
        self.see(A, Came((A,), (A,), ()), at(1))
        self.both(Came((A, B), (B,), ()), at(2))

    def say(self, name: str = "1.100.1.1") -> Said:
        self.history.said[name] = 7
        return Said(A, name, 7)

    def violations(self) -> list[str]:
        return [violation.prop for violation in check_groups(Analysis(self.story.history), self.history)]


def at(position: int, index: int = 0) -> Place:
    return Place(FIRST, position, index)


def test_an_ordinary_tale_breaks_nothing() -> None:
    tale = Tale()
    tale.start()
    tale.both(tale.say(), at(3))
    tale.both(RingSeen(SECOND, (1, 2)), WHOLE)
    tale.both(Came((A,), (), (B,)), Place(SECOND, 1))
    tale.members[B].stage = "closed"
    for node in (1, 2):
        go_on(tale.story, node, (1, 2), (1, 2))
    assert tale.violations() == []


def message_before_the_own_join(tale: Tale) -> None:
    tale.see(A, tale.say(), at(1))


def list_with_an_unknown_member(tale: Tale) -> None:
    tale.start()
    tale.both(Came((A, B, Who(3, 1)), (), (Who(4, 1),)), at(3))


def member_joins_twice(tale: Tale) -> None:
    tale.start()
    tale.both(Came((A, B), (B,), ()), at(3))


def list_in_no_order(tale: Tale) -> None:
    tale.see(A, Came((A,), (A,), ()), at(1))
    tale.both(Came((B, A), (B,), ()), at(2))


def message_of_a_stranger(tale: Tale) -> None:
    tale.start()
    tale.history.said["3.1.1.1"] = 7
    tale.both(Said(Who(3, 1), "3.1.1.1", 7), at(3))


def message_after_the_own_leave(tale: Tale) -> None:
    tale.start()
    tale.both(Came((A,), (), (B,)), at(3))
    tale.see(B, tale.say(), at(4))
    tale.members[B].stage = "closed"


def silence_without_a_leave(tale: Tale) -> None:
    tale.start()
    tale.see(A, RingSeen(SECOND, (1,)), WHOLE)


def message_missing_at_one(tale: Tale) -> None:
    tale.start()
    tale.see(A, tale.say(), at(3))
    tale.both(tale.say("1.100.1.2"), at(4))


def last_message_missing_at_one(tale: Tale) -> None:
    tale.start()
    tale.see(A, tale.say(), at(3))


def change_and_message_exchanged(tale: Tale) -> None:
    tale.start()
    other = Who(2, 101)
    said, came = tale.say(), Came((A, B, other), (other,), ())
    tale.see(A, said, at(3, 0))
    tale.see(A, came, at(3, 1))
    tale.see(B, came, at(3, 0))
    tale.see(B, said, at(3, 1))


def place_that_comes_late(tale: Tale) -> None:
    tale.start()
    tale.see(A, tale.say(), at(4))
    tale.see(A, tale.say("1.100.1.2"), at(3))


def two_results_of_one_exchange(tale: Tale) -> None:
    tale.start()
    other = Who(3, 1)
    tale.see(A, Came((A, B, other), (other,), ()), WHOLE)
    tale.both(RingSeen(SECOND, (1, 2, 3)), WHOLE)


def exchange_at_two_places(tale: Tale) -> None:
    tale.history.completions[FIRST, 0] = {at(1): 1, at(2): 2}


def message_twice(tale: Tale) -> None:
    tale.start()
    said = tale.say()
    tale.both(said, at(3))
    tale.both(said, at(4))


def message_again_after_an_absence(tale: Tale) -> None:
    tale.start()
    said = tale.say()
    tale.both(said, at(3))
    tale.see(B, Back(0), at(4))
    tale.see(B, Came((A, B), (B,), ()), at(4))
    tale.see(B, said, at(5))
    tale.see(A, Came((A,), (), (B,)), at(4))
    tale.see(A, said, at(5))


def messages_of_one_sender_exchanged(tale: Tale) -> None:
    tale.start()
    first, second = tale.say(), tale.say("1.100.1.2")
    tale.both(second, at(3))
    tale.both(first, at(4))


def other_bytes(tale: Tale) -> None:
    tale.start()
    tale.say()
    tale.both(Said(A, "1.100.1.1", 8), at(3))


def message_that_nobody_sent(tale: Tale) -> None:
    tale.start()
    tale.both(Said(A, "1.100.1.9", 8), at(3))


BAD: tuple[tuple[str, Callable[[Tale], None]], ...] = (
    ("G1", message_before_the_own_join),
    ("G2", list_with_an_unknown_member),
    ("G2", member_joins_twice),
    ("G2", list_in_no_order),
    ("G3", message_of_a_stranger),
    ("G4", message_after_the_own_leave),
    ("G5", silence_without_a_leave),
    ("G6", message_missing_at_one),
    ("G6", last_message_missing_at_one),
    ("G6", change_and_message_exchanged),
    ("G6", place_that_comes_late),
    ("G7", two_results_of_one_exchange),
    ("G8", exchange_at_two_places),
    ("G9", message_twice),
    ("G9", message_again_after_an_absence),
    ("G9", messages_of_one_sender_exchanged),
    ("G9", other_bytes),
    ("G9", message_that_nobody_sent),
)


@pytest.mark.parametrize(("prop", "tell"), BAD, ids=[f"{prop}-{tell.__name__}" for prop, tell in BAD])
def test_a_bad_tale_is_caught(prop: str, tell: Callable[[Tale], None]) -> None:
    tale = Tale()
    tell(tale)
    assert prop in tale.violations()


def test_every_property_has_a_bad_tale() -> None:
    assert {prop for prop, _ in BAD} == {f"G{number}" for number in range(1, 10)}
    assert len(SINGLE) + 1 == 9


def test_what_was_noticed_at_once_is_reported() -> None:
    tale = Tale()
    tale.history.complain("G10", 1.0, "unreadable")
    assert tale.violations() == ["G10"]


# -- what looks bad and is none


def test_a_member_that_died_may_have_missed_the_end() -> None:
    tale = Tale()
    tale.start()
    tale.members[B].stage = "dead"
    tale.see(A, tale.say(), at(3))
    assert tale.violations() == []


def test_a_member_that_joined_later_owes_nothing_before() -> None:
    tale = Tale()
    tale.see(A, Came((A,), (A,), ()), at(1))
    tale.see(A, tale.say(), at(2))
    tale.both(Came((A, B), (B,), ()), at(3))
    assert tale.violations() == []


def test_nodes_that_part_may_deliver_different_ends_of_a_ring() -> None:
    tale = Tale()
    tale.start()
    tale.see(A, tale.say(), at(3))
    go_on(tale.story, 1, (1, 2), (1,))
    tale.see(A, Came((A,), (), (B,)), Exchange(SECOND, 0, "alone"))
    tale.story.fail(2)
    tale.members[B].stage = "dead"
    assert tale.violations() == []


# -- liveness


@pytest.fixture(scope="module")
def at_rest() -> Cluster:
    """A cluster with groups, and members in them, at the end of its run; the tests put back what they change."""
    for seed in range(SEED, SEED + SEEDS_AT_REST):
        cluster = Cluster(derive(seed, "groups"))
        assert not cluster.run().violations
        if joined(cluster):
            return cluster
    raise AssertionError("nobody is a member at the end of any of these runs")


def machines(cluster: Cluster) -> list[Machine]:
    return [node.machine for node in cluster.nodes if node.machine is not None]


def broken(cluster: Cluster) -> str | None:
    found = group_liveness.problem(machines(cluster))
    return found[0] if found is not None else None


def test_groups_at_rest_have_no_problem(at_rest: Cluster) -> None:
    assert broken(at_rest) is None


def test_a_join_without_an_answer_breaks_l8(at_rest: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(a_subscription(at_rest), "stage", Stage.JOINING)
    assert broken(at_rest) == "L8"


def test_a_message_that_does_not_come_back_breaks_l8(at_rest: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    subscription = a_subscription(at_rest)
    monkeypatch.setattr(subscription, "sent", subscription.sent + 1)
    assert broken(at_rest) == "L8"


def test_nodes_that_disagree_break_l9(at_rest: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cpg = machines(at_rest)[0].cpg
    assert cpg is not None
    monkeypatch.setattr(cpg.engine._state, "_groups", {})
    assert broken(at_rest) == "L9"


def test_a_client_that_knows_others_breaks_l9(at_rest: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(a_subscription(at_rest), "members", ())
    assert broken(at_rest) == "L9"


def test_credit_that_is_kept_breaks_l10(at_rest: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    client = machines(at_rest)[0].clients[0]
    monkeypatch.setattr(client.channel, "_credit", client.channel._credit - 1)
    assert broken(at_rest) == "L10"


SITUATIONS = {
    "group.Back",
    "group.dismissed",
    "group.exchange_of_a_service",
    "membership.EXPELLED",
    "membership.LEAVE",
    "membership.NODE_DOWN",
    "membership.NODE_UP",
    "membership.PROCESS_DOWN",
    "membership.ended_by.Expelled",
    "membership.ended_by.NotMember",
}
"""What runs with groups must bring about, or they have become too gentle."""


def without_cause(history: GroupHistory) -> list[object]:
    """Changes, messages and exchanges after the start of a service that nobody has given a place."""
    events = [seen.event for each in history.memberships for seen in each.seen if seen.cause is None]
    exchanges = [key for key, places in history.completions.items() if key[1] and None in places]
    return [*events, *exchanges]


def test_groups_get_into_every_situation() -> None:
    missing = set(SITUATIONS)
    for seed in range(400, 420):
        cluster = Cluster(derive(seed, "groups"))
        missing -= {name for name, times in cluster.run().coverage.items() if times}
        assert not without_cause(cluster.groups), "what has no cause is compared with nothing"
        if not missing:
            return
    pytest.fail(f"never seen: {sorted(missing)}")


def joined(cluster: Cluster) -> list[object]:
    """The subscriptions of clients that are members."""
    return [
        subscription
        for machine in machines(cluster)
        for client in machine.clients
        for subscription, membership in client.subscriptions
        if membership.stage == "joined"
    ]


def a_subscription(cluster: Cluster) -> object:
    """One that its client is joined to."""
    return joined(cluster)[0]
