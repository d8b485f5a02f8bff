"""A checker that cannot fail proves nothing: for each property a history that breaks it, and a good one beside it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from simcluster.analysis import Analysis
from simcluster.checker import PROPERTIES, check, explain
from simcluster.history import (
    REBORN,
    Delivered,
    Lane,
    MessageId,
    Regular,
    RingKey,
    Sent,
    Submitted,
    Synchronised,
    Transitional,
)
from simcluster.story import FIRST, SECOND, Story, alone, go_on, together
from simcluster.violation import Violation

BOTH, ALL = (1, 2), (1, 2, 3)


def violations(story: Story) -> list[Violation]:
    """What the checker finds."""
    return check(Analysis(story.history))


def ordinary_life(story: Story) -> None:
    """Three nodes; the third dies with a message that nobody gets; the others go on, with a SAFE one in transition."""
    together(story, ALL)
    first = story.send(1, 1, FIRST, 1)
    for node in ALL:
        story.deliver(node, first, FIRST, 1)
    safe = story.send(2, 1, FIRST, 2, safe=True)
    story.deliver(3, safe, FIRST, 2, safe=True)
    story.send(3, 1, FIRST, 3)
    behind = story.send(2, 2, FIRST, 4)
    story.fail(3)
    for node in BOTH:
        story.deliver(node, safe, FIRST, 2, safe=True)
        story.transitional(node, FIRST, SECOND, BOTH, (3,))
        story.deliver(node, behind, FIRST, 4, transitional=True)
        story.regular(node, SECOND, BOTH, BOTH)


def test_an_ordinary_life_breaks_nothing() -> None:
    story = Story()
    ordinary_life(story)
    assert violations(story) == []


# -- E1 to E6


def never_sent(story: Story) -> None:
    together(story, BOTH)
    story.deliver(2, MessageId(1, 1, 1), FIRST, 1)


def sent_only_later(story: Story) -> None:
    together(story, BOTH)
    story.deliver(2, MessageId(1, 1, 1), FIRST, 1)
    story.send(1, 1, FIRST, 1)


def delivered_twice(story: Story) -> None:
    together(story, BOTH)
    message = story.send(1, 1, FIRST, 1)
    story.deliver(2, message, FIRST, 1)
    story.deliver(2, message, FIRST, 1)


def sent_twice(story: Story) -> None:
    together(story, BOTH)
    message = story.send(1, 1, FIRST, 1)
    story.add(1, Sent(message, FIRST, 2))


def sent_by_another(story: Story) -> None:
    together(story, BOTH)
    message = MessageId(1, 1, 1)
    story.add(1, Submitted(message, Lane.APPLICATION, False, 1))
    story.add(2, Sent(message, FIRST, 1))


def sent_on_a_ring_not_installed(story: Story) -> None:
    together(story, BOTH)
    story.send(1, 1, SECOND, 1)


def delivered_on_another_ring(story: Story) -> None:
    together(story, BOTH)
    message = story.send(1, 1, FIRST, 1)
    go_on(story, 2, BOTH, BOTH)
    story.deliver(2, message, SECOND, 1)


def delivered_in_the_next_ring(story: Story) -> None:
    together(story, BOTH)
    message = story.send(1, 1, FIRST, 1)
    go_on(story, 2, BOTH, BOTH)
    story.deliver(2, message, FIRST, 1)


def marked_as_transitional(story: Story) -> None:
    together(story, BOTH)
    message = story.send(1, 1, FIRST, 1)
    story.deliver(1, message, FIRST, 1, transitional=True)


def delivered_before_the_first_configuration(story: Story) -> None:
    together(story, (1,))
    message = story.send(1, 1, FIRST, 1)
    story.deliver(2, message, FIRST, 1)


def two_memberships_of_one_ring(story: Story) -> None:
    together(story, BOTH)
    story.regular(3, alone(3), (3,))
    story.transitional(3, alone(3), FIRST, (3,))
    story.regular(3, FIRST, ALL)


def two_transitions_of_one_name(story: Story) -> None:
    together(story, BOTH)
    go_on(story, 1, BOTH, BOTH)
    story.transitional(2, FIRST, SECOND, (2,), (1,))
    story.regular(2, SECOND, BOTH, (2,))


def first_configuration_not_alone(story: Story) -> None:
    story.regular(1, FIRST, BOTH)


def no_transition_between(story: Story) -> None:
    together(story, BOTH)
    story.regular(1, SECOND, BOTH, BOTH)


def falling_ring_ids(story: Story) -> None:
    together(story, BOTH)
    go_on(story, 1, BOTH, BOTH, RingKey(4, 1))


def transition_of_another_ring(story: Story) -> None:
    together(story, BOTH)
    story.transitional(1, RingKey(3, 1), SECOND, BOTH)
    story.regular(1, SECOND, BOTH, BOTH)


def transition_with_an_outsider(story: Story) -> None:
    together(story, BOTH)
    story.transitional(1, FIRST, SECOND, ALL)
    story.regular(1, SECOND, ALL, ALL)


def wrong_left(story: Story) -> None:
    together(story, BOTH)
    story.add(1, Transitional(FIRST, SECOND, (1,), ()))
    story.regular(1, SECOND, (1,), (1,))


def wrong_joined(story: Story) -> None:
    together(story, BOTH)
    story.transitional(1, FIRST, SECOND, (1,), (2,))
    story.add(1, Regular(SECOND, BOTH, (1,), ()))


def in_no_order(story: Story) -> None:
    story.regular(1, alone(1), (1,))
    story.transitional(1, alone(1), FIRST, (1,))
    story.regular(1, FIRST, (2, 1))


def alone_again(story: Story, node: int, boot: int) -> None:
    """The node's next life has this boot sequence, and a ring of its own of the same sequence."""
    story.reboot(node, boot)
    story.regular(node, RingKey(boot, node), (node,))


def falling_over_a_boot(story: Story) -> None:
    together(story, BOTH)
    alone_again(story, 1, FIRST.sequence - 1)


def falling_over_a_boot_with_a_lower_number(story: Story) -> None:
    """Told in the order of boot numbers this would be a chain that rises."""
    story.regular(1, alone(1), (1,))
    alone_again(story, 1, 5)
    alone_again(story, 1, 3)


def begun_again_with_the_same_number(story: Story) -> None:
    """What a disk looks like that forgets."""
    together(story, BOTH)
    alone_again(story, 1, 1)


# -- E7 to E13


def cut_with_a_newcomer(story: Story) -> None:
    together(story, BOTH)
    middle = RingKey(7, 2)
    story.transitional(2, FIRST, middle, (2,), (1,))
    story.regular(2, middle, (2,), (2,))
    go_on(story, 1, BOTH, BOTH)
    story.transitional(2, middle, SECOND, (2,))
    story.regular(2, SECOND, BOTH, (2,))


def cut_without_a_survivor(story: Story) -> None:
    together(story, ALL)
    for node, members in ((1, (1, 2)), (2, (1, 2)), (3, (3,))):
        story.transitional(node, FIRST, SECOND, members, tuple(other for other in ALL if other not in members))
        story.regular(node, SECOND, ALL, members)


def not_the_same_set(story: Story) -> None:
    together(story, BOTH)
    message = story.send(1, 1, FIRST, 1)
    story.deliver(1, message, FIRST, 1)
    for node in BOTH:
        go_on(story, node, BOTH, BOTH)


def more_than_the_first(story: Story) -> None:
    together(story, BOTH)
    message = story.send(1, 1, FIRST, 1)
    story.deliver(2, message, FIRST, 1)
    for node in BOTH:
        go_on(story, node, BOTH, BOTH)


def as_many_but_others(story: Story) -> None:
    together(story, BOTH)
    for node in BOTH:
        story.deliver(node, story.send(node, 1, FIRST, node), FIRST, node)
        go_on(story, node, BOTH, BOTH)


def not_the_same_set_in_transition(story: Story) -> None:
    together(story, BOTH)
    message = story.send(1, 1, FIRST, 1)
    go_on(story, 2, BOTH, BOTH)
    story.transitional(1, FIRST, SECOND, BOTH)
    story.deliver(1, message, FIRST, 1, transitional=True)
    story.regular(1, SECOND, BOTH, BOTH)


def not_the_same_side(story: Story) -> None:
    together(story, BOTH)
    message = story.send(1, 1, FIRST, 1)
    story.deliver(1, message, FIRST, 1)
    go_on(story, 1, BOTH, BOTH)
    story.transitional(2, FIRST, SECOND, BOTH)
    story.deliver(2, message, FIRST, 1, transitional=True)
    story.regular(2, SECOND, BOTH, BOTH)


def own_message_lost(story: Story) -> None:
    together(story, BOTH)
    story.send(1, 1, FIRST, 1)
    go_on(story, 1, BOTH, (1,))


def another_order(story: Story) -> None:
    together(story, BOTH)
    one, other = story.send(1, 1, FIRST, 1), story.send(2, 1, FIRST, 2)
    story.deliver(2, other, FIRST, 2)
    story.deliver(2, one, FIRST, 1)


def two_senders_of_one_place(story: Story) -> None:
    together(story, BOTH)
    story.send(1, 1, FIRST, 1)
    story.send(2, 1, FIRST, 1)


def another_place(story: Story) -> None:
    together(story, BOTH)
    message = story.send(1, 1, FIRST, 1)
    story.deliver(2, message, FIRST, 2)


def hole_in_a_regular_configuration(story: Story) -> None:
    together(story, BOTH)
    one, other = story.send(1, 1, FIRST, 1), story.send(2, 1, FIRST, 2)
    story.deliver(1, one, FIRST, 1)
    story.deliver(2, other, FIRST, 2)


def without_its_cause(story: Story) -> None:
    together(story, ALL)
    cause = story.send(3, 1, FIRST, 1)
    story.deliver(2, cause, FIRST, 1)
    effect = story.send(2, 1, FIRST, 2)
    story.transitional(1, FIRST, SECOND, BOTH, (3,))
    story.deliver(1, effect, FIRST, 2, transitional=True)


def gap_in_a_senders_messages(story: Story) -> None:
    together(story, BOTH)
    story.send(1, 1, FIRST, 1)
    second = story.send(1, 2, FIRST, 2)
    story.transitional(2, FIRST, SECOND, (2,), (1,))
    story.deliver(2, second, FIRST, 2, transitional=True)


def overtaken_in_the_queue(story: Story) -> None:
    together(story, BOTH)
    story.send(1, 2, FIRST, 1)
    story.send(1, 1, FIRST, 2)


def members_message_missing(story: Story) -> None:
    together(story, BOTH)
    message = story.send(1, 1, FIRST, 1)
    story.transitional(1, FIRST, SECOND, BOTH)
    story.deliver(1, message, FIRST, 1, transitional=True)
    story.regular(1, SECOND, BOTH, BOTH)
    go_on(story, 2, BOTH, BOTH)


# -- E14 to E18


def safe_but_not_everywhere(story: Story) -> None:
    together(story, BOTH)
    message = story.send(1, 1, FIRST, 1, safe=True)
    story.deliver(1, message, FIRST, 1, safe=True)
    go_on(story, 2, BOTH, (2,))


def safe_but_somebody_has_another_message_only(story: Story) -> None:
    together(story, BOTH)
    other = story.send(2, 1, FIRST, 1)
    message = story.send(1, 1, FIRST, 2, safe=True)
    for node in BOTH:
        story.deliver(node, other, FIRST, 1)
    story.deliver(1, message, FIRST, 2, safe=True)
    go_on(story, 2, BOTH, (2,))


def safe_in_transition_but_not_everywhere(story: Story) -> None:
    together(story, ALL)
    message = story.send(1, 1, FIRST, 1, safe=True)
    story.transitional(1, FIRST, SECOND, BOTH, (3,))
    story.deliver(1, message, FIRST, 1, safe=True, transitional=True)
    go_on(story, 2, ALL, (2,), RingKey(13, 2))


def safe_but_not_installed(story: Story) -> None:
    story.regular(1, alone(1), (1,))
    story.transitional(1, alone(1), FIRST, (1,))
    story.regular(1, FIRST, BOTH)
    message = story.send(1, 1, FIRST, 1, safe=True)
    story.deliver(1, message, FIRST, 1, safe=True)


def other_bytes(story: Story) -> None:
    together(story, BOTH)
    message = story.send(1, 1, FIRST, 1)
    story.add(2, Delivered(message, FIRST, 1, False, 4711, False))


def other_guarantee(story: Story) -> None:
    together(story, BOTH)
    message = story.send(1, 1, FIRST, 1, safe=True)
    story.deliver(2, message, FIRST, 1)


def sent_in_transition(story: Story) -> None:
    together(story, BOTH)
    story.transitional(1, FIRST, SECOND, BOTH)
    story.send(1, 1, FIRST, 1)


def sent_before_the_exchange(story: Story) -> None:
    story.add(1, Regular(alone(1), (1,), (1,), ()))
    story.send(1, 1, alone(1), 1)


def delivered_before_the_exchange(story: Story) -> None:
    together(story, (1,), FIRST)
    story.regular(2, alone(2), (2,))
    story.transitional(2, alone(2), FIRST, (2,))
    story.add(2, Regular(FIRST, (1,), (2,), ()))
    message = story.send(1, 1, FIRST, 1)
    story.deliver(2, message, FIRST, 1)


def exchange_complete_elsewhere(story: Story) -> None:
    for node in BOTH:
        story.add(node, Regular(FIRST, BOTH, BOTH, ()))
        story.add(node, Synchronised(FIRST, MessageId(node, 1, 1)))


def two_primaries_apart(story: Story) -> None:
    """A majority that counts nodes which are none of the three."""
    together(story, BOTH)
    story.regular(3, alone(3), (3,))
    story.transitional(3, alone(3), RingKey(9, 3), (3,))
    story.regular(3, RingKey(9, 3), (3, 4))


def an_earlier_primary_after_a_lost_disk(story: Story) -> None:
    """Two of three are a majority; who comes with a new disk must not take one for the next that was before."""
    together(story, ALL, SECOND)
    story.reboot(1, REBORN + 1)
    story.regular(1, RingKey(1 - REBORN, 1), (1,))
    story.transitional(1, RingKey(1 - REBORN, 1), FIRST, (1,))
    story.regular(1, FIRST, BOTH)


def the_same_primary_again(story: Story) -> None:
    together(story, ALL)
    story.reboot(1, REBORN + 1)
    story.regular(1, RingKey(1 - REBORN, 1), (1,))
    story.transitional(1, RingKey(1 - REBORN, 1), RingKey(FIRST.sequence - REBORN, 1), (1,))
    story.regular(1, RingKey(FIRST.sequence - REBORN, 1), ALL)


BAD: tuple[tuple[str, Callable[[Story], None]], ...] = (
    ("E1", never_sent),
    ("E1", sent_only_later),
    ("E1", delivered_on_another_ring),
    ("E2", delivered_twice),
    ("E3", sent_twice),
    ("E3", sent_by_another),
    ("E3", sent_on_a_ring_not_installed),
    ("E4", delivered_in_the_next_ring),
    ("E4", marked_as_transitional),
    ("E4", delivered_before_the_first_configuration),
    ("E5", two_memberships_of_one_ring),
    ("E5", two_transitions_of_one_name),
    ("E6", first_configuration_not_alone),
    ("E6", no_transition_between),
    ("E6", falling_ring_ids),
    ("E6", transition_of_another_ring),
    ("E6", transition_with_an_outsider),
    ("E6", wrong_left),
    ("E6", wrong_joined),
    ("E6", in_no_order),
    ("E6", falling_over_a_boot),
    ("E6", falling_over_a_boot_with_a_lower_number),
    ("E6", begun_again_with_the_same_number),
    ("E7", cut_with_a_newcomer),
    ("E7", cut_without_a_survivor),
    ("E8", not_the_same_set),
    ("E8", more_than_the_first),
    ("E8", as_many_but_others),
    ("E8", not_the_same_set_in_transition),
    ("E8", not_the_same_side),
    ("E9", own_message_lost),
    ("E10", another_order),
    ("E10", two_senders_of_one_place),
    ("E10", another_place),
    ("E11", hole_in_a_regular_configuration),
    ("E12", without_its_cause),
    ("E12", gap_in_a_senders_messages),
    ("E12", overtaken_in_the_queue),
    ("E13", members_message_missing),
    ("E14", safe_but_not_everywhere),
    ("E14", safe_but_somebody_has_another_message_only),
    ("E14", safe_in_transition_but_not_everywhere),
    ("E15", safe_but_not_installed),
    ("E16", other_bytes),
    ("E16", other_guarantee),
    ("E17", sent_in_transition),
    ("E17", sent_before_the_exchange),
    ("E17", delivered_before_the_exchange),
    ("E18", exchange_complete_elsewhere),
    ("E20", two_primaries_apart),
    ("E20", an_earlier_primary_after_a_lost_disk),
    ("E20", the_same_primary_again),
)


@pytest.mark.parametrize(("prop", "tell"), BAD, ids=[f"{prop}-{tell.__name__}" for prop, tell in BAD])
def test_a_bad_history_is_caught(prop: str, tell: Callable[[Story], None]) -> None:
    story = Story()
    tell(story)
    found = [violation for violation in violations(story) if violation.prop == prop]
    assert found
    assert ">" in explain(story.history, found[0])


def test_every_property_has_a_bad_history() -> None:
    assert {prop for prop, _ in BAD} == {f"E{number}" for number in (*range(1, 19), 20)}
    assert len(PROPERTIES) == 19


# -- what looks bad and is none


def test_a_node_whose_disk_was_taken_begins_again() -> None:
    """Its second life with the new disk had a ring of its own whose name an earlier life had, too; see `Boots.ring`."""
    story = Story()
    together(story, BOTH)
    story.reboot(1, REBORN + 1)
    story.regular(1, RingKey(1 - REBORN, 1), (1,))
    story.transitional(1, RingKey(1 - REBORN, 1), RingKey(4, 1), (1,))
    story.regular(1, RingKey(4, 1), (1,))
    story.reboot(1, REBORN + 5)
    story.regular(1, RingKey(FIRST.sequence - REBORN, 1), (1,))
    assert violations(story) == []


def test_who_failed_or_is_not_through_owes_nothing() -> None:
    """Live only: a crashed sender, and one that is still in the configuration, need not have delivered."""
    story = Story()
    together(story, ALL)
    safe = story.send(1, 1, FIRST, 1, safe=True)
    story.deliver(1, safe, FIRST, 1, safe=True)
    story.send(2, 1, FIRST, 2)
    story.fail(2)
    assert violations(story) == []


def test_a_message_behind_a_hole_may_be_delivered_if_its_sender_did_not_know_what_is_missing() -> None:
    """docs/totem.md §6, the install: 8 of node 2 is delivered behind the lost 7 of node 3."""
    story = Story()
    together(story, ALL)
    story.send(3, 1, FIRST, 1)
    behind = story.send(2, 1, FIRST, 2)
    story.fail(3)
    for node in BOTH:
        story.transitional(node, FIRST, SECOND, BOTH, (3,))
        story.deliver(node, behind, FIRST, 2, transitional=True)
        story.regular(node, SECOND, BOTH, BOTH)
    assert violations(story) == []


def test_the_own_earlier_message_does_not_make_what_lies_between_a_cause() -> None:
    story = Story()
    together(story, BOTH)
    first = story.send(1, 1, FIRST, 1)
    story.send(2, 1, FIRST, 2)
    third = story.send(1, 2, FIRST, 3)
    story.deliver(1, first, FIRST, 1)
    story.fail(2)
    story.transitional(1, FIRST, SECOND, (1,), (2,))
    story.deliver(1, third, FIRST, 3, transitional=True)
    story.regular(1, SECOND, (1,), (1,))
    assert violations(story) == []


def test_members_that_take_different_ways_may_deliver_different_sets() -> None:
    story = Story()
    together(story, BOTH)
    message = story.send(1, 1, FIRST, 1)
    story.deliver(1, message, FIRST, 1)
    go_on(story, 1, BOTH, (1,))
    go_on(story, 2, BOTH, (2,), RingKey(13, 2))
    assert violations(story) == []


def test_a_safe_message_may_be_delivered_in_transition_while_others_never_installed_its_ring() -> None:
    story = Story()
    story.regular(1, alone(1), (1,))
    story.transitional(1, alone(1), FIRST, (1,))
    story.regular(1, FIRST, BOTH)
    message = story.send(1, 1, FIRST, 1, safe=True)
    story.transitional(1, FIRST, SECOND, (1,), (2,))
    story.deliver(1, message, FIRST, 1, safe=True, transitional=True)
    story.regular(1, SECOND, (1,), (1,))
    assert violations(story) == []


def test_minorities_may_be_apart_and_are_no_part_of_the_primary_history() -> None:
    """Half of the nodes is no majority; who was elsewhere learns of a primary late."""
    story = Story()
    together(story, (1, 2, 3, 4))
    for node in BOTH:
        go_on(story, node, (1, 2, 3, 4), BOTH)
    for node in (3, 4):
        go_on(story, node, (1, 2, 3, 4), (3, 4), RingKey(13, 3))
    assert violations(story) == []


def test_a_primary_may_be_installed_late_by_who_has_no_part_in_the_next() -> None:
    story = Story()
    together(story, BOTH)
    for node in BOTH:
        story.transitional(node, FIRST, SECOND, BOTH)
        story.regular(node, SECOND, ALL, BOTH)
        story.transitional(node, SECOND, RingKey(13, 1), BOTH, (3,))
        story.regular(node, RingKey(13, 1), BOTH, BOTH)
    story.regular(3, alone(3), (3,))
    story.transitional(3, alone(3), SECOND, (3,))
    story.regular(3, SECOND, ALL)
    assert violations(story) == []
