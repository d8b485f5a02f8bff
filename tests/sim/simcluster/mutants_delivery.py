"""Mistakes in delivery, the install and the outbox."""

from __future__ import annotations

from contextlib import ExitStack
from unittest.mock import patch

from simcluster.mutants_base import Edit, Mutant, everywhere
from totemd.executive.totem.core import delivery
from totemd.executive.totem.core.context import Installed, RingContext
from totemd.executive.totem.core.outbox import Outbox
from totemd.ipc.messages.stream import Lane


def _deliver_beyond_holes(stack: ExitStack) -> None:
    """delivery.deliver_available: delivers whatever is in the store"""

    def impatient(ring: RingContext) -> None:
        installed = ring.installed
        for frame in installed.store.above(installed.delivered):
            delivery._deliver_frame(ring, frame, transitional=False)
            installed.delivered = frame.seq

    everywhere(stack, delivery.deliver_available, impatient)


def _stop_at_nothing(stack: ExitStack) -> None:
    """delivery._close_old_ring: as if everything had been delivered by somebody"""
    close = delivery._close_old_ring

    def careless(ring: RingContext, old: Installed, delivered_by_somebody: int) -> None:
        close(ring, old, old.store.highest)
        ring.counters.pop("bug.install_below_delivered", None)

    everywhere(stack, close, careless)


def _keep_offset(stack: ExitStack) -> None:
    """outbox.Outbox.new_ring: the cut message keeps its offset"""

    def keep_offset(outbox: Outbox) -> list[object]:
        outbox._queues[Lane.SYNC].clear()
        outbox._bytes[Lane.SYNC] = 0
        return []

    stack.enter_context(patch.object(Outbox, "new_ring", keep_offset))


DELIVERY = (
    Mutant("holes_skipped", "delivery does not wait for missing messages", 10, "E8 E12", (_deliver_beyond_holes,)),
    Mutant(
        "safe_as_agreed",
        "safe messages are delivered as agreed ones",
        20,
        "E14 E15",
        (Edit(delivery.deliver_available, "frame.guarantee is Guarantee.SAFE and", "False and"),),
        "safe_as_agreed.txt",
    ),
    Mutant(
        "no_safe_stop",
        "no stop at a safe message when the old configuration is closed",
        60,
        "E14",
        (_stop_at_nothing,),
        "no_safe_stop.txt",
    ),
    Mutant(
        "cut_by_own_mark",
        "the cut is at what this node has delivered, not at the highest that a survivor has",
        120,
        "E8",
        (
            Edit(
                delivery.install,
                "_close_old_ring(ring, old, recovery.delivered)",
                "_close_old_ring(ring, old, old.delivered)",
            ),
        ),
        "cut_by_own_mark.txt",
    ),
    Mutant(
        "cut_behind_holes",
        "the old regular configuration is closed with everything here, holes or not",
        120,
        "E8 E11 E12",
        (
            Edit(
                delivery._close_old_ring,
                "while (frame := old.store.get(old.delivered + 1)) is not None:",
                "while (frame := next(old.store.above(old.delivered), None)) is not None:",
            ),
        ),
        "cut_behind_holes.txt",
    ),
    Mutant(
        "everything_behind_holes",
        "messages behind a hole are delivered from everybody",
        60,
        "E12",
        (Edit(delivery._deliver_rest, "frame.origin in old.obligations", "True"),),
        "everything_behind_holes.txt",
    ),
    Mutant(
        "nothing_behind_holes",
        "messages behind a hole are delivered from nobody",
        40,
        "E9 E13",
        (Edit(delivery._deliver_rest, "frame.origin in old.obligations", "False"),),
        "nothing_behind_holes.txt",
    ),
    Mutant(
        "rest_before_transition",
        "what belongs into the transitional configuration is delivered before it",
        20,
        "E4",
        (
            Edit(
                delivery.install,
                "    _deliver_rest(ring, old)\n",
                "",
                (("    left = tuple(", "    _deliver_rest(ring, old)\n    left = tuple("),),
            ),
        ),
        "rest_before_transition.txt",
    ),
    Mutant(
        "rest_after_regular",
        "what belongs into the transitional configuration is delivered in the new ring",
        20,
        "E4",
        (
            Edit(
                delivery.install,
                "    _deliver_rest(ring, old)\n",
                "",
                (('    ring.fact("ring.installed"', '    _deliver_rest(ring, old)\n    ring.fact("ring.installed"'),),
            ),
        ),
        "rest_after_regular.txt",
    ),
    Mutant(
        "returned_did_not_leave",
        "a member that was away and came back is not named as having left",
        20,
        "E6",
        (
            Edit(
                delivery.install,
                "for node in old.members if node not in recovery.survivors",
                "for node in old.members if node not in members",
            ),
        ),
        "returned_did_not_leave.txt",
    ),
    Mutant(
        "cut_message_goes_on",
        "a message cut by a change is continued, not sent again",
        40,
        "E8 E9 E13 E16",
        (_keep_offset,),
        "cut_message_goes_on.txt",
    ),
    Mutant(
        "guarantees_mixed",
        "agreed and safe messages share frames",
        40,
        "E16",
        (Edit(Outbox.next_frame, " and queue[0].submission.guarantee is guarantee", ""),),
        "guarantees_mixed.txt",
    ),
)
