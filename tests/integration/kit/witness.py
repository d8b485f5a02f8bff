"""What the file of `witnessed.py` proves: who ran when, whether ever two at a time, whether the fence rose."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """One process of the application, from its first to its last line."""

    began: float
    ended: float
    node_id: int
    pid: int
    fence: int


def runs(path: Path) -> list[Run]:
    """All of them, in the order of their first lines."""
    found: dict[tuple[int, int, int], Run] = {}
    content = path.read_text() if path.exists() else ""
    for line in content.splitlines():
        words = line.split()
        at, (node_id, pid, fence) = float(words[0]), map(int, words[1:])
        before = found.get((node_id, pid, fence))
        found[node_id, pid, fence] = Run(at if before is None else before.began, at, node_id, pid, fence)
    return sorted(found.values())


def last_run(path: Path) -> Run | None:
    """Who wrote last."""
    return max(runs(path), key=lambda run: run.ended, default=None)


def complaints(found: list[Run]) -> list[str]:
    """What must not be: two at a time; a later run with a lower fence, or on another node with the same."""
    wrong = []
    for before, after in itertools.pairwise(found):
        if after.began < before.ended:
            wrong.append(f"two at a time: {before} {after}")
        if after.fence < before.fence or (after.fence == before.fence and after.node_id != before.node_id):
            wrong.append(f"the fence did not rise: {before} {after}")
    return wrong
