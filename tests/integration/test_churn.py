"""Ten groups, processes on three nodes that come, go and die by chance: what each saw is compared (C1 to C8, C15)."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import totemd
from kit.full import sized
from kit.program import KIT, Program
from totemd.testing import Cluster

PER_NODE = sized(3, 10)
SECONDS = sized(12, 180)
KILL_EVERY_SECONDS = 1.5
ALIGNED_AT_LEAST = 50

Membership = tuple[tuple[int, int], list[list[Any]]]
"""Whose, and what it saw; from its own join on."""


class Process(Program):
    """One of them."""

    def __init__(self, cluster: Cluster, node_id: int, seed: int, folder: Path) -> None:
        self.node_id, self._result = node_id, folder / f"{seed}.json"
        super().__init__(KIT / "churner.py", cluster[node_id].run_dir, seed, self._result)
        self.expect("ready")

    def memberships(self) -> dict[str, list[Membership]]:
        found: dict[tuple[str, int], list[list[Any]]] = defaultdict(list)
        for line in self._result.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                name, membership, event = json.loads(line)
                found[name, membership].append(event)
        by_group: dict[str, list[Membership]] = defaultdict(list)
        for (name, _), events in found.items():
            by_group[name].append(((self.node_id, self.pid), events))
        return by_group


@pytest.mark.timeout(120 + 3 * SECONDS)
def test_everybody_saw_the_same(trio: Cluster, programs: ExitStack, tmp_path: Path) -> None:
    chance, seeds = random.Random(7), itertools.count()

    def start(node_id: int) -> Process:
        process = Process(trio, node_id, next(seeds), tmp_path)
        programs.callback(process.kill)
        return process

    running = [start(node.node_id) for node in trio for _ in range(PER_NODE)]
    everybody = list(running)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        time.sleep(KILL_EVERY_SECONDS)  # The pace of the faults is part of the test.
        victim = running.pop(chance.randrange(len(running)))
        victim.kill()
        running.append(start(victim.node_id))
        everybody.append(running[-1])
    trio[2].kill_process("cpg")
    trio.wait_for_ring({1, 2, 3})
    for process in running:
        process.end()
    memberships: dict[str, list[Membership]] = defaultdict(list)
    for process in everybody:
        for name, found in process.memberships().items():
            memberships[name] += found
    aligned = 0
    for name, found in memberships.items():
        for who, events in found:
            check_one(name, who, events)
        aligned += check_all(name, found)
    assert aligned >= ALIGNED_AT_LEAST, f"{aligned} pairs had something in common"
    print(f"{len(everybody)} processes, {sum(map(len, memberships.values()))} memberships, {aligned} pairs compared")


def check_one(name: str, who: tuple[int, int], events: list[list[Any]]) -> None:
    """The own join first, memberships that follow from each other, numbers that grow, nothing after the own leave."""
    kind, members, joined, _ = events[0]
    assert kind == "c" and [*who, totemd.Reason.JOIN] in joined, f"{who} in {name!r} begins with {events[0]}"
    last: dict[tuple[int, int], int] = {}
    present = {tuple(each[:2]) for each in members}
    for index, event in enumerate(events[1:], 1):
        if event[0] == "m":
            sender = (event[1], event[2])
            assert sender in present, f"{who} in {name!r} heard {sender}, which is no member"
            assert event[3] > last.get(sender, 0), f"{who} in {name!r}: not in order, or twice: {event}"
            last[sender] = event[3]
        elif event[0] == "c":
            came, went = ({tuple(each[:2]) for each in part} for part in event[2:])
            assert event[1] == sorted(event[1])
            assert {tuple(each[:2]) for each in event[1]} == (present - went) | came
            present = (present - went) | came
            assert who in present or events[index + 1 :] in ([], [["end", "left"]])
        else:
            assert index == len(events) - 1


def check_all(name: str, found: list[Membership]) -> int:
    """Whoever got a message saw the same around it: up to the messages before and after it, or for as long as it was
    there.  So any two saw the same for as long as both were there.  Returns how many pairs of members were compared.
    """
    seen: dict[tuple[Any, ...], tuple[tuple[int, int], list[list[Any]], int]] = {}
    pairs = set()
    for number, (who, everything) in enumerate(found):
        events = [each for each in everything if each[0] != "end"]
        places = [index for index, each in enumerate(events) if each[0] == "m"]
        for before, place, after in zip([0, *places], places, [*places[1:], len(events)], strict=False):
            around = {"before": events[before:place][::-1], "after": events[place + 1 : after + 1]}
            for side, mine in around.items():
                key = (side, *events[place])
                other, theirs, first = seen.setdefault(key, (who, mine, number))
                differs = next((each for each in zip(mine, theirs, strict=False) if each[0] != each[1]), None)
                assert differs is None, f"{who} and {other} in {name!r} differ {side} {events[place]}: {differs}"
                if len(mine) > len(theirs):
                    seen[key] = (who, mine, number)
                if first != number:
                    pairs.add((first, number))
    return len(pairs)


def _message(number: int) -> list[Any]:
    return ["m", 1, 5, number]


def _change(*members: int) -> list[Any]:
    return ["c", list(members), [], []]


OLDEST = [
    _change(1),
    _message(1),
    _message(2),
    _change(1, 2),
    _message(3),
    _change(1, 2, 3),
    _message(4),
    _change(1, 2),
]
SECOND = [_change(1, 2), _message(3), _change(1, 2, 3), _message(4), ["end", "away"]]
THIRD = [_change(1, 2, 3), _message(4), _change(1, 2), ["end", "left"]]


@pytest.mark.parametrize(
    "wrong",
    [
        [_change(1, 2), _message(3), _message(4)],
        [_change(1, 2), _message(3), _change(1, 2, 3), _message(4), _message(5)],
        [_change(1, 2, 9), _message(3)],
        [_change(1, 2), _message(4), _message(3)],
    ],
    ids=["a change is missing", "a message too many", "another change", "another order"],
)
def test_the_comparison_sees_a_difference(wrong: list[list[Any]]) -> None:
    found = [((node, 10), events) for node, events in enumerate((OLDEST, SECOND, THIRD), 1)]
    for order in itertools.permutations(found):
        assert check_all("g", list(order)) >= len(found) - 1
    for pair in itertools.permutations([found[0], ((4, 10), wrong)]):
        with pytest.raises(AssertionError, match="differ"):
            check_all("g", list(pair))
