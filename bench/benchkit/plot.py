"""A run as a picture, by matplotlib (the optional extra `bench`, docs/decisions/0012-plots-by-matplotlib.md)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .report import Figure, Run, values
from .workload import LATENCY_SIZE, Cell, What, size_name

INCHES = (11.0, 7.5)

MISSING = "no plot: it needs matplotlib, `pip install 'totemd[bench]'`"


def draw(run: Run, nodes: int, paths: Sequence[Path]) -> bool:
    """Draw the figures of one size of cluster into files whose suffixes name the format (svg, png).

    Returns False where there is no matplotlib.
    """
    try:
        import matplotlib  # noqa: PLC0415
        from matplotlib.figure import Figure as Canvas  # noqa: PLC0415
    except ImportError:
        return False
    # The same run gives the same file, so that a picture under version control changes only with its figures.
    with matplotlib.rc_context({"svg.hashsalt": "totemd", "svg.fonttype": "none"}):
        canvas = Canvas(figsize=INCHES, layout="constrained")
        panels = canvas.subplots(2, 2)
        for panel, title, what, key in (
            (panels[0][0], "one sender, MB/s", What.ONE, "megabytes_per_second"),
            (panels[0][1], "a sender on every node, MB/s", What.EVERY, "megabytes_per_second"),
            (panels[1][0], "one sender: CPU of the servers, s per MB", What.ONE, "server_cpu_seconds_per_mb"),
        ):
            panel.set(title=title)
            _lines(panel, run, nodes, what, key)
        _latency(panels[1][1], run, nodes)
        handles, labels = panels[0][0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside upper center", ncols=2)
        for path in paths:
            canvas.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)
    return True


def _lines(panel: Any, run: Run, nodes: int, what: What, key: str) -> None:
    sizes = sorted({each.cell.size for each in run.measured if each.nodes == nodes and each.cell.what is what})
    drawn = False
    for system in run.systems:
        found = {size: values(run, system, nodes, Figure(Cell(what, size), key, "")) for size in sizes}
        points = {size: numbers for size, numbers in found.items() if numbers}
        medians = [statistics.median(numbers) for numbers in points.values()]
        below = [middle - min(numbers) for middle, numbers in zip(medians, points.values(), strict=True)]
        above = [max(numbers) - middle for middle, numbers in zip(medians, points.values(), strict=True)]
        panel.errorbar(list(points), medians, yerr=(below, above), marker="o", capsize=3, label=system)
        drawn = drawn or bool(points)
    panel.set(xscale="log", ylim=(0, None))
    if drawn and key.endswith("_per_mb"):  # falls by orders of magnitude as messages grow
        panel.set(yscale="log", ylim=(None, None))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.get_major_locator().set_params(subs=(1, 2, 5))
        panel.yaxis.set_minor_formatter("")
    panel.set_xticks(sizes, [size_name(size) for size in sizes])
    panel.set_xticks([], minor=True)
    panel.grid(visible=True, alpha=0.3)


def _latency(panel: Any, run: Run, nodes: int) -> None:
    cell = Cell(What.LATENCY, LATENCY_SIZE)
    keys = {"near_p50_us": "back, p50", "near_p99_us": "back, p99", "far_p50_us": "far, p50", "far_p99_us": "far, p99"}
    width = 0.8 / max(1, len(run.systems))
    for place, system in enumerate(run.systems):
        found = [values(run, system, nodes, Figure(cell, key, "")) for key in keys]
        heights = [statistics.median(numbers) if numbers else 0.0 for numbers in found]
        panel.bar([at + place * width for at in range(len(keys))], heights, width, label=system)
    panel.set(title=f"latency of {size_name(LATENCY_SIZE)}, one outstanding, µs")
    panel.set_xticks([at + 0.4 - width / 2 for at in range(len(keys))], list(keys.values()))
    panel.grid(visible=True, axis="y", alpha=0.3)
