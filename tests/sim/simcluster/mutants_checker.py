"""Is the checker strong enough?  Mistakes in the properties themselves; told histories must notice each.

A property that forgets a case is caught by a bad history that it no longer complains about, one that demands too much
by a good history (tests/sim/test_sim_checker.py has both).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from simcluster import checker
from simcluster import properties_joint as joint
from simcluster import properties_single as single
from simcluster.mutants_base import Edit, edited


@contextmanager
def mistaken(edit: Edit) -> Iterator[None]:
    """The checker has this mistake within.

    Raises:
        Outrun: the property has changed, and the text is no longer in it.
    """
    replacement = edited(edit.where, edit.changes)
    properties = tuple(replacement if each is edit.where else each for each in checker.PROPERTIES)
    with ExitStack() as stack:
        stack.enter_context(patch.object(sys.modules[edit.where.__module__], edit.where.__name__, replacement))
        stack.enter_context(patch.object(checker, "PROPERTIES", properties))
        yield


def _edits(where: Callable[..., Any], *changes: tuple[str, str]) -> Iterator[Edit]:
    return (Edit(where, old, new) for old, new in changes)


FORGETFUL = (
    *_edits(
        single.e1_no_creation,
        ('yield _at(delivery, life, "E1", f"{delivery.event}: nobody sent it")', "pass"),
        ("sends[0].serial > delivery.serial", "False"),
        ("all(send.event.ring != delivery.event.ring for send in sends)", "False"),
    ),
    *_edits(single.e2_no_duplication, ("first is not delivery", "False")),
    *_edits(
        single.e3_one_send,
        ("sends[1:]", "sends[2:]"),
        ("first.sender != Incarnation(message.node, message.boot) or ", ""),
        ("stay.ring != send.event.ring", "False"),
    ),
    *_edits(single.e4_right_configuration, ("life.strays", "()")),
    *_edits(
        single._misplaced,
        ("delivery.event.ring != stay.ring", "False"),
        ("delivery.event.in_transitional is not (epoch is stay.transitional)", "False"),
    ),
    *_edits(
        single.e5_configuration_agreement,
        ("first.configuration.members != configuration.members", "False"),
        ("for epoch in life.epochs()", "for epoch in (stay.regular for stay in life.stays)"),
    ),
    *_edits(
        single.e6_configuration_chain,
        ("ring <= last", "False"),
        ("life.process.node, life.process.boot // REBORN", "life.process"),
        ("in analysis.lives", "in sorted(analysis.lives, key=lambda life: life.process)"),
    ),
    *_edits(
        single._chain_link,
        ("list(members) != sorted(set(members)) or ", ""),
        ("members != (me,)", "False"),
    ),
    *_edits(
        single._transition,
        ("(change.old, change.new) != (old.ring, new.ring)", "False"),
        ("set(change.members) - set(old.members) or ", ""),
        ("change.left != left", "False"),
        (" or new.joined != joined", ""),
    ),
    *_edits(
        joint.e7_same_cut,
        (
            "(came_from == change.old) is not (node in change.members)",
            "came_from == change.old and node not in change.members",
        ),
        (
            "(came_from == change.old) is not (node in change.members)",
            "came_from != change.old and node in change.members",
        ),
    ),
    *_edits(
        joint.e8_failure_atomicity,
        ("ours == theirs", "ours <= theirs"),
        ("ours == theirs", "ours >= theirs"),
        ("ours == theirs", "len(ours) == len(theirs)"),
        ("epochs = list(life.epochs())", "epochs = [stay.regular for stay in life.stays]"),
    ),
    *_edits(joint.e9_self_delivery, ("send.event.message not in delivered", "False")),
    *_edits(
        single.e10_total_order,
        ("one.sender != other.sender", "False"),
        ("sends[0].event.position != delivery.event.position", "False"),
        ("place < last", "False"),
    ),
    *_edits(joint.e11_agreed_prefix, ("expected != delivery.event.message", "False")),
    *_edits(joint._gaps, ("contexts.get(message, -1) >= missing", "False")),
    *_edits(joint._broken_prefix, ("count < len(expected) and", "False and")),
    *_edits(
        joint._overtaken, ("before is not None and before.event.message.number > send.event.message.number", "False")
    ),
    *_edits(joint.e13_transitional_completeness, ("send.event.message not in delivered", "False")),
    *_edits(
        joint.e14_safe_delivery,
        ("message in delivered[ring][node]", "delivered[ring][node]"),
        ("epoch.configuration.members", "epoch.configuration.members[:1]"),
    ),
    *_edits(joint.e15_safe_implies_installed, ("if missing:", "if False:")),
    *_edits(
        single.e16_whole_messages,
        ("submitted.digest != delivery.event.digest", "False"),
        ("submitted.safe != delivery.event.safe", "False"),
    ),
    *_edits(
        single.e17_quiet_transition,
        ("send.serial > stay.transitional.serial", "False"),
        ("_before_sync(stay, send.serial)", "False"),
        ("_before_sync(stay, delivery.serial)", "False"),
    ),
    *_edits(single.e18_sync_place, ("first.synchronised.event != stay.synchronised.event", "False")),
    *_edits(
        joint.e20_primary_history,
        ("ring <= last", "False"),
        ("ring <= last", "ring < last"),
        ("highest[node] = max(ring, last or ring)", "highest[stay.process] = max(ring, last or ring)"),
        ("set(one.configuration.members) & set(other.configuration.members)", "True"),
        ("2 * len(configuration.members) <= len(voters)", "2 * len(configuration.members) <= len(voters) + 1"),
    ),
)
"""Properties that no longer see a case."""

STRICT = (
    *_edits(
        single.e6_configuration_chain,
        ("life.process.boot // REBORN", "0"),
        ("as_worn(stay.ring)", "stay.ring"),
    ),
    *_edits(joint.e8_failure_atomicity, ("(_identity(epoch), _identity(after))", "_identity(epoch)")),
    *_edits(joint.e9_self_delivery, ("stay.ending is not Ending.CLOSED", "False")),
    *_edits(joint._gaps, ("contexts.get(message, -1) >= missing", "True")),
    *_edits(joint.e14_safe_delivery, ("stay.ending is not Ending.CLOSED or ", "")),
    *_edits(joint.e15_safe_implies_installed, ("not isinstance(configuration, Regular) or ", "")),
    *_edits(
        joint.e20_primary_history,
        ("2 * len(configuration.members) <= len(voters)", "2 * len(configuration.members) < len(voters)"),
        ("2 * len(configuration.members) <= len(voters)", "False"),
    ),
)
"""Properties that demand more than extended virtual synchrony promises."""
