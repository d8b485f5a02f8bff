"""News of dead processes, true, late and forged, in whole clusters (docs/totem.md §5.9)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from simcluster.cluster import Cluster, Outcome
from simcluster.options import Endings, derive

SEEDS = range(3)


def run(seed: int, profile: str, endings: Endings, wire: str | None = None, knock: float = 0.04) -> Outcome:
    options = derive(seed, profile)
    options = replace(options, endings=endings, ring=replace(options.ring, knock=knock), wire=wire or options.wire)
    outcome = Cluster(options).run()
    assert not outcome.violations, (seed, outcome.violations[:2])
    return outcome


def given_up(coverage: Counter[str]) -> int:
    return sum(times for name, times in coverage.items() if name.endswith((".PROCESS_GONE", ".PROCESS_ENDED")))


def test_forged_reports_alone_change_nothing() -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        outcome = run(seed, "calm", Endings(forged=40))
        assert given_up(outcome.coverage) == 0
        seen += outcome.coverage
    assert seen["suspicion.hint"] > 10 and seen["suspicion.cleared"] == seen["suspicion.hint"]
    assert seen["suspicion.hint_too_soon"] > seen["suspicion.hint"], "most of them are not even asked about"


@pytest.mark.parametrize("seed", SEEDS)
def test_forged_reports_in_every_weather_break_nothing(seed: int) -> None:
    assert run(seed, "mixed", Endings(forged=60)).coverage["endings.report"] > 100


def test_forged_reports_about_nodes_that_stand_still() -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        seen += run(seed, "pause", Endings(forged=60)).coverage
    assert seen["pause.detected"] and seen["suspicion.hint"]


@pytest.mark.parametrize("wire", ["objects", "sealed"])
def test_obituaries_that_come_late_are_about_nobody(wire: str) -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        seen += run(seed, "crash", Endings(obituaries=1.0, late=1.0), wire, knock=0.0).coverage
    assert seen["endings.obituary"] > 10
    assert given_up(seen) < seen["endings.obituary"] / 2


def test_with_news_hardly_any_token_has_to_be_lost() -> None:
    without, told, reported = (Counter[str]() for _ in range(3))
    for seed in SEEDS:
        without += run(seed, "crash", Endings(), knock=0.0).coverage
        told += run(seed, "crash", Endings(obituaries=1.0), knock=0.0).coverage
        reported += run(seed, "crash", Endings(reports=1.0)).coverage
    lost = "gather.operational.TOKEN_LOST"
    assert told[lost] < without[lost] / 2, (told[lost], without[lost])
    assert reported[lost] < without[lost], (reported[lost], without[lost])
    assert told["suspicion.obituary"] and reported["suspicion.gone"]
