"""How totemctl shows what it knows: tables for people, JSON with stable keys for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click
import msgspec
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ...ipc.ids import RingId, group_text
from ...ipc.messages.control import AppInfo, GroupInfo, Metric, NodeInfo, StatusReply

WIDE = 500
"""Columns of an output that is no terminal: nothing is folded there."""


def print_json(value: Any) -> None:
    """One JSON document.  Not UTF-8: bytes of names that are no text become lone surrogates, escaped."""
    click.echo(json.dumps(value, indent=2))


def console() -> Console:
    """Where tables go; without colours and folding when it is no terminal."""
    screen = Console(highlight=False)
    return screen if screen.is_terminal else Console(highlight=False, width=WIDE)


def table(*columns: str, rows: Iterable[Sequence[object]]) -> Table:
    """Columns without lines between them."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(Text(str(cell)) for cell in row))
    return made


def show(*parts: RenderableType) -> None:
    """Print tables and lines."""
    screen = console()
    for part in parts:
        with screen.capture() as captured:
            screen.print(part)
        # Columns are filled up with blanks, which nobody wants at the end of a line that is cut and pasted.
        click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def escaped(name: bytes) -> str:
    """A group's name on one line: what cannot be printed, and the backslash, are escaped."""
    text = group_text(name).replace("\\", "\\\\")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def duration(seconds: float) -> str:
    """For people: `3 d 4 h`, `12 min 5 s`."""
    total = int(seconds)
    units = (("d", total // 86400), ("h", total // 3600 % 24), ("min", total // 60 % 60), ("s", total % 60))
    told = [f"{count} {unit}" for unit, count in units if count]
    return " ".join(told[:2]) or "0 s"


# -- JSON: the keys are part of the interface


def ring_as_json(ring: RingId | None) -> dict[str, int] | None:
    """A ring's name."""
    return None if ring is None else {"representative": ring.representative, "sequence": ring.sequence}


def status_as_json(status: StatusReply) -> dict[str, Any]:
    """Everything in the reply; `ring` is called `ring_id`."""
    plain: dict[str, Any] = msgspec.to_builtins(status)
    ring_id = ring_as_json(status.ring)
    return {
        ("ring_id" if key == "ring" else key): (ring_id if key == "ring" else value)
        for key, value in plain.items()
        if key not in ("type", "request")
    }


def members_as_json(nodes: Iterable[NodeInfo]) -> list[Any]:
    """`[{node_id, name, addresses, state, local}]`."""
    return [msgspec.to_builtins(node) for node in nodes]


def groups_as_json(groups: Iterable[GroupInfo]) -> list[dict[str, Any]]:
    """`[{name, members: [{node_id, pid}]}]`."""
    return [
        {
            "name": group_text(group.name),
            "members": [{"node_id": node_id, "pid": pid} for node_id, pid in group.members],
        }
        for group in groups
    ]


def apps_as_json(apps: Iterable[AppInfo]) -> list[Any]:
    """`[{name, node_id, pid, state, instance, policy}]`."""
    return [msgspec.to_builtins(app) for app in apps]


def metrics_as_json(metrics: Iterable[Metric]) -> list[dict[str, Any]]:
    """`[{name, kind, value, help, labels: {}}]`."""
    return [{**msgspec.to_builtins(metric), "labels": dict(metric.labels)} for metric in metrics]
