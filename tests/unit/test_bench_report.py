"""What the benchmarks make of their samples: what counts, ratios, tables, files; and a peer's figures by our names."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from benchkit import members, report
from benchkit.members import BenchError
from benchkit.peers import CONFIGURATIONS, Corosync, Harness, for_harness, translated
from benchkit.plot import draw
from benchkit.report import Figure, Measured, Run, clean, figures, ratios, spread, tables, values
from benchkit.systems import Effort, costs, percentile
from benchkit.workload import Cell, What, cells

FLOOD = Cell(What.ONE, 64)
RATE = Figure(FLOOD, "messages_per_second", "")


def run_of(*samples: tuple[int, str, float, float]) -> Run:
    """Of (round, system, rate, foreign share)."""
    return Run(
        {"commits": ["abc"]},
        [
            Measured(round_, system, 3, FLOOD, {"messages_per_second": rate, "foreign_share": foreign})
            for round_, system, rate, foreign in samples
        ],
    )


def test_ratios_are_taken_round_by_round() -> None:
    run = run_of((1, "us", 10, 0), (1, "them", 5, 0), (2, "us", 30, 0), (2, "them", 10, 0), (3, "us", 99, 0))
    assert ratios(run, "us", "them", 3, RATE) == [2.0, 3.0]
    assert values(run, "us", 3, RATE) == [10, 30, 99]


def test_a_round_that_others_disturbed_does_not_count_if_there_are_enough() -> None:
    quiet = [(number, system, 10.0, 0.0) for number in (1, 2) for system in ("us", "them")]
    assert ratios(run_of(*quiet, (3, "us", 90, 0.5), (3, "them", 10, 0)), "us", "them", 3, RATE) == [1.0, 1.0]
    few = run_of((1, "us", 10, 0), (1, "them", 10, 0), (3, "us", 90, 0.5), (3, "them", 10, 0))
    assert ratios(few, "us", "them", 3, RATE) == [1.0, 9.0]
    assert clean([{"foreign_share": 0.5}, {"foreign_share": 0.0}, {}]) == [{"foreign_share": 0.0}, {}]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], "–"),
        ([1234.0], "1,230"),
        ([0.5, 0.1, 0.2], "0.2 (0.1–0.5)"),
        ([999.6], "1,000"),
        ([62.4, 62], "62.2 (62–62.4)"),
    ],
)
def test_a_spread_is_the_median_with_least_and_most(numbers: list[float], text: str) -> None:
    assert spread(numbers) == text


def test_a_table_has_the_ratio_beside_each_other_system() -> None:
    run = run_of((1, "us", 10, 0), (1, "them", 5, 0))
    head, rule, *rows = tables(run, "us").splitlines()
    assert head == "| 3 nodes | us | them | ratio |"
    assert rule == "| --- | --- | --- | --- |"
    assert rows[0] == "| one sender, 64 B, messages/s | 10 | 5 | 2 |"


def test_what_has_no_figure_is_told_in_the_tables() -> None:
    run = run_of((1, "us", 10, 0))
    run.failures.append("they did not receive the same")
    assert "- they did not receive the same" in tables(run, "us")


def test_a_saved_run_is_the_same_when_it_is_loaded(tmp_path: Path) -> None:
    run = run_of((1, "us", 10, 0), (2, "us", 20, 0))
    run.failures.append("something")
    run.save(tmp_path / "run.json")
    again = Run.load(tmp_path / "run.json")
    assert again == run
    assert again.rounds == 2


def test_every_cell_of_the_workload_has_its_lines() -> None:
    chosen = cells(3, (64, 8_000), (1_600,), latency=True)
    assert {line.cell for line in figures(chosen)} == set(chosen)
    keys = {(line.cell.size, line.key) for line in figures(chosen) if line.cell.what is What.ONE}
    assert (64, "messages_per_second") in keys
    assert (64, "server_cpu_seconds_per_100k") in keys
    assert (8_000, "megabytes_per_second") in keys
    assert (8_000, "server_cpu_seconds_per_mb") in keys


def test_a_single_node_has_nobody_else_to_send() -> None:
    assert [cell.what for cell in cells(1, (64,), (64,), latency=False)] == [What.REST, What.ONE, What.LOADED]


def test_costs_are_told_by_the_message_and_by_the_megabyte() -> None:
    found = costs({"messages": 200_000, "megabytes": 4}, {"servers": 8.0, "members": 2.0})
    assert found == {
        "server_cpu_seconds_per_100k": 4.0,
        "server_cpu_seconds_per_mb": 2.0,
        "member_cpu_seconds_per_100k": 1.0,
        "member_cpu_seconds_per_mb": 0.5,
    }


def test_percentiles_of_few_values() -> None:
    assert [percentile([1, 2, 3, 4], share) for share in (0, 0.5, 0.99, 1)] == [1, 3, 4, 4]


ANSWER = {"messages": 3, "bytes": 30, "chain": 7, "changes": 0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"chain": 8}, "not receive the same"),
        ({"messages": 2}, "not receive the same"),
        ({"bytes": 31}, "not receive the same"),
        ({"changes": 1}, "membership changed"),
    ],
)
def test_there_is_no_figure_unless_all_received_the_same(change: dict[str, int], words: str) -> None:
    members._check({1: ANSWER, 2: ANSWER})
    with pytest.raises(BenchError, match=words):
        members._check({1: ANSWER, 2: ANSWER | change})


def test_a_picture_is_drawn_and_always_the_same(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `bench` is not installed")
    run = run_of((1, "us", 10, 0), (1, "them", 5, 0))
    for each in run.measured:
        each.sample["megabytes_per_second"] = 3.0
    assert draw(run, 3, [tmp_path / "1.svg", tmp_path / "1.png"])
    assert draw(run, 3, [tmp_path / "2.svg"])
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()
    assert (tmp_path / "1.png").stat().st_size > 0


def test_without_a_library_there_is_no_picture_but_a_word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert not draw(run_of((1, "us", 10, 0)), 3, [tmp_path / "1.svg"])


# -- a peer


THEIR_FLOOD = {
    **{"msgs": 100, "bytes": 6_400, "msgs_s": 50.0, "mb_s": 0.0032, "foreign": 0.01, "same_order": True, "p50_us": 9.0},
    **{"cpu_servers_per_100k": 2.0, "cpu_all_per_100k": 3.0, "cpu_servers_per_mb": 20.0, "cpu_all_per_mb": 30.0},
}


def corosync(flood: dict[str, Any], latency: dict[str, Any] | None = None) -> Corosync:
    """With a harness that answers this."""
    adapter = SimpleNamespace(
        flood=lambda *_: flood, up=lambda _: None, down=lambda: None, nodes=SimpleNamespace(ids=lambda: range(1, 4))
    )
    harness = object.__new__(Harness)
    harness.baseline = SimpleNamespace(Corosync=lambda *_, **__: adapter)
    harness.load = SimpleNamespace(run_members=lambda *_, **__: latency)
    harness.run = SimpleNamespace(summarize_latency=lambda *_: {"p50_us": 1.0, "p99_us": 2.0, "far_p50_us": 3.0})
    return Corosync(harness, *next(iter(CONFIGURATIONS.items())))


def test_a_peers_flood_has_our_names_and_no_latency() -> None:
    found = corosync(THEIR_FLOOD).measure(FLOOD, Effort())
    assert found["messages_per_second"] == 50.0
    assert found["server_cpu_seconds_per_100k"] == 2.0
    assert found["member_cpu_seconds_per_100k"] == 1.0
    assert "near_p50_us" not in found


def test_a_peers_disorder_is_no_figure() -> None:
    with pytest.raises(BenchError, match="same order"):
        corosync({**THEIR_FLOOD, "same_order": False}).measure(FLOOD, Effort())


@pytest.mark.parametrize("chain", ["a", "b"])
def test_a_peers_latency_counts_only_if_all_received_the_same(chain: str) -> None:
    answers = {"members": [{"chain": "a", "msgs": 5}, {"chain": chain, "msgs": 5}]}
    system = corosync({}, answers)
    if chain == "a":
        found = system.measure(Cell(What.LATENCY, 64), Effort())
        assert found == {"near_p50_us": 1.0, "near_p99_us": 2.0, "far_p50_us": 3.0}
    else:
        with pytest.raises(BenchError, match="same order"):
            system.measure(Cell(What.LATENCY, 64), Effort())


def test_our_sample_for_a_harness_and_back() -> None:
    ours = {"messages_per_second": 5.0, "server_cpu_seconds_per_mb": 1.0, "member_cpu_seconds_per_mb": 0.5}
    theirs = for_harness(ours)
    assert theirs == {"msgs_s": 5.0, "cpu_servers_per_mb": 1.0, "cpu_all_per_mb": 1.5, "same_order": True}
    assert translated(theirs) == {"messages_per_second": 5.0, "server_cpu_seconds_per_mb": 1.0}


def test_a_folder_without_a_harness_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no peer harness"):
        Harness(tmp_path)


def test_the_workload_is_the_documented_one() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "performance.md").read_text()
    for what in What:
        assert f"| {what.value} |" in text, what
    assert report.FOREIGN_SHARE_MAX == 0.1
