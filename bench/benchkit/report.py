"""Runs as JSON, and what they say: medians, ratios taken round by round, tables."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from .systems import Sample
from .workload import Cell, What

FOREIGN_SHARE_MAX = 0.10
"""A sample during which others used more of the machine is left out where there are `CLEAN_SAMPLES_MIN` better ones."""

CLEAN_SAMPLES_MIN = 2

SMALL_BYTES = 1_600
"""Up to this size a flood is told in messages, above it in megabytes."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One sample with where it belongs."""

    round: int
    system: str
    nodes: int
    cell: Cell
    sample: Sample


@dataclass(slots=True)
class Run:
    """Everything that was measured together."""

    about: dict[str, Any] = field(default_factory=dict)
    """Machine, commit, versions, commands."""
    measured: list[Measured] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """In words: what has no figure, and why."""

    @property
    def rounds(self) -> int:
        """So many were begun."""
        return max((each.round for each in self.measured), default=0)

    @property
    def systems(self) -> list[str]:
        """In the order in which they were measured first."""
        return list(dict.fromkeys(each.system for each in self.measured))

    @property
    def clusters(self) -> list[int]:
        """Numbers of nodes."""
        return sorted({each.nodes for each in self.measured})

    def samples(self, system: str, nodes: int, cell: Cell) -> dict[int, Sample]:
        """Of one cell, by round."""
        return {
            each.round: each.sample
            for each in self.measured
            if (each.system, each.nodes, each.cell) == (system, nodes, cell)
        }

    def save(self, path: Path) -> None:
        """As JSON."""
        samples = [
            {
                "round": each.round,
                "system": each.system,
                "nodes": each.nodes,
                "what": each.cell.what.value,
                "size": each.cell.size,
                **each.sample,
            }
            for each in self.measured
        ]
        path.write_text(json.dumps({**self.about, "samples": samples, "failures": self.failures}, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Run:
        """What `save` wrote."""
        about = json.loads(path.read_text())
        measured = []
        for sample in about.pop("samples"):
            round_, system, nodes, what, size = (
                sample.pop(key) for key in ("round", "system", "nodes", "what", "size")
            )
            measured.append(Measured(round_, system, nodes, Cell(What(what), size), sample))
        return cls(about, measured, about.pop("failures"))


class Figure(NamedTuple):
    """A line of the tables: one figure of a cell."""

    cell: Cell
    key: str
    title: str


def figures(cells: Iterable[Cell]) -> list[Figure]:
    """The lines that a reader wants, in their order."""
    cells = list(dict.fromkeys(cells))
    lines = [line for cell in cells for line in _throughput_and_latency(cell)]
    for unit, word in (("100k", "100,000 messages"), ("mb", "MB")):
        for who in ("server", "member"):
            key, title = f"{who}_cpu_seconds_per_{unit}", f"CPU s per {word}, {who}s: "
            lines += [Figure(cell, key, title + str(cell)) for cell in cells if _is_flood(cell) and _fits(cell, unit)]
    for cell in cells:
        match cell.what:
            case What.CONNECT:
                lines += [Figure(cell, f"{verb}_ms", f"a client's {verb}, ms") for verb in ("connect", "join")]
            case What.REST:
                lines.append(Figure(cell, "cpu_percent_per_node", "CPU of a node at rest, %"))
                lines.append(Figure(cell, "rss_mib_per_node", "RSS of a node at rest, MiB"))
            case What.LOADED:
                lines.append(Figure(cell, "rss_mib_per_node", "RSS of a node after load, MiB"))
    return lines


def _throughput_and_latency(cell: Cell) -> list[Figure]:
    if cell.what is What.LATENCY:
        return [
            Figure(cell, f"{place}_{point}_us", f"{cell}, {words}: {point}, µs")
            for place, words in (("near", "there and back"), ("far", "at the slowest other node"))
            for point in ("p50", "p99")
        ]
    if not _is_flood(cell):
        return []
    small = cell.size <= SMALL_BYTES
    key, unit = ("messages_per_second", "messages/s") if small else ("megabytes_per_second", "MB/s")
    return [Figure(cell, key, f"{cell}, {unit}")]


def _is_flood(cell: Cell) -> bool:
    return cell.what in (What.ONE, What.EVERY)


def _fits(cell: Cell, unit: str) -> bool:
    return (cell.size <= SMALL_BYTES) == (unit == "100k")


def clean(samples: Sequence[Sample]) -> list[Sample]:
    """Those during which others left the machine alone, if there are enough of them."""
    good = [sample for sample in samples if sample.get("foreign_share", 0.0) <= FOREIGN_SHARE_MAX]
    return good if len(good) >= CLEAN_SAMPLES_MIN else list(samples)


def values(run: Run, system: str, nodes: int, figure: Figure) -> list[float]:
    """Of all rounds that count."""
    samples = clean(list(run.samples(system, nodes, figure.cell).values()))
    return [sample[figure.key] for sample in samples if figure.key in sample]


def ratios(run: Run, ours: str, base: str, nodes: int, figure: Figure) -> list[float]:
    """Ours to the base's, of each round that has both; the two were measured minutes apart at the most."""
    mine, theirs = (run.samples(system, nodes, figure.cell) for system in (ours, base))
    pairs = [
        (mine[number], theirs[number])
        for number in sorted(mine.keys() & theirs.keys())
        if figure.key in mine[number] and theirs[number].get(figure.key)
    ]
    quiet = [pair for pair in pairs if all(each.get("foreign_share", 0.0) <= FOREIGN_SHARE_MAX for each in pair)]
    chosen = quiet if len(quiet) >= CLEAN_SAMPLES_MIN else pairs
    return [left[figure.key] / right[figure.key] for left, right in chosen]


def spread(numbers: Sequence[float]) -> str:
    """Median, and least and most in brackets: `7.2 (6.1–8)`; a dash where there is nothing."""
    if not numbers:
        return "–"
    middle = number(statistics.median(numbers))
    return middle if len(numbers) == 1 else f"{middle} ({number(min(numbers))}–{number(max(numbers))})"


def number(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 999.5:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def tables(run: Run, ours: str) -> str:
    """Markdown: a table for each size of cluster, with the ratio of *ours* beside every other system."""
    parts = [_table(run, ours, nodes) for nodes in run.clusters]
    if run.failures:
        parts.append("### No figure\n\n" + "".join(f"- {failure}\n" for failure in run.failures))
    return "\n".join(parts)


def _table(run: Run, ours: str, nodes: int) -> str:
    others = [system for system in run.systems if system != ours]
    rows = []
    for figure in figures(each.cell for each in run.measured if each.nodes == nodes):
        row = [figure.title, spread(values(run, ours, nodes, figure))]
        for other in others:
            row.append(spread(values(run, other, nodes, figure)))
            row.append(spread(ratios(run, ours, other, nodes, figure)))
        rows.append(row)
    head = [f"{nodes} node{'s' * (nodes > 1)}", ours, *(title for other in others for title in (other, "ratio"))]
    return "".join(map(_row, [head, ["---"] * len(head), *rows]))


def _row(fields: Sequence[str]) -> str:
    return "| " + " | ".join(fields) + " |\n"
