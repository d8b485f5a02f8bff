"""A checker that has forgotten something must be caught by the histories that are told to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import test_sim_checker as told
from simcluster.mutants_base import Edit
from simcluster.mutants_checker import FORGETFUL, STRICT, mistaken
from simcluster.story import Story

GOOD = (
    told.test_an_ordinary_life_breaks_nothing,
    told.test_a_node_whose_disk_was_taken_begins_again,
    told.test_who_failed_or_is_not_through_owes_nothing,
    told.test_a_message_behind_a_hole_may_be_delivered_if_its_sender_did_not_know_what_is_missing,
    told.test_the_own_earlier_message_does_not_make_what_lies_between_a_cause,
    told.test_members_that_take_different_ways_may_deliver_different_sets,
    told.test_a_safe_message_may_be_delivered_in_transition_while_others_never_installed_its_ring,
    told.test_minorities_may_be_apart_and_are_no_part_of_the_primary_history,
    told.test_a_primary_may_be_installed_late_by_who_has_no_part_in_the_next,
)


def unnoticed() -> Iterator[str]:
    """Bad histories that the checker, as it is now, does not complain about."""
    for prop, tell in told.BAD:
        story = Story()
        tell(story)
        if not any(violation.prop == prop for violation in told.violations(story)):
            yield f"{prop} {tell.__name__}"


def refused() -> Iterator[str]:
    """Good histories that it complains about."""
    for good in GOOD:
        try:
            good()
        except (AssertionError, AttributeError):
            yield good.__name__


def test_the_checker_as_it_is_notices_all_and_refuses_nothing() -> None:
    assert list(unnoticed()) == []
    assert list(refused()) == []


@pytest.mark.parametrize("edit", FORGETFUL, ids=str)
def test_a_checker_that_forgets_is_caught(edit: Edit) -> None:
    with mistaken(edit):
        assert list(unnoticed()), f"no bad history needs this: {edit}"


@pytest.mark.parametrize("edit", STRICT, ids=str)
def test_a_checker_that_demands_too_much_is_caught(edit: Edit) -> None:
    with mistaken(edit):
        assert list(refused()), f"no good history needs this: {edit}"
