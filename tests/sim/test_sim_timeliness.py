"""Nothing is late: a ring that loses a machine, and messages on an idle one, take what the timeouts say and no more.

Without faults beside; the profiles allow for several at once, and so for delays that would be mistakes here.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from lives import FORMED, configurations, lived
from simcluster.cluster import Outcome
from simcluster.faults import Crash
from simcluster.history import Delivered, Lane, MessageId, Submitted
from simcluster.options import CONSENSUS, JOIN, TOKEN, Options
from simcluster.scenario import Request, plain

NEVER = 60.0
ROTATIONS_TO_FORM = 20
"""Commit, recovery and exchange take so many at the most."""
ROTATIONS_TO_DELIVER, ROTATIONS_TO_PROVE = 2, 3
"""Of a ring at rest: the token is called, comes, and goes round; a safe message is delivered when all are known to have
it, which takes two rotations more."""


def options(nodes: int) -> Options:
    return replace(plain(1, nodes), fault_seconds=FORMED + 6.0, wire="codec")


@pytest.mark.parametrize("nodes", [2, 3, 8])
@pytest.mark.parametrize("victim", [1, 2])
def test_a_ring_without_a_member_stands_after_the_token_and_the_consensus_timeout(nodes: int, victim: int) -> None:
    chosen, died = options(nodes), FORMED + 1.03
    outcome = lived(chosen, [(died, Crash((victim,), (NEVER,)))], [])
    bound = TOKEN + CONSENSUS + 2 * JOIN + ROTATIONS_TO_FORM * chosen.rotation
    for node in set(range(1, nodes + 1)) - {victim}:
        at, ring = next(each for each in configurations(outcome, node) if each[0] > died)
        assert victim not in ring.members and len(ring.members) == nodes - 1, "at the first attempt"
        assert at - died < bound


@pytest.mark.parametrize("nodes", [1, 2, 3, 8])
def test_a_message_on_a_ring_at_rest_waits_for_no_timer(nodes: int) -> None:
    chosen = options(nodes)
    requests = [Request(FORMED + 1 + 0.0713 * index, 1 + index * 5 % nodes, 100, index % 3 == 0) for index in range(40)]
    outcome = lived(chosen, [], requests)
    latest = latencies(outcome)
    assert len(latest) == len(requests)
    for late, safe in latest:
        assert late < (ROTATIONS_TO_PROVE if safe else ROTATIONS_TO_DELIVER) * chosen.rotation


def latencies(outcome: Outcome) -> list[tuple[float, bool]]:
    """Of each message of an application: how long it took to whom it took longest, and whether it was safe."""
    said: dict[MessageId, float] = {}
    took: dict[MessageId, tuple[float, bool]] = {}
    entries = (entry for entries in outcome.history.processes.values() for entry in entries)
    for entry in sorted(entries, key=lambda each: each.serial):
        match entry.event:
            case Submitted(message=message, lane=Lane.APPLICATION):
                said[message] = entry.time
            case Delivered(message=message, safe=safe) if message in said:
                took[message] = (entry.time - said[message], safe)
    return list(took.values())
