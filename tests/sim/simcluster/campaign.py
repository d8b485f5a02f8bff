"""A campaign: very many seeds, in pieces, over as many sessions as it takes.

Its progress file has a line of JSON for each piece that is done.  A piece counts only for the sources that it was run
with: all that a run depends on is in their fingerprint (`sources`).
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from simcluster.batch import Kind, Tally, run_range, workers
from simcluster.sources import ROOT, fingerprint

PIECE = 500
"""Seeds of a piece: what is lost when a session ends in the middle of one."""


class Piece(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A range of seeds that was run to its end."""

    sources: str
    """`fingerprint` of what was run."""
    commit: str
    """Where in the history that was, as far as known; `+`: with changes."""
    profile: str
    nodes: tuple[int, int]
    first: int
    last: int
    failed: tuple[int, ...]
    seconds: float
    finished: str
    """Date and time, UTC."""


BEGINNING = b'{"sources":"'
"""How a piece begins as JSON."""

EXPECTED = "a line for each piece that was run is expected"


class BadProgress(Exception):
    """The progress file holds something else."""


def commit(root: Path = ROOT) -> str:
    """The commit that the sources are of; empty where there is no history."""
    try:
        known = subprocess.run(
            ["git", "-C", root, "describe", "--always", "--exclude=*", "--dirty=+"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return known.stdout.strip()


def read(path: Path) -> list[Piece]:
    """The pieces of a progress file; none if there is no such file.  A last line that was cut off is none.

    Raises:
        BadProgress: a line is something else; says which one.
    """
    if not path.exists():
        return []
    lines, _ = _lines(path, path.read_bytes())
    pieces = []
    for number, line in enumerate(lines, 1):
        try:
            pieces.append(msgspec.json.decode(line, type=Piece))
        except msgspec.MsgspecError as problem:
            raise BadProgress(f"{path}:{number}: {problem}; {EXPECTED}") from None
    return pieces


def append(path: Path, piece: Piece) -> None:
    """Write down, durably, that a piece was run.

    Raises:
        BadProgress: the file ends with something else than a piece, whole or cut off; it is left as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        file.seek(0)
        content = file.read()
        _, rest = _lines(path, content)
        file.truncate(len(content) - len(rest))
        file.write(msgspec.json.encode(piece) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _lines(path: Path, content: bytes) -> tuple[list[bytes], bytes]:
    """The lines, and what is left of one that was cut off as it was written: nothing else may be taken for that."""
    *lines, rest = content.split(b"\n")
    if not (rest.startswith(BEGINNING) or BEGINNING.startswith(rest)):
        raise BadProgress(f"{path}:{len(lines) + 1}: neither ends nor begins as a line of it does; {EXPECTED}")
    return lines, rest


def gaps(first: int, last: int, done: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What of first..last is in none of the ranges *done*; all ends included."""
    for start, end in sorted(done):
        if start > first:
            yield first, min(last, start - 1)
        first = max(first, end + 1)
        if first > last:
            return
    yield first, last


def cut(ranges: Iterable[tuple[int, int]], most: int) -> Iterator[tuple[int, int]]:
    """The same ranges in pieces that end before multiples of *most*."""
    for first, last in ranges:
        ends = range(first - first % most + most - 1, last, most)
        yield from zip((first, *(end + 1 for end in ends)), (*ends, last), strict=True)


def run(path: Path, seeds: tuple[int, int], kind: Kind, jobs: int, minutes: float | None) -> int:
    """Run what is missing of *seeds*; start no piece after *minutes*.  Returns how many seeds failed, then or before.

    Raises:
        BadProgress: the file is no progress file.
        WorkerDied: a process was killed; the pieces before this one are in the file.
        OSError: it cannot be read or written, which is found out before anything is run.
    """
    sources, here = fingerprint(), commit()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.open("ab").close()
    before = [piece for piece in read(path) if _counts(piece, kind, sources)]
    missing = list(cut(gaps(*seeds, ((piece.first, piece.last) for piece in before)), PIECE))
    wanted = seeds[1] - seeds[0] + 1
    left = sum(last - first + 1 for first, last in missing)
    failed = {seed for piece in before for seed in piece.failed if seeds[0] <= seed <= seeds[1]}
    print(f"{wanted - left} of {wanted} seeds were run before with these sources ({sources}, commit {here or '?'})")
    total, ends = Tally(), time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    with workers(jobs) as pool:
        for first, last in missing:
            if time.monotonic() >= ends:
                break
            tally = run_range(pool, first, last, kind)
            total.merge(tally)
            finished = datetime.now(UTC).isoformat(timespec="seconds")
            append(
                path,
                Piece(sources, here, kind.profile, kind.nodes, first, last, tuple(tally.failed), tally.took, finished),
            )
            pace = 60 * total.runs / total.took
            print(f"{first}..{last}: {len(tally.failed)} failed; {pace:.0f} seeds a minute, {left - total.runs} left",
                  flush=True)  # fmt: skip
    failed.update(total.failed)
    print(total)
    if left > total.runs:
        print(f"{left - total.runs} seeds are left: the same command goes on with them")
    if failed:
        print(f"failed: {' '.join(map(str, sorted(failed)))}")
    return len(failed)


def told(path: Path) -> Iterator[str]:
    """What a progress file says, for each state of the sources and kind of run, in the order in which they were run.

    Raises:
        BadProgress: it is none.
        OSError: it cannot be read, or there is no such file.
    """
    now = fingerprint()
    path.stat()
    kinds: dict[tuple[str, str, tuple[int, int]], list[Piece]] = {}
    for piece in read(path):
        kinds.setdefault((piece.sources, piece.profile, piece.nodes), []).append(piece)
    for (sources, profile, nodes), pieces in kinds.items():
        runs = sum(piece.last - piece.first + 1 for piece in pieces)
        failed = sorted(seed for piece in pieces for seed in piece.failed)
        seconds = sum(piece.seconds for piece in pieces)
        commits = " ".join(dict.fromkeys(piece.commit for piece in pieces))
        yield (
            f"{sources}{' (these)' if sources == now else ''}, commit {commits or '?'}: {profile}, "
            f"{nodes[0]} to {nodes[1]} nodes: {runs} seeds, {len(failed)} failed"
            f"{' (' + ' '.join(map(str, failed)) + ')' if failed else ''}, {60 * runs / max(seconds, 1):.0f} a minute; "
            f"{pieces[0].finished} to {pieces[-1].finished}"
        )


def _counts(piece: Piece, kind: Kind, sources: str) -> bool:
    return (piece.sources, piece.profile, piece.nodes) == (sources, kind.profile, kind.nodes)
