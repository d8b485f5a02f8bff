"""The judge is awake: each rule that is left out leads to two at once, or to a fence that falls, in a few storms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from judge import complaints
from totemd.sam.cluster import council, franchise, tenure
from totemd.sam.cluster.promises import Promises, Record
from weather import Weather
from world import Machine, World

SEEDS_MAX = 25
"""Storms that a fault may survive."""

Patch = Callable[[pytest.MonkeyPatch], None]


def voters_promise_nothing(patch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the end of a lease."""
    vote = Promises.vote

    def careless(self: Promises, node_id: int, pid: int, claim: Any, now: float) -> Any:
        promise = self._of.get(claim.name)
        if promise is not None and promise.node_id != node_id:
            del self._of[claim.name]
        return vote(self, node_id, pid, claim, now)

    patch.setattr(Promises, "vote", careless)


def the_hold_is_shorter_than_the_lease(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(council, "hold_of", lambda lease: lease * 0.7)


def a_lease_begins_when_it_is_granted(patch: pytest.MonkeyPatch) -> None:
    """Not when it was asked for: votes that were long on their way make it longer than the voters hold it."""
    won = council.Council._won

    def late(self: Any, own: Any, ends_at: float, now: float) -> None:
        won(self, own, now + self.timing.lease(own.yield_seconds), now)

    patch.setattr(council.Council, "_won", late)


def one_vote_is_enough(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(franchise.Franchise, "enough", lambda self, nodes: any(True for _ in nodes))


def a_restarted_voter_has_forgotten(patch: pytest.MonkeyPatch) -> None:
    start = Machine.start_sam

    def forgetful(self: Machine) -> None:
        if self.council is None:
            self.disk = Record()
        start(self)

    patch.setattr(Machine, "start_sam", forgetful)


def a_renewal_that_comes_late_counts(patch: pytest.MonkeyPatch) -> None:
    """A sam-run that was paused believes what has been waiting for it, not the clock."""
    patch.setattr(tenure.Tenure, "yield_at", property(lambda self: self.ends_at + 60.0))
    patch.setattr(Machine, "guard", lambda self: None)


def nobody_guards_a_paused_sam_run(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Machine, "guard", lambda self: None)


def a_new_term_takes_any_fence(patch: pytest.MonkeyPatch) -> None:
    vote = Promises.vote

    def careless(self: Promises, node_id: int, pid: int, claim: Any, now: float) -> Any:
        self.highest = 0
        return vote(self, node_id, pid, claim, now)

    def from_one(self: Any, own: Any, now: float) -> None:
        self._highest = self.promises.highest = 0
        claim_term(self, own, now)

    claim_term = council.Council._claim_term
    patch.setattr(Promises, "vote", careless)
    patch.setattr(council.Council, "_claim_term", from_one)


def who_was_killed_is_taken_for_gone(patch: pytest.MonkeyPatch) -> None:
    """A sam-run that died has said nothing of its application."""
    withdraw = council.Council.withdraw

    def hasty(self: Any, candidate: int, now: float, *, clean: bool) -> None:
        withdraw(self, candidate, now, clean=True)

    patch.setattr(council.Council, "withdraw", hasty)


MUTANTS: tuple[Patch, ...] = (
    voters_promise_nothing,
    the_hold_is_shorter_than_the_lease,
    one_vote_is_enough,
    a_restarted_voter_has_forgotten,
    a_renewal_that_comes_late_counts,
    nobody_guards_a_paused_sam_run,
    a_new_term_takes_any_fence,
    who_was_killed_is_taken_for_gone,
)


def late_votes(seed: int) -> World:
    """The runner hears everything a second late, and is cut off."""
    world = World(3, seed)
    world.run(6.0)
    (stay,) = world.running
    machine = world.machines[stay.node_id]
    machine.lag = 1.0
    world.run(1.5 + world.rng.random())
    world.bus.cut([set(world.machines) - {machine.node_id}])
    world.run(8.0)
    return world


def test_a_lease_that_begins_when_it_is_granted_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(complaints(late_votes(seed).stays) for seed in range(10))
    a_lease_begins_when_it_is_granted(monkeypatch)
    assert any(complaints(late_votes(seed).stays) for seed in range(10))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.__name__)
def test_a_rule_that_is_left_out_is_missed(mutant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    assert any(complaints(Weather(3 if seed % 2 else 5, seed, seconds=60.0).run().stays) for seed in range(SEEDS_MAX))
