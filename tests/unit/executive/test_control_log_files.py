"""Logs of applications: their last lines, and what comes after them."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from totemd.executive.control import log_files
from totemd.executive.control.log_files import Log, follow
from totemd.ipc.errors import OperationFailed


@pytest.mark.parametrize("count", [0, 1, 3, 100_000])
def test_the_last_lines_whatever_the_length(tmp_path: Path, count: int) -> None:
    path = tmp_path / "log"
    lines = [f"line {number}" for number in range(20_000)]
    path.write_text("\n".join(lines) + "\n")
    assert Log(str(path)).past(count) == (lines[-count:] if count else [])


def test_what_is_no_line_and_no_text(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a\r\n\xff\n\nunfinished")
    assert Log(str(path)).past(10) == ["a", "\ufffd", "", "unfinished"]


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert Log(str(tmp_path / "none")).past(10) == []
    with pytest.raises(OperationFailed):
        Log(str(tmp_path))


def test_following_goes_on_after_the_file_was_cut_or_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = tmp_path / "log", tmp_path / "other"
    path.write_text("before\n")
    steps = iter(
        [
            lambda: path.open("a").write("one\ntw"),
            lambda: path.open("a").write("o\n"),
            lambda: path.write_text("cut\n"),
            lambda: (path.rename(tmp_path / "log.1"), path.write_text("new file\n")),
            lambda: other.write_text("late\n"),
        ]
    )
    monkeypatch.setattr(log_files.time, "sleep", lambda _: next(steps)())
    found = list(islice(follow({"a": Log(str(path)), "b": Log(str(other))}), 5))
    assert found == [("a", "one"), ("a", "two"), ("a", "cut"), ("a", "new file"), ("b", "late")]


def test_nothing_is_left_out_between_the_past_and_the_news(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\ntwo\nthr")
    log = Log(str(path))
    with path.open("a") as file:
        file.write("ee\nfo")
    assert log.past(2, unfinished=False) == ["one", "two"]
    with path.open("a") as file:
        file.write("ur\n")
    assert log.news() == ["three", "four"]
    assert log.news() == []


def test_a_line_that_is_not_finished_is_shown_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\ntw")
    log = Log(str(path))
    assert log.past(10) == ["one", "tw"]
    assert log.news() == []
