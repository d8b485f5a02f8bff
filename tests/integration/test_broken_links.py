"""Links that work one way, or not at all, between single nodes: rings come to stand, and are one when it is mended."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from totemd.testing import Cluster, wait_until

TOKEN_MS = 1_000
QUIET_TIMEOUTS = 5
"""For so many token timeouts no ring may change.  Before rings told who hears whom, they changed twice in each."""

SETTLED_SECONDS = 120.0
"""How long that may take on a machine that is slow; else it is some ten token timeouts."""


@pytest.fixture(scope="module")
def four() -> Iterator[Cluster]:
    with Cluster(4, token=TOKEN_MS, token_coefficient=0) as cluster:
        yield cluster


@pytest.mark.parametrize(
    "links",
    [
        pytest.param(((2, 3), (3, 2)), id="a pair that the token would take"),
        pytest.param(((1, 4), (2, 4), (3, 4)), id="one that only sends"),
        pytest.param(((4, 1), (4, 2), (4, 3)), id="one that only hears"),
    ],
)
def test_rings_stand_where_links_are_broken(four: Cluster, links: tuple[tuple[int, int], ...]) -> None:
    four.heal()
    four.wait_for_ring({1, 2, 3, 4})
    whole = rings(four)
    four.cut(*links)
    wait_until(lambda: rings(four) != whole, SETTLED_SECONDS, lambda: f"the ring is broken; {rings(four)}")
    seen, since = rings(four), time.monotonic()

    def quiet() -> bool:
        nonlocal seen, since
        now = rings(four)
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since > QUIET_TIMEOUTS * TOKEN_MS / 1_000 and all(state for state, _ in now)

    wait_until(quiet, SETTLED_SECONDS, lambda: f"rings stand; they are {rings(four)}")
    sizes = sorted(len(members) for _, members in {each[1] for each in seen})
    assert sum(sizes) == 4 and sizes in ([1, 3], [2, 2]), "each node is in one ring, and no more are left out than must"
    assert any("No ring is formed with node" in node.log for node in four), "people are told why"
    four.heal()
    four.wait_for_ring({1, 2, 3, 4})


def rings(cluster: Cluster) -> tuple[tuple[bool, tuple[str, tuple[int, ...]]], ...]:
    """Of each node: whether its ring operates, and which it is."""
    standings = [node.stands() for node in cluster]
    assert all(standings), "a node does not answer"
    return tuple((each.state == "operational", (each.ring, each.members)) for each in standings if each)
