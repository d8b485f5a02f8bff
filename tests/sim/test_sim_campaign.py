"""Very many seeds over several sessions: what counts as run, what is left, and what a torn progress file means."""

from __future__ import annotations

from pathlib import Path

import pytest
from simcluster import campaign
from simcluster.batch import Kind, Result, complaint
from simcluster.campaign import BadProgress, Piece, append, cut, gaps, read
from simcluster.cli import main
from simcluster.options import derive
from simcluster.scenario_run import run_seed

CALM = Kind("calm", (1, 2))
"""The quickest runs there are."""


def piece(first: int, last: int, *failed: int, sources: str = "abc") -> Piece:
    return Piece(sources, "1234567", CALM.profile, CALM.nodes, first, last, failed, 1.0, "2020-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("done", "left"),
    [
        ([], [(0, 99)]),
        ([(0, 99)], []),
        ([(10, 19)], [(0, 9), (20, 99)]),
        ([(50, 200), (0, 9), (5, 30)], [(31, 49)]),
        ([(100, 120)], [(0, 99)]),
    ],
)
def test_what_is_left(done: list[tuple[int, int]], left: list[tuple[int, int]]) -> None:
    assert list(gaps(0, 99, done)) == left


def test_pieces_end_at_the_same_places_wherever_a_run_begins() -> None:
    assert list(cut([(0, 24), (37, 41)], 10)) == [(0, 9), (10, 19), (20, 24), (37, 39), (40, 41)]


def test_pieces_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "progress"
    for each in (piece(0, 9), piece(10, 19, 12, 13)):
        append(path, each)
    assert read(path) == [piece(0, 9), piece(10, 19, 12, 13)]


def test_a_line_that_was_cut_off_never_happened(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    append(path, piece(0, 9))
    append(path, piece(10, 19))
    path.write_bytes(path.read_bytes()[:-5])
    assert read(path) == [piece(0, 9)]
    append(path, piece(20, 29))
    assert read(path) == [piece(0, 9), piece(20, 29)]


def test_another_file_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    append(path, piece(0, 9))
    path.write_bytes(path.read_bytes() + b"something else\n")
    with pytest.raises(BadProgress, match=r"progress:2: .* a line for each piece"):
        read(path)


def session(path: Path, seeds: str, *more: str) -> int:
    kind = ("--profile", CALM.profile, "--nodes", f"{CALM.nodes[0]}..{CALM.nodes[1]}")
    return main(["--seeds", seeds, *kind, "--progress", str(path), *more])


def test_a_campaign_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(campaign, "PIECE", 2)
    path = tmp_path / "progress"
    assert session(path, "0..3", "--minutes", "0") == 0
    assert "4 seeds are left" in capsys.readouterr().out and read(path) == []
    assert session(path, "0..2") == 0
    assert session(path, "0..3") == 0
    assert "3 of 4 seeds were run before" in capsys.readouterr().out
    assert [(each.first, each.last, each.failed) for each in read(path)] == [(0, 1, ()), (2, 2, ()), (3, 3, ())]
    assert main(["--progress", str(path)]) == 0
    assert "(these)" in (told := capsys.readouterr().out) and "4 seeds, 0 failed" in told


def test_other_sources_begin_again_and_failures_are_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "progress"
    append(path, piece(0, 1, sources="of yesterday"))
    monkeypatch.setattr(campaign, "fingerprint", lambda: "of today")
    append(path, piece(0, 1, 1, sources="of today"))
    assert session(path, "0..1") == 1, "it failed in an earlier session"
    assert "failed: 1" in capsys.readouterr().out
    monkeypatch.setattr(campaign, "fingerprint", lambda: "of tomorrow")
    assert session(path, "0..1") == 0
    assert [each.sources for each in read(path)] == ["of yesterday", "of today", "of tomorrow"]


def test_a_failed_seed_says_how_it_is_seen_again_and_made_short() -> None:
    told = complaint(Result(run_seed(derive(3), "not_persisted")), Kind())
    assert "again:   python tests/sim/run.py --seed 3 --profile mixed --trace" in told
    assert "shorter: python tests/sim/run.py --seed 3 --profile mixed --shrink -o" in told


@pytest.mark.parametrize("wrong", [("--seeds", "0..1", "--minutes", "1"), ("--progress", "x", "--complete")])
def test_options_that_do_not_go_together(wrong: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(list(wrong))
    assert "--progress" in capsys.readouterr().err
