"""Replicas whose steps a test chooses: bootstrap, transfers, splits, merges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from stage import Journal, Stage
from totemd.services.replica.effects import Status
from totemd.services.replica.errors import TransferFailed
from totemd.services.replica.messages import Unable
from totemd.services.replica.policy import Available, Majority


def test_all_begin_together_and_apply_alike() -> None:
    stage = Stage(3, Available())
    stage.start()
    stage.settle()
    assert [actor.status for actor in stage.actors()] == [Status.ACTIVE] * 3
    said = [actor.propose() for actor in stage.actors()]
    stage.settle()
    one, two, three = stage.entries()
    assert sorted(one) == sorted(said)
    assert one == two == three
    assert sorted(text for _, text in stage.acknowledged) == sorted(one)


def test_a_joiner_gets_the_state_in_parts_and_what_came_meanwhile() -> None:
    stage = Stage(3, Available(), machine=lambda: Journal(padding=1_000_000))
    stage.start(1, 2)
    stage.settle()
    stage.actor(1).propose()
    stage.settle()
    stage.start(3)
    while stage.actor(3).status is not Status.ACTIVE:
        assert stage.step()
        if len(stage.actor(2).tickets) < 50:
            stage.actor(2).propose()
    stage.settle()
    one, two, three = stage.entries()
    assert one == two == three
    assert len(one) > 10
    assert stage.actor(3).journal.restored == 1


def test_the_largest_part_wins_a_merge() -> None:
    stage = Stage(3, Available())
    stage.start()
    stage.settle()
    stage.split({1}, {2, 3})
    stage.settle()
    lost, kept = stage.actor(1).propose(), stage.actor(2).propose()
    stage.settle()
    assert stage.actor(1).outcomes.keys() == {lost}
    stage.unite()
    assert stage.entries() == [[kept]] * 3
    assert stage.actor(1).journal.superseded_with == [[lost]]


def test_an_unchanged_state_is_not_transferred_after_a_merge() -> None:
    stage = Stage(3, Available())
    stage.start()
    stage.actor(1).propose()
    stage.settle()
    stage.split({1}, {2, 3})
    stage.settle()
    stage.unite()
    assert len(stage.entries()) == 3
    assert [actor.journal.restored for actor in stage.actors()] == [0, 0, 0]


def test_a_minority_waits() -> None:
    stage = Stage(3, Majority(3))
    stage.start()
    stage.settle()
    stage.split({1}, {2, 3})
    stage.settle()
    waits, works = stage.actor(1).propose(), stage.actor(2).propose()
    stage.settle()
    assert stage.actor(1).status is Status.SUSPENDED
    assert stage.actor(1).outcomes == {}
    assert works in stage.actor(2).outcomes
    stage.unite()
    assert stage.entries() == [[works, waits]] * 3
    assert stage.actor(1).outcomes[waits].get() == 2


def test_what_is_written_while_a_merge_is_decided_is_not_lost() -> None:
    """The one that loses the merge holds its commands, and sends them again to those who win."""
    stage = Stage(3, Available())
    stage.start()
    stage.settle()
    stage.split({1}, {2, 3})
    stage.settle()
    lost, kept = stage.actor(1).propose(), stage.actor(2).propose()
    stage.settle()
    stage.regroup({1, 2, 3}, 0, 0)
    while len(stage.actor(1).driver.core.members) < 3:  # type: ignore[union-attr]
        assert stage.step()
    late = stage.actor(1).propose()
    stage.settle()
    assert stage.entries() == [[kept, late]] * 3
    assert stage.actor(1).outcomes[late].get() == 2
    assert stage.actor(1).journal.superseded_with == [[lost]]


def test_another_donor_takes_over_and_a_joiner_may_die() -> None:
    stage = Stage(4, Available(), machine=lambda: Journal(padding=2_000_000))
    stage.start(1, 2)
    stage.settle()
    stage.actor(1).propose()
    stage.settle()
    stage.start(3, 4)
    serving = lambda: [actor for actor in stage.actors() if actor.driver and actor.driver.core.donor._serving]  # noqa: E731
    while not serving():
        assert stage.step()
    for _ in range(20):
        stage.step()
    donor = serving()[0]
    assert stage.actor(3).status is Status.RECEIVING
    stage.kill(4)
    stage.kill(donor.node.node_id)
    stage.settle()
    assert stage.actor(3).status is Status.ACTIVE
    assert len(stage.entries()) == 2
    assert stage.entries()[0] == stage.entries()[1] != []


def test_a_donor_that_is_silent_is_passed_over() -> None:
    stage = Stage(3, Available(), machine=lambda: Journal(padding=2_000_000))
    stage.start(1, 2)
    stage.settle()
    stage.start(3)
    while stage.actor(3).driver is None or stage.actor(3).driver.core.follower.incoming is None:
        assert stage.step()
    donor = stage.actor(stage.actor(3).driver.core.follower.incoming.donor.node_id)
    donor.take = donor.talk = lambda *_: False  # type: ignore[method-assign]
    stage.settle()
    assert stage.actor(3).status is Status.RECEIVING
    stage.pass_time(6.0)
    assert stage.actor(3).status is Status.ACTIVE


def test_a_donor_that_never_begins_is_passed_over() -> None:
    stage = Stage(3, Available())
    stage.start(1)
    stage.settle()
    stage.start(2)
    stage.settle()
    stage.actor(1).propose()
    stage.settle()
    donor = stage.actor(2)
    donor.take = donor.talk = lambda *_: False  # type: ignore[method-assign]
    stage.start(3)
    stage.settle()
    stage.pass_time(4.0)
    assert stage.actor(3).status is Status.RECEIVING, "the census has ended without it"
    stage.pass_time(6.0)
    assert stage.actor(3).status is Status.ACTIVE


def test_a_person_may_begin_without_all_nodes() -> None:
    stage = Stage(3, Majority(3))
    stage.start(1, 2)
    stage.settle()
    assert stage.actor(1).status is Status.SUSPENDED
    assert stage.actor(1).driver is not None
    stage.actor(1).driver.begin()
    stage.settle()
    assert [stage.actor(node).status for node in (1, 2)] == [Status.ACTIVE] * 2


class Broken(Journal):
    """Cannot give its state: at once, at the second part, or gives what is no state."""

    def __init__(self, how: str) -> None:
        super().__init__(padding=200_000)
        self.how = how

    def snapshot(self) -> Any:
        if self.how == "at once":
            raise MemoryError("too much")
        if self.how == "no bytes":
            return "text"
        if self.how == "nothing":
            return None
        if self.how == "well":
            return super().snapshot()
        return self._torn()

    def _torn(self) -> Iterator[bytes]:
        yield bytes(60_000)
        raise MemoryError("too much")


HOWS = pytest.mark.parametrize("how", ["at once", "in the middle", "no bytes", "nothing"])


@HOWS
def test_who_cannot_give_the_state_goes_on_and_another_gives_it(how: str, caplog: pytest.LogCaptureFixture) -> None:
    stage = with_donors(Journal(), Broken(how), Broken(how))
    stage.actor(1).propose()
    stage.start(4)
    stage.settle()
    assert [stage.actor(node).status for node in (1, 2, 3, 4)] == [Status.ACTIVE] * 4
    assert stage.entries()[0] == stage.entries()[3] != []
    assert "could not give its state" in caplog.text


@HOWS
def test_where_nobody_can_give_the_state_a_joiner_is_told_why(how: str) -> None:
    stage = with_donors(Broken(how))
    stage.actor(1).propose()
    stage.settle()
    stage.start(2)
    stage.settle()
    assert [stage.actor(node).status for node in (1, 2)] == [Status.ACTIVE, Status.CLOSED]
    driver = stage.actor(2).driver
    assert driver is not None
    with pytest.raises(TransferFailed, match=r"process 7 of node 1 could not: (Memory|Type)Error\("):
        driver.require_open()


def test_a_donor_that_cannot_say_so_is_passed_over_as_one_that_is_silent() -> None:
    """An earlier version: it does not know the message."""
    stage = with_donors(Journal(), Broken("at once"))
    old = stage.actor(2).driver
    assert old is not None
    say = old.core.donor._say
    old.core.donor._say = lambda said: None if isinstance(said, Unable) else say(said)
    stage.start(3)
    stage.settle()
    assert stage.actor(3).status is Status.RECEIVING
    stage.pass_time(6.0)
    assert stage.actor(3).status is Status.ACTIVE


def test_all_are_asked_again_after_one_that_is_silent() -> None:
    """What one of them could not do may have been a matter of the moment."""
    moody = Broken("at once")
    stage = with_donors(Journal(), moody)
    stage.actor(1).propose()
    stage.settle()
    silent = stage.actor(1)
    silent.take = silent.talk = lambda *_: False  # type: ignore[method-assign]
    stage.start(3)
    stage.settle()
    stage.pass_time(3.5)  # The census goes on without the silent one.
    driver = stage.actor(3).driver
    assert driver is not None and stage.actor(3).status is Status.RECEIVING
    assert "node 2 could not: MemoryError" in driver.core.troubles
    moody.how = "well"
    stage.pass_time(6.0)
    assert stage.actor(3).status is Status.ACTIVE
    assert driver.core.troubles == ""


def with_donors(*machines: Journal) -> Stage:
    """Each is active on its node, the first the oldest; one node more is free."""
    given = [*machines, Journal()]
    stage = Stage(len(given), Available(), machine=lambda: given.pop(0))
    for node in range(1, len(given)):
        stage.start(node)
        stage.settle()
        for _ in range(3):
            stage.pass_time(6.0)
    return stage
