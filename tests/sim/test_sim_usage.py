"""What is typed wrong is refused with what is accepted: what was not run has not passed, and no file is lost."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from simcluster import campaign
from simcluster.campaign import BEGINNING, Piece, append
from simcluster.cli import ALWAYS_COMPLETE, main, parse

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--seeds 5..2", "'5..2' is neither N nor A..B, A not above B, with numbers, 0 or more"),
        ("--seeds 0..-1", "'0..-1' is neither N nor A..B"),
        ("--seeds 1..2..3", "'1..2..3' is neither N nor A..B"),
        ("--seeds some", "'some' is neither N nor A..B"),
        ("--nodes 5..3", "'5..3' is neither N nor A..B, A not above B, with numbers from 1 to 64"),
        ("--nodes 0", "'0' is neither N nor A..B"),
        ("--nodes 3..65", "'3..65' is neither N nor A..B"),
        ("--seed -1", "'-1' is not a whole number, 0 or more"),
        ("--seeds 0..1 --jobs 0", "'0' is not a whole number from 1 to 512"),
        ("--seeds 0..1 --progress x --minutes nan", "'nan' is not a number, 0 or more"),
        ("--shrink --runs 0", "'0' is not a whole number, 1 or more"),
        ("--mutants 0", "'0' is not a whole number, 1 or more"),
        ("--profile calm --without 0", "--without 0: this seed has no fault"),
        ("--seed 9 --without 9999", "--without 9999: this seed has faults 0 to "),
        ("--complete", "--complete means nothing with --seed; it goes with --seeds"),
        ("--record", "--record means nothing with --seed; it goes with --scenario"),
        ("--jobs 2", "--jobs means nothing with --seed; it goes with --seeds with --progress or --seeds"),
        ("--seeds 0..1 --trace", "--trace means nothing with --seeds; it goes with --seed"),
        ("--seeds 0..1 --seed 3", "--seed means nothing with --seeds"),
        ("--seeds 0..1 --minutes 1", "--minutes means nothing with --seeds; it goes with --seeds with --progress"),
        ("--seeds 0..1 --progress x --complete", "--complete means nothing with --seeds with --progress"),
        ("--progress x --complete", "--complete means nothing with --progress; it goes with --seeds"),
        ("--seeds 0..1 --profile nightly --progress x", "--progress keeps no counters, and the profile nightly is"),
        ("--scenario x --seed 3", "--seed means nothing with --scenario"),
    ],
)
def test_what_means_nothing_is_a_usage_error(words: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words.split())
    assert end.value.code == 2
    assert complaint in capsys.readouterr().err


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(*words: str) -> subprocess.CompletedProcess[str]:
    """What make would do."""
    return subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("seeds", ["abc", "0", "-3", "2..5"])
@pytest.mark.parametrize(
    ("goal", "knob"), [("sim", "SEEDS"), ("nightly", "NIGHTLY_SEEDS"), ("nightly", "COMPLETE_SEEDS")]
)
@needs_make
def test_make_wants_a_number_of_seeds(goal: str, knob: str, seeds: str) -> None:
    done = make(goal, f"{knob}={seeds}")
    assert done.returncode == 2
    assert f"{knob}={seeds}: a number of seeds is expected, 1 or more" in done.stderr


@needs_make
def test_a_night_runs_what_no_commit_does_and_looks_for_what_was_not_seen() -> None:
    commands = [
        words[1].rstrip("|; \\").removesuffix(" || failed=1").split()
        for line in make("nightly", "NIGHTLY_SEEDS=4", "COMPLETE_SEEDS=50", "JOBS=3").stdout.splitlines()
        if len(words := line.split("tests/sim/run.py ")) == 2
    ]
    night, usual = (parse(words) for words in commands)
    assert (night.profile, night.seeds, night.jobs) == (ALWAYS_COMPLETE, (0, 3), 3)
    assert (usual.profile, usual.seeds, usual.jobs, usual.complete) == ("mixed", (0, 49), 3, True)


def session(path: Path) -> int:
    return main(["--seeds", "0..1", "--profile", "calm", "--nodes", "1", "--progress", str(path)])


@pytest.mark.parametrize("content", ["all that I know", "first\nsecond", '{"sources":\n'])
def test_a_file_of_something_else_stays_as_it_is(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes"
    path.write_text(content)
    assert session(path) == 2
    assert "a line for each piece that was run is expected" in capsys.readouterr().out
    assert path.read_text() == content


@pytest.mark.parametrize("rest", [b"{", b'{"sour', b'{"sources":"ab'])
def test_a_piece_that_was_cut_off_anywhere_is_known_as_one(rest: bytes, tmp_path: Path) -> None:
    path = tmp_path / "progress"
    append(path, Piece("a", "b", "calm", (1, 1), 0, 1, (), 1.0, "then"))
    whole = path.read_bytes()
    assert whole.startswith(BEGINNING)
    path.write_bytes(whole + rest)
    append(path, Piece("a", "b", "calm", (1, 1), 0, 1, (), 1.0, "then"))
    assert path.read_bytes() == 2 * whole


def test_what_cannot_be_a_progress_file_is_named_before_anything_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "workers", None)
    assert session(tmp_path) == 2
    assert str(tmp_path) in capsys.readouterr().out
    assert main(["--progress", str(tmp_path / "none")]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().out
