"""The pytest fixture `totemd_cluster`: clusters that end with the test, and show their logs when it fails.

pytest finds it by itself where totemd is installed:

    def test_my_service(totemd_cluster):
        cluster = totemd_cluster(3, token=500)
        …
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .cluster import Cluster

LOG_LINES_SHOWN = 40
"""Last lines of each node's log in the report of a failed test."""

_clusters = pytest.StashKey[list[Cluster]]()


@pytest.fixture
def totemd_cluster(request: pytest.FixtureRequest) -> Iterator[Callable[..., Cluster]]:
    """Call it like `totemd.testing.Cluster`; what it returns has been started, unless `start=False`."""
    with contextlib.ExitStack() as clusters:

        def make(*arguments: Any, **options: Any) -> Cluster:
            cluster = Cluster(*arguments, **options)
            show_when_failed(request.node, cluster)
            return clusters.enter_context(cluster)

        yield make


def show_when_failed(item: pytest.Item, cluster: Cluster) -> None:
    """Have the report of this test, if it fails, show the last words of the cluster's nodes; for fixtures."""
    item.stash.setdefault(_clusters, []).append(cluster)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Add the nodes' last words to the report of a failed test."""
    report = yield
    if report.when == "call" and report.failed:
        for cluster in item.stash.get(_clusters, []):
            for node in cluster:
                report.sections.append((f"log of node {node.node_id}", node.last_words(LOG_LINES_SHOWN)))
    return report
