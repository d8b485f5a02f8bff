"""Applications on the screen: all of them where there is no room for all, one in words, and none."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from executivekit import FakeNode
from rich.console import Console, RenderableType
from totemd.executive.control.apps import in_words, picture
from totemd.executive.control.main import main
from totemd.ipc.messages.control import AppInfo
from totemd.ipc.messages.keeper import KeptApp
from totemd.ipc.messages.sam import AppState, Progress


def app(name: str, state: str = "running") -> AppInfo:
    return AppInfo(name, 1, 4711, state, 1, "restart")


def shown(found: list[AppInfo], lines: int, columns: int = 80) -> list[str]:
    return printed(picture(found, lines, "12:00:00"), lines, columns)


def printed(picture: RenderableType, lines: int = 100, columns: int = 80) -> list[str]:
    screen = Console(width=columns, height=lines)
    with screen.capture() as captured:
        screen.print(picture)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_all_are_shown_in_their_order_where_there_is_room() -> None:
    head, _, *rows = shown([app("a"), app("b", "fatal"), app("c")], 5)
    assert head == "12:00:00  3 applications: 2 running, 1 fatal"
    assert [row.split()[0] for row in rows] == ["a", "b", "c"]


def test_where_there_is_no_room_those_that_are_not_well_come_first() -> None:
    found = [*(app(f"a{number}") for number in range(10)), app("y", "backoff"), app("z", "fatal")]
    head, _, *rows = shown(found, 6)
    assert head == "12:00:00  4 of 12 applications: 10 running, 1 backoff, 1 fatal"
    assert [row.split()[0] for row in rows] == ["y", "z", "a0", "a1"]


def test_no_applications_and_no_room() -> None:
    assert shown([], 24)[0] == "12:00:00  0 applications: none"
    assert len(shown([app("a")], 1)) == 2


def test_a_narrow_screen_cuts_the_counts_and_folds_no_head() -> None:
    head, *rows = shown([app("a"), app("b", "fatal")], 10, columns=40)
    assert head == "12:00:00  2 applications: 1 running, 1 …" and rows


def kept(since: float) -> KeptApp:
    progress = Progress(AppState.RUNNING, 1, 4711)
    return KeptApp("web", progress, "restart", 2000, ("x",), {}, (), (), (), True, True, (), since, 0, "/l", False)


def test_an_application_in_words_tells_a_time_and_how_long_ago_that_was() -> None:
    first, *rows = printed(in_words(kept(1000.0), 1000.0 + 3 * 60 + 2))
    assert first.split() == ["name", "web"], "no line for the names of the columns, which have none"
    when = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(1000.0))
    assert ["since", f"{when}, 3 min 2 s ago"] in [row.split(maxsplit=1) for row in rows]
    assert ["since", "-"] in [row.split() for row in printed(in_words(kept(0.0), 1000.0))]


@pytest.mark.parametrize("words", [("start", "web"), ("list", "web"), ("list",), ("logs", "web")])
def test_without_a_node_it_is_that_which_is_told(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--run-dir", str(tmp_path), "apps", *words]) == 1
    assert "totemd is not running here" in capsys.readouterr().err


def test_a_node_without_applications_is_no_node_that_does_not_run(
    running_node: FakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--run-dir", str(running_node.run_dir), "apps", "start", "web"]) == 1
    assert "no applications are declared on this node; they" in capsys.readouterr().err
    assert main(["--run-dir", str(running_node.run_dir), "apps", "list"]) == 0
