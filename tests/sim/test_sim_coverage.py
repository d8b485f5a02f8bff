"""What runs exercise is counted, and held against the tables of the core."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from simcluster.cli import main
from simcluster.cluster import Cluster
from simcluster.coverage import REQUIRED, missing, table
from simcluster.coverage_cells import declared_steps, required_cells, undeclared, unvisited
from simcluster.mutants import find
from simcluster.options import derive
from simcluster.scenario_run import scenario_coverage
from totemd.executive.totem.core.transitions import UNREACHABLE, cells

SEEDS = range(20, 26)


@pytest.fixture(scope="module")
def seen() -> Counter[str]:
    """What a few runs have exercised."""
    total: Counter[str] = Counter()
    for seed in SEEDS:
        total.update(Cluster(derive(seed)).run().coverage)
    return total


def test_nothing_happens_that_the_tables_exclude(seen: Counter[str]) -> None:
    assert undeclared(seen) == []


def test_a_few_runs_visit_most_cells_and_take_the_ordinary_steps(seen: Counter[str]) -> None:
    assert len(required_cells()) == len(cells()) - len(UNREACHABLE)
    assert len(unvisited(seen)) < len(required_cells()) / 2
    for step in ("gather.CommitToken.commit", "commit.CommitToken.recovery", "recovery.Token.operational"):
        assert f"leads.{step}" in set(declared_steps())
        assert seen[f"leads.{step}"]


def test_what_is_not_seen_is_missing() -> None:
    assert set(missing(Counter())) == {*REQUIRED, *required_cells()}
    assert missing(Counter(dict.fromkeys((*REQUIRED, *required_cells()), 1))) == []


def test_what_is_excluded_is_noticed_and_printed() -> None:
    strange = Counter({"reaction.operational.JOIN": 1, "leads.commit.Mcast.operational": 2, "reaction.commit.Mcast": 2})
    assert undeclared(strange) == ["reaction.operational.JOIN", "leads.commit.Mcast.operational"]
    assert "not declared in core/transitions.py, but seen: reaction.operational.JOIN" in table(strange, 1)


def test_the_counters_see_what_a_mutant_does(seen: Counter[str]) -> None:
    """They are put around the tables when the run begins, so the mutant's reactions are the ones that count."""
    with find("rings_do_not_merge").active():
        broken = Cluster(derive(SEEDS[0])).run().coverage
    assert seen["leads.operational.MergeDetect.gather"]
    assert broken["reaction.operational.MergeDetect"]
    assert not broken["leads.operational.MergeDetect.gather"]


def test_scenarios_show_what_chance_shows_seldom(tmp_path: Path) -> None:
    """Each was left unvisited by a batch of sixty large clusters, or of 160 small ones."""
    rare = {f"reaction.{state}.HoldCancel" for state in ("gather", "commit", "recovery")}
    rare |= {"gather.operational.FAILED_TO_RECEIVE", "stale"}
    assert rare <= set(missing(Counter()))
    assert not rare & set(missing(scenario_coverage()))
    assert scenario_coverage(tmp_path) == Counter()


@pytest.mark.parametrize("kind", [("calm", "--nodes", "3", "--complete"), ("nightly", "--nodes", "2")])
def test_a_small_batch_is_incomplete(kind: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "0..0", "--profile", *kind]) == 1
    assert "incomplete: " in capsys.readouterr().out
