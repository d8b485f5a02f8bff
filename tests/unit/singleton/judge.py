"""What must hold of an application that runs on one node at a time; judged in true time, from outside."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from world import Stay


def overlaps(stays: Iterable[Stay]) -> list[tuple[Stay, Stay]]:
    """Pairs that ran at the same time."""
    found, latest = [], None
    for stay in sorted(stays, key=lambda each: each.began):
        if latest is not None and (latest.ended is None or latest.ended > stay.began):
            found.append((latest, stay))
        if latest is None or (latest.ended is not None and (stay.ended is None or stay.ended > latest.ended)):
            latest = stay
    return found


def fences_that_fell(stays: Iterable[Stay]) -> list[tuple[Stay, Stay]]:
    """Pairs in which a later run, of another term, has no higher fence."""
    ordered = sorted(stays, key=lambda each: each.began)
    return [
        (before, after)
        for before, after in itertools.pairwise(ordered)
        if after.fence < before.fence or (after.fence == before.fence and after.node_id != before.node_id)
    ]


def complaints(stays: Iterable[Stay]) -> list[str]:
    """All that is wrong."""
    stays = list(stays)
    return [f"two at once: {pair}" for pair in overlaps(stays)] + [
        f"the fence did not rise: {pair}" for pair in fences_that_fell(stays)
    ]
