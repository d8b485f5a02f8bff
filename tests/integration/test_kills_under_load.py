"""The cpg and the totem process of a node are killed while everybody sends: nothing is repeated or silently missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from kit.members import common_order_agrees, repeated
from kit.program import KIT, Program
from totemd.testing import Cluster

VICTIM = 1
Event = list[Any]


class Process(Program):
    """A member on a node."""

    def __init__(self, cluster: Cluster, node_id: int, group: str, kind: str, result: Path) -> None:
        self._result = result
        super().__init__(KIT / "numbered.py", cluster[node_id].run_dir, group, kind, result)

    def events(self) -> list[Event]:
        assert self.process.wait(60) == 0
        events: list[Event] = json.loads(self._result.read_text())
        return events


@pytest.mark.parametrize("kind", ["blocking", "asyncio"])
def test_what_is_missing_is_told_and_nothing_comes_twice(
    trio: Cluster, programs: ExitStack, tmp_path: Path, kind: str
) -> None:
    members = {
        node: Process(trio, node, f"numbered {kind}", kind, tmp_path / f"{node}.json") for node in sorted(trio.nodes)
    }
    for member in members.values():
        programs.callback(member.kill)
        member.expect("joined")
    for process in ("cpg", "totem", "cpg"):
        trio[VICTIM].kill_process(process)
        members[VICTIM].expect("back")
        trio.wait_for_ring(trio.nodes)
    for member in members.values():
        member.say()
    logs = {node: member.events() for node, member in members.items()}

    messages = {node: [(each[1], each[2]) for each in log if each[0] == "m"] for node, log in logs.items()}
    for node, log in logs.items():
        assert len(messages[node]) > 1_000, "there was load"
        assert repeated(messages[node]) == []  # type: ignore[arg-type]
        assert sum(each[0] == "r" for each in log) == (3 if node == VICTIM else 0)
        check_gaps(log, own=node)
        for missing, told in missing_of_its_own(log, own=node):
            assert missing == told
        for other in messages.values():
            assert common_order_agrees(messages[node], other)  # type: ignore[arg-type]
    common = min(len(messages[2]), len(messages[3]))
    assert messages[2][-common:] == messages[3][-common:], "who was not away has everything since it joined"


def check_gaps(log: list[Event], own: int) -> None:
    """A sender's numbers follow each other, unless it, or the one who writes, was away in between."""
    expected: dict[int, int] = {}
    for before, event in pairwise([["c", [], [], []], *log]):
        match event:
            case ["m", node, number]:
                assert number == expected.setdefault(node, number), f"{own} missed something of {node} without a word"
                expected[node] += 1
            case ["c", _, joined, left]:
                assert before[0] != "r" or own in joined, "an absence is followed by the own join"
                for node in (*joined, *left):
                    expected.pop(node, None)
            case ["r", _]:
                expected.clear()


def missing_of_its_own(log: list[Event], own: int) -> Iterator[tuple[int, int]]:
    """How many own messages did not come back, and how many were said to, before each that did and at the end."""
    last, told = -1, 0
    for event in log:
        if event[0] == "r":
            told += event[1]  # On a busy machine one absence may follow another before anything comes back.
        elif event[:2] == ["m", own] or event[0] == "e":
            yield event[-1] - last - 1, told
            last, told = event[-1], 0
