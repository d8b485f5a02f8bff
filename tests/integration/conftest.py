"""Fixtures for tests with real nodes; makes `kit` importable for the tests beside this file.

All of these tests run in one worker of pytest-xdist: two clusters at once on a small machine would measure each other.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from totemd.testing import Cluster
from totemd.testing.plugin import show_when_failed

HERE = Path(__file__).resolve().parent

if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("clusters"))


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster]:
    """Three nodes with short timeouts, though not so short that a busy machine breaks the ring; use `trio`."""
    with Cluster(3, token=1000, token_coefficient=0) as cluster:
        yield cluster


@pytest.fixture
def trio(shared_cluster: Cluster, request: pytest.FixtureRequest) -> Cluster:
    """Three nodes that are one ring.  They are shared by the tests of a run, each of which leaves them whole."""
    show_when_failed(request.node, shared_cluster)
    shared_cluster.heal()
    for node in shared_cluster:
        if node.is_running and any(each.restarts for each in node.status().processes.values()):
            # Tests kill processes, and an executive ends when they end too often in a minute.
            node.stop()
    shared_cluster.start()
    return shared_cluster


@pytest.fixture
def programs() -> Iterator[ExitStack]:
    """Kills what the test has started."""
    with ExitStack() as stack:
        yield stack
