"""The declared application that must outlive its keepers: one real node, whose processes are killed in turn."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
from chaoskit import kept
from chaoskit.kept import NAME, OPTIONS, Applications, keeper
from totemd.testing import Cluster, wait_until

SECONDS = 30.0


@pytest.fixture
def alone() -> Iterator[Cluster]:
    with Cluster(1, options=OPTIONS, token=500) as cluster:
        yield cluster


@pytest.mark.timeout(180)
def test_an_application_outlives_its_keeper_and_its_own_end_is_noticed(alone: Cluster) -> None:
    applications = Applications(alone)
    applications.look()
    first = keeper(alone[1])
    first.kill()
    wait_until(lambda: is_kept_by_another(alone, first.pid), SECONDS, "another keeper")
    applications.look()
    assert applications.complaints == []
    (app,) = [each for each in alone[1].apps() if each.name == NAME]
    psutil.Process(app.pid).kill()
    wait_until(lambda: not psutil.pid_exists(app.pid), SECONDS, "its end")
    applications.look()
    assert applications.complaints[0].startswith(f"the application of node 1 was process {app.pid}, and is ")


def is_kept_by_another(cluster: Cluster, pid: int) -> bool:
    try:
        return keeper(cluster[1]).pid != pid
    except (kept.NotFound, psutil.NoSuchProcess):
        return False


@pytest.mark.timeout(180)
def test_what_was_killed_with_its_node_is_another_one_rightly(alone: Cluster) -> None:
    applications = Applications(alone)
    applications.look()
    alone[1].kill()
    applications.forget(1)
    alone[1].start()
    applications.look()
    assert applications.complaints == []
