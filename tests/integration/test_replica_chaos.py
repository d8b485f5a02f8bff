"""A dictionary and a lock with a majority on real nodes, while processes are killed and the network is cut."""

from __future__ import annotations

import json
import random
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from kit.full import sized
from kit.program import KIT, Program
from totemd.testing import Cluster, wait_until

FAULTS = sized(5, 60)
NODES = (1, 2, 3)
PATIENCE_SECONDS = 60.0


def written(folder: Path) -> list[list[Any]]:
    return [
        json.loads(line)
        for path in sorted(folder.glob("*.json"))
        for line in path.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]


def told(folder: Path, kind: str) -> list[Any]:
    return [value for each, value in written(folder) if each == kind]


@pytest.mark.timeout(240 + 20 * FAULTS)
def test_what_was_acknowledged_is_kept_and_no_fence_is_given_twice(
    trio: Cluster, programs: ExitStack, tmp_path: Path
) -> None:
    chance, lives = random.Random(11), iter(range(10_000))

    def start(node_id: int) -> Program:
        """A replica on a node, whose writings survive it."""
        result = tmp_path / f"{node_id}.{next(lives)}.json"
        process = Program(KIT / "replica_chaos_main.py", trio[node_id].run_dir, len(NODES), result)
        programs.callback(process.kill)
        process.expect("started")
        return process

    running = {node_id: start(node_id) for node_id in NODES}
    for process in running.values():
        process.expect("active")
    for number in range(FAULTS):
        victim = chance.choice(NODES)
        kind = ("replica", "cpg", "partition", "totem", "node")[number % 5]
        match kind:
            case "replica":
                running[victim].kill()
                running[victim] = start(victim)
                running[victim].expect("active")
            case "partition":
                trio.partition([victim], [each for each in NODES if each != victim])
                goes_on(trio, tmp_path)
                trio.heal()
            case "node":
                trio[victim].kill()
                goes_on(trio, tmp_path)
                trio[victim].start()
            case _:
                trio[victim].kill_process(kind)
        trio.wait_for_ring(NODES)
        goes_on(trio, tmp_path)
    for word in ("resting", "told"):
        for process in running.values():
            process.say()
            process.expect(word)
    states, kept, grants = told(tmp_path, "state"), told(tmp_path, "kept"), told(tmp_path, "grant")
    assert len(states) == len(NODES) and states[0] == states[1] == states[2]
    assert set(kept) <= states[0].keys(), "what was acknowledged is there"
    assert states[0]["total"] >= len(kept), "and no sum is lost"
    assert len(set(grants)) == len(grants), "no two ever held the lock with one fence"
    print(f"{len(kept)} keys, {len(grants)} grants through {FAULTS} faults")


def goes_on(cluster: Cluster, folder: Path) -> None:
    """Until somebody has written and held the lock again."""
    kept, grants = len(told(folder, "kept")), len(told(folder, "grant"))
    began = time.monotonic()
    wait_until(
        lambda: len(told(folder, "kept")) > kept and len(told(folder, "grant")) > grants,
        PATIENCE_SECONDS,
        lambda: (
            f"a majority works again (since {time.monotonic() - began:.0f} s); {[each.stands() for each in cluster]}"
        ),
    )
