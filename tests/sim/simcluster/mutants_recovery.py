"""Mistakes in recovery: what is reported, who re-broadcasts it, when it is complete, and what is owed to whom."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from simcluster.mutants_base import Edit, Mutant, everywhere
from totemd.executive.totem.core import membership, reactions, recovery
from totemd.executive.totem.core.context import RingContext, RingState
from totemd.executive.totem.core.store import FrameStore
from totemd.executive.totem.wire.packets import CommitToken, Mcast


def _forget_on_failure(stack: ExitStack) -> None:
    """membership.enter_gather: the old ring's store is as it was before the recovery"""
    enter_recovery, enter_gather = recovery.enter_recovery, membership.enter_gather
    kept: dict[RingContext, FrameStore] = {}

    def remember(ring: RingContext, token: CommitToken, now: float) -> None:
        copy = FrameStore(ring.parameters.store_frames_max, ring.installed.store.released)
        for frame in ring.installed.store.above(0):
            copy.add(frame)
        kept[ring] = copy
        enter_recovery(ring, token, now)

    def forget(ring: RingContext, because: Any, now: float) -> None:
        if ring.recovery is not None:
            ring.installed.store = kept[ring]
        enter_gather(ring, because, now)

    everywhere(stack, enter_recovery, remember)
    everywhere(stack, enter_gather, forget)


def _not_frozen(stack: ExitStack) -> None:
    """reactions.REACTIONS[COMMIT and RECOVERY, Mcast]: frames of the old ring go into its store"""

    def store_anyway(ring: RingContext, frame: Mcast, sender: int, now: float) -> None:
        if frame.ring == ring.installed.ring and not frame.encapsulated:
            ring.installed.store.add(frame)
        elif ring.state is RingState.RECOVERY:
            reactions.frame_while_recovering(ring, frame, sender, now)

    for state in (RingState.COMMIT, RingState.RECOVERY):
        stack.enter_context(patch.dict(reactions.REACTIONS, {(state, Mcast): store_anyway}))


def _one_quiet_visit(stack: ExitStack) -> None:
    """recovery: ROTATIONS_BEFORE_INSTALL and QUIET_VISITS_BEFORE_INSTALL are one less"""
    for name in ("ROTATIONS_BEFORE_INSTALL", "QUIET_VISITS_BEFORE_INSTALL"):
        stack.enter_context(patch.object(recovery, name, getattr(recovery, name) - 1))


def _no_quiet_visit(stack: ExitStack) -> None:
    """recovery: ROTATIONS_BEFORE_INSTALL = 0"""
    stack.enter_context(patch.object(recovery, "ROTATIONS_BEFORE_INSTALL", 0))


RECOVERY = (
    Mutant(
        "not_merged",
        "recovered messages do not reach the old ring's store",
        20,
        "E8 E12 E13 E14 bug",
        (Edit(recovery.take_rebroadcast, "if ring.installed.store.add(inner):", "if False:"),),
        "not_merged.txt",
    ),
    Mutant(
        "forgotten_on_failure",
        "what an interrupted recovery brought is lost",
        0,
        "E12 E14",
        (_forget_on_failure,),
        "forgotten_on_failure.txt",
    ),
    Mutant(
        "not_frozen",
        "late messages of the old ring are accepted in commit and recovery",
        0,
        "E8 E14",
        (_not_frozen,),
        "not_frozen.txt",
    ),
    Mutant(
        "recovered_from_other_rings",
        "re-broadcast frames of somebody else's old ring are taken",
        120,
        "E1 E4 E8 E10",
        (Edit(recovery.take_rebroadcast, "if inner.ring != ring.installed.ring:", "if False:"),),
        "recovered_from_other_rings.txt",
    ),
    Mutant(
        "nothing_rebroadcast",
        "nobody re-broadcasts what others miss",
        20,
        "E8 E12 E13 E14 bug",
        (
            Edit(
                recovery.enter_recovery,
                "queue=_to_rebroadcast(ring, {node: entries[node] for node in survivors})",
                "queue={}",
            ),
        ),
        "nothing_rebroadcast.txt",
    ),
    Mutant(
        "rebroadcast_above_highest",
        "only what even the best informed member misses is re-broadcast",
        20,
        "E8 E12 E13 E14 bug",
        (Edit(recovery._to_rebroadcast, "lowest = min(", "lowest = max("),),
        "rebroadcast_above_highest.txt",
    ),
    Mutant(
        "behind_holes_not_rebroadcast",
        "frames behind somebody's hole are re-broadcast by nobody",
        60,
        "E8 E13 E14",
        (
            Edit(
                recovery._to_rebroadcast,
                "if not holders or min(holders) == ring.me",
                "if holders and min(holders) == ring.me",
            ),
        ),
        "behind_holes_not_rebroadcast.txt",
    ),
    Mutant(
        "recovery_not_awaited",
        "the ring is installed while members still have frames to re-broadcast",
        60,
        "E8 E12 E13 E14 bug",
        (Edit(recovery.recovery_step, "if flag:\n", "if False:\n"),),
        "recovery_not_awaited.txt",
    ),
    Mutant(
        "flag_cleared_by_anybody",
        "a member with nothing left says so for everybody",
        60,
        "E8 E12 E13 E14 bug",
        (Edit(recovery.recovery_step, "elif flag and recovery.flag_is_mine:", "elif flag:"),),
        "flag_cleared_by_anybody.txt",
    ),
    Mutant(
        "one_quiet_visit", "installed after one quiet visit instead of two", 200, "E14 E15 bug", (_one_quiet_visit,)
    ),
    Mutant(
        "install_at_once",
        "installed without waiting for anybody's acknowledgement",
        120,
        "E8 E13 E14",
        (_no_quiet_visit,),
    ),
    Mutant(
        "delivered_by_the_slowest",
        "the cut is at what every survivor has delivered",
        120,
        "E8",
        (Edit(recovery.enter_recovery, "delivered=max(", "delivered=min("),),
        "delivered_by_the_slowest.txt",
    ),
    Mutant(
        "strangers_survive",
        "a member that restarted counts as a survivor",
        20,
        "E6 E7 E8",
        (Edit(recovery.enter_recovery, " and entries[node].ring == installed.ring", ""),),
        "strangers_survive.txt",
    ),
    Mutant(
        "obligations_ignored",
        "what was acknowledged in an interrupted recovery is forgotten",
        0,
        "E14",
        (Edit(membership.enter_commit, "installed.delivered, installed.obliged)", "installed.delivered, False)"),),
        "obligations_ignored.txt",
    ),
    Mutant(
        "never_obliged",
        "acknowledging everything obliges to nothing",
        0,
        "E14",
        (Edit(recovery.recovery_step, "installed.obliged, installed.obligations = True, recovery.survivors", "pass"),),
        "never_obliged.txt",
    ),
    Mutant(
        "holes_not_reported",
        "a member reports its highest frame instead of the highest without a hole",
        40,
        "E8 E13 E14 bug",
        (Edit(membership.enter_commit, "installed.store.received,", "installed.store.highest,"),),
        "holes_not_reported.txt",
    ),
    Mutant(
        "delivered_not_reported",
        "a member does not report what it has delivered",
        120,
        "E8",
        (Edit(membership.enter_commit, "installed.delivered, installed.obliged)", "0, installed.obliged)"),),
        "delivered_not_reported.txt",
    ),
    Mutant(
        "attempted_ring_reported",
        "a member reports the ring of its last attempt instead of its installed one",
        5,
        "E6 E7 E8 crash L1",
        (Edit(membership.enter_commit, "MemberEntry(installed.ring,", "MemberEntry(ring.ring,"),),
    ),
    Mutant(
        "first_token_twice",
        "a repeated commit token makes the representative create the first token again",
        0,
        "W1",
        (Edit(reactions.commit_token_while_recovering, " and not ring.recovery.token_created", ""),),
        "first_token_twice.txt",
    ),
)
