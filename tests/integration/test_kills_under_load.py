"""The cpg and the totem process of a node are killed while everybody sends: nothing is repeated or silently missing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from kit.command import environment
from kit.members import common_order_agrees, repeated
from totemd.testing import Cluster

PROGRAM = Path(__file__).with_name("kit") / "numbered.py"
VICTIM = 1
Event = list[Any]


class Process:
    """A member on a node."""

    def __init__(self, cluster: Cluster, node_id: int, group: str, kind: str, result: Path) -> None:
        self._result = result
        command = [sys.executable, str(PROGRAM), str(cluster[node_id].run_dir), group, kind, str(result)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment()
        )

    def expect(self, word: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == word

    def finish(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")

    def events(self) -> list[Event]:
        assert self._process.wait(60) == 0
        events: list[Event] = json.loads(self._result.read_text())
        return events

    def kill(self) -> None:
        with self._process:
            self._process.kill()


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("kind", ["blocking", "asyncio"])
def test_what_is_missing_is_told_and_nothing_comes_twice(
    trio: Cluster, processes: ExitStack, tmp_path: Path, kind: str
) -> None:
    members = {
        node: Process(trio, node, f"numbered {kind}", kind, tmp_path / f"{node}.json") for node in sorted(trio.nodes)
    }
    for member in members.values():
        processes.callback(member.kill)
        member.expect("joined")
    for process in ("cpg", "totem", "cpg"):
        trio[VICTIM].kill_process(process)
        members[VICTIM].expect("back")
        trio.wait_for_ring(trio.nodes)
    for member in members.values():
        member.finish()
    logs = {node: member.events() for node, member in members.items()}

    messages = {node: [(each[1], each[2]) for each in log if each[0] == "m"] for node, log in logs.items()}
    for node, log in logs.items():
        assert len(messages[node]) > 1_000, "there was load"
        assert repeated(messages[node]) == []  # type: ignore[arg-type]
        assert sum(each[0] == "r" for each in log) == (3 if node == VICTIM else 0)
        check_gaps(log, own=node)
        for other in messages.values():
            assert common_order_agrees(messages[node], other)  # type: ignore[arg-type]
    common = min(len(messages[2]), len(messages[3]))
    assert messages[2][-common:] == messages[3][-common:], "who was not away has everything since it joined"
    assert missing_of_its_own(logs[VICTIM]) == [each[1] for each in logs[VICTIM] if each[0] == "r"]


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


def missing_of_its_own(log: list[Event]) -> list[int]:
    """How many own messages did not come back, at each absence."""
    missing, last, away = [], -1, 0
    for event in log:
        if event[0] == "r":
            away += 1
        elif event[:2] == ["m", VICTIM]:
            if away:
                missing.append(event[2] - last - 1)
                away = 0
            last = event[2]
    return missing
