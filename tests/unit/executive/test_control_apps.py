"""The live picture of applications: what is shown where there is no room for all."""

from __future__ import annotations

from rich.console import Console
from totemd.executive.control.apps import picture
from totemd.ipc.messages.control import AppInfo


def app(name: str, state: str = "running") -> AppInfo:
    return AppInfo(name, 1, 4711, state, 1, "restart")


def shown(found: list[AppInfo], lines: int, columns: int = 80) -> list[str]:
    screen = Console(width=columns, height=lines)
    with screen.capture() as captured:
        screen.print(picture(found, lines, "12:00:00"))
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
