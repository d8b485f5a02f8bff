"""`totemctl blackbox`: the flight recorder of this node; replaying and showing need no node at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click

from ...ipc.errors import MalformedMessage, OperationFailed
from ...ipc.messages.control import BlackboxReply, BlackboxRequest
from ..runtime.version import VERSION
from ..totem.recorder.files import core_checksum, destination, read_file, write_file
from ..totem.recorder.format import Header, Kind
from ..totem.recorder.replay import Recording, Replay, Step, read_recording
from ..totem.recorder.story import as_json, told, wall_time
from .asking import Options, command
from .json_stream import streamed_object
from .showing import duration, print_json, show, table

FILE = click.Path(path_type=Path, readable=False)
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|min|h)\Z")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}


@click.group("blackbox")
def blackbox() -> None:
    """The flight recorder: what the ring's core lately saw and did."""


@command("dump")
@click.option("-o", "file", type=FILE, metavar="FILE", help="Copy the dump to FILE as well (mode 0600).")
def dump(options: Options, file: Path | None) -> None:
    """Write what is recorded into a file; the node goes on.  The file is in the state directory."""
    directory = file is not None and os.path.isdir(file)  # Path.is_dir raises for what cannot be looked at
    if file is not None and not directory:
        destination(file)  # what cannot be is refused before anything is written
    with options.executive() as executive:
        reply: BlackboxReply = executive.ask(BlackboxRequest())
    path = Path(reply.path)
    if file is not None:
        target = file / path.name if directory else file
        write_file(target, read_file(path))
        path = target
    if options.as_json:
        print_json({"path": str(path), "bytes": reply.bytes, "seconds": round(reply.seconds, 6)})
    else:
        click.echo(f"wrote the last {duration(reply.seconds)} ({reply.bytes} bytes) to {path}")


@command("show")
@click.argument("file", type=FILE)
def show_header(options: Options, file: Path) -> None:
    """Whose recording FILE is, why it was written, and what is in it."""
    recording = _read(file)
    try:
        facts = _facts(recording)
    except MalformedMessage as error:
        raise MalformedMessage(f"{file}: {error}") from None
    if options.as_json:
        print_json(facts)
    else:
        rows = [(name, line) for name, value in facts.items() for line in (str(value).splitlines() or ["-"])]
        show(table("FIELD", "VALUE", rows=rows))


@command("replay")
@click.argument("file", type=FILE)
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Print the last N inputs only.")
@click.option(
    "--since",
    metavar="WHEN",
    help="Print what came from WHEN on: 2026-01-31T12:00:00, or so long before the end: 250ms, 10s, 5min.",
)
def replay(options: Options, file: Path, last: int | None, since: str | None) -> None:
    """Run the core on the recorded inputs; print its decisions.

    Everything that is recorded is run and compared, whatever is printed.  Exit code 1: something differs.
    """
    recording = _read(file)
    run = Replay(recording)
    try:
        begin = _begin(since, recording)
        first = _first(recording, begin, last)
        wanted = (step for step in run.steps() if step.time >= begin and step.number >= first)
        if options.as_json:
            for text in _as_json(recording.header, wanted, run):
                click.echo(text, nl=False)
        else:
            _warn(recording.header)
            for line in _lines(recording.header, wanted):
                click.echo(line)
            click.echo(_verdict(run))
    except MalformedMessage as error:
        raise MalformedMessage(f"{file}: {error}") from None
    if run.different:
        raise OperationFailed(f"{file}: {run.different} of {run.replayed} inputs did not lead to what was recorded")


for each in (dump, show_header, replay):
    blackbox.add_command(each)


def _read(file: Path) -> Recording:
    try:
        return read_recording(read_file(file))
    except MalformedMessage as error:
        raise MalformedMessage(f"{file}: {error}") from None


def _begin(since: str | None, recording: Recording) -> float:
    """The clock time from which on steps are wanted."""
    if since is None:
        return float("-inf")
    if (span := _SPAN.match(since)) is not None:
        end = max((record.time for record in recording.records()), default=0.0)
        return end - float(span[1]) * _UNIT_SECONDS[span[2]]
    try:
        moment = datetime.fromisoformat(since).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{since!r} is neither a time (2026-01-31T12:00:00) nor a span (250ms, 10s, 5min, 1h)", param_hint="--since"
        ) from None
    return moment.timestamp() - recording.header.wall + recording.header.clock


def _first(recording: Recording, begin: float, last: int | None) -> int:
    """The number of the first step that is wanted of those from *begin* on: counted, so that no step is kept."""
    if last is None:
        return 0
    found = sum(record.time >= begin for record in recording.inputs())
    numbers = (number for number, record in enumerate(recording.inputs()) if record.time >= begin)
    return next(islice(numbers, max(0, found - last), None), 0)


def _lines(header: Header, steps: Iterable[Step]) -> Iterator[str]:
    before: float | None = None
    for step in steps:
        yield from told(step, header, before)
        before = step.time


def _verdict(run: Replay) -> str:
    skipped = f" ({run.skipped} before the first checkpoint could not be)" if run.skipped else ""
    outcome = f"{run.different} DIFFER from the recording" if run.different else "same effects as recorded"
    return f"{run.replayed} inputs replayed{skipped}: {outcome}"


def _warn(header: Header) -> None:
    if header.core != core_checksum():
        click.echo(
            f"totemctl: recorded by another version of the core (totemd {header.software}, {header.core or 'unknown'}; "
            f"here {VERSION}, {core_checksum() or 'unknown'}): differences may come from that",
            err=True,
        )


def _as_json(header: Header, steps: Iterable[Step], run: Replay) -> Iterator[str]:
    return streamed_object(
        {"node_id": header.node_id, "same_core": header.core == core_checksum()},
        "inputs",
        (as_json(step, header) for step in steps),
        lambda: {"replayed": run.replayed, "skipped": run.skipped, "different": run.different},
    )


def _facts(recording: Recording) -> dict[str, Any]:
    header = recording.header
    kinds = dict.fromkeys(Kind, 0)
    first = last = None
    for record in recording.records():
        kinds[record.kind] += 1
        first, last = record.time if first is None else first, record.time
    span = (wall_time(header, time).isoformat() if time is not None else "" for time in (first, last))
    return {
        "node_id": header.node_id,
        "cluster": header.cluster,
        "software": f"totemd {header.software}",
        "core": header.core,
        "same_core": header.core == core_checksum(),
        "python": header.python,
        "pid": header.pid,
        "boot_sequence": header.boot_sequence,
        "reason": header.reason or "(still being recorded, or of a process that was killed)",
        "dumped": wall_time(header, header.dumped - header.wall + header.clock).isoformat() if header.dumped else "",
        "first": next(span),
        "last": next(span),
        "segments": len(recording.segments),
        "checkpoints": kinds[Kind.CHECKPOINT],
        "frames": kinds[Kind.FRAME],
        "packets": kinds[Kind.PACKET],
        "submissions": kinds[Kind.SUBMISSION],
        "timers": kinds[Kind.EXPIRY],
        "calls": kinds[Kind.CALL],
    }
