"""Replicas whose steps a test chooses: bootstrap, transfers, splits, merges."""

from __future__ import annotations

from stage import Journal, Stage
from totemd.services.replica.effects import Status
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
