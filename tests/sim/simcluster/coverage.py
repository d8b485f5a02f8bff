"""What a batch of runs exercised, so that a simulation that has become too gentle is noticed."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from simcluster.analysis import Analysis, Ending, Stay
from simcluster.coverage_cells import declared_steps, undeclared, unvisited
from simcluster.history import Regular, Transitional

REQUIRED = (
    "gather.recovery.TOKEN_LOST_RECOVERY",
    "gather.recovery.JOIN_IN_RECOVERY",
    "gather.commit.TOKEN_LOST_COMMIT",
    "gather.commit.JOIN_IN_COMMIT",
    "gather.gather.TOKEN_LOST_WAITING",
    "gather.operational.TOKEN_LOST",
    "gather.operational.JOIN",
    "gather.operational.LEAVE",
    "gather.operational.MERGE",
    "gather.operational.FAILED_TO_RECEIVE",
    "gather.operational.HEARTBEAT_LOST",
    "gather.suspect",
    "recovery.depth.2",
    "recovery.depth.3",
    "recovery.depth.4",
    "recovery.obligations_kept",
    "recovery.obligations_wider",
    "recovery.recovered",
    "install.hole",
    "install.cut_at_safe",
    "install.dropped_behind_hole",
    "history.installed_by_some_only",
    "history.returned_within_one_change",
    "history.sync_aborted",
    "history.sync_in_transition",
    "history.old_rings.1",
    "history.old_rings.2",
    "history.old_rings.3",
    "history.safe_in_transition",
    "join.row1",
    "join.row2",
    "join.row3",
    "join.row4a",
    "join.row4b",
    "join.for_others",
    "join.of_the_attempt_before",
    "join.gave_a_member_up",
    "join.apart_from_a_candidate",
    "apart_from_a_candidate",
    "backoff.link_mended",
    "flow.store_limit",
    "token.held",
    "token.hold_cancelled",
    "token.repeated",
    "token.requested",
    "mcast.retransmitted",
    "stale",
    "backed_off",
    "drop.flushed",
    "pause.detected",
    "pause.short",
    "inbox.overflow",
    "frames.repairs_asked",
    "frames.repairs_sent",
    "frames.dropped_duplicate_fragment",
    "frames.dropped_incomplete_frame",
    "frames.dropped_replayed_frame",
)
"""Counters that a batch of a thousand runs of the mixed profile must not leave at zero."""

OLD_RINGS_COUNTED = 3


def count_history(analysis: Analysis, coverage: Counter[str]) -> None:
    """Count the situations that only histories show."""
    came_from: dict[object, set[object]] = {}
    for life in analysis.lives:
        for before, after in pairwise(life.stays):
            coverage["history.installs"] += 1
            came_from.setdefault(after.ring, set()).add(before.ring)
            _count_change(before, after, coverage)
        for stay in life.stays:
            _count_stay(stay, coverage)
    for rings in came_from.values():
        coverage[f"history.old_rings.{min(len(rings), OLD_RINGS_COUNTED)}"] += 1
    for stays in analysis.stays.values():
        configuration = next(iter(stays.values())).regular.configuration
        if len(stays) < len(configuration.members):
            coverage["history.installed_by_some_only"] += 1


def _count_change(before: Stay, after: Stay, coverage: Counter[str]) -> None:
    if before.transitional is None:
        return
    change, new = before.transitional.configuration, after.regular.configuration
    assert isinstance(change, Transitional)
    assert isinstance(new, Regular)
    if any(node in new.joined for node in change.left):
        coverage["history.returned_within_one_change"] += 1


def _count_stay(stay: Stay, coverage: Counter[str]) -> None:
    coverage["history.delivered"] += len(stay.regular.deliveries)
    if stay.ending is Ending.CLOSED and stay.synchronised is None:
        coverage["history.sync_aborted"] += 1
    if stay.transitional is None:
        return
    coverage["history.delivered_in_transition"] += len(stay.transitional.deliveries)
    coverage["history.safe_in_transition"] += sum(each.event.safe for each in stay.transitional.deliveries)
    if stay.synchronised is not None and stay.synchronised.serial > stay.transitional.serial:
        coverage["history.sync_in_transition"] += 1


def table(coverage: Counter[str], runs: int) -> str:
    """The counters for people; required ones that stayed at zero are named last."""
    width = max(map(len, (*coverage, *REQUIRED)), default=0)
    lines = [f"{name:<{width}} {coverage[name]:>12,} {coverage[name] / runs:>12.2f}/run" for name in sorted(coverage)]
    lines.append(f"never seen: {', '.join(missing(coverage)) or 'nothing that is required'}")
    steps = [step for step in declared_steps() if not coverage[step]]
    lines.append(f"steps not taken: {', '.join(steps) or 'none that is declared'}")
    surprises = undeclared(coverage)
    if surprises:
        lines.append(f"not declared in core/transitions.py, but seen: {', '.join(surprises)}")
    return "\n".join(lines)


def missing(coverage: Counter[str]) -> list[str]:
    """What a large batch of the mixed profile must have seen, and has not: situations, and cells of the reactions."""
    return [name for name in REQUIRED if not coverage[name]] + unvisited(coverage)
