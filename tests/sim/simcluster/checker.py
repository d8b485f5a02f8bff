"""Extended virtual synchrony, checked on the histories of a finished run.

Properties E1 to E18 and E20 (docs/totem.md §9), one function each, in `properties_single` (about one process or
one identifier at a time) and `properties_joint` (about several processes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from simcluster import properties_joint as joint
from simcluster import properties_single as single
from simcluster.analysis import Analysis
from simcluster.history import History
from simcluster.violation import Violation

PROPERTIES: tuple[Callable[[Analysis], Iterable[Violation]], ...] = (
    single.e1_no_creation,
    single.e2_no_duplication,
    single.e3_one_send,
    single.e4_right_configuration,
    single.e5_configuration_agreement,
    single.e6_configuration_chain,
    joint.e7_same_cut,
    joint.e8_failure_atomicity,
    joint.e9_self_delivery,
    single.e10_total_order,
    joint.e11_agreed_prefix,
    joint.e12_causal_order,
    joint.e13_transitional_completeness,
    joint.e14_safe_delivery,
    joint.e15_safe_implies_installed,
    single.e16_whole_messages,
    single.e17_quiet_transition,
    single.e18_sync_place,
    joint.e20_primary_history,
)


def check(analysis: Analysis, per_property: int = 3) -> list[Violation]:
    """All violations, at most *per_property* of each, the earliest first."""
    found: list[Violation] = []
    for prop in PROPERTIES:
        found.extend(sorted(prop(analysis), key=lambda violation: violation.time)[:per_property])
    return sorted(found, key=lambda violation: violation.time)


def explain(history: History, violation: Violation) -> str:
    """The violation in words, and the histories around it."""
    lines = [str(violation)]
    for process, serial in violation.where:
        lines.extend(history.excerpt(process, serial))
    return "\n".join(lines)
