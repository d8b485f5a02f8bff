"""`totemctl blackbox` without a node: words, JSON, filters, exit codes."""

from __future__ import annotations

import gc
import json
import os
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from recorderkit import HEADER, dump, live, recorded
from totemd.executive.control.main import main
from totemd.executive.totem.recorder.files import core_checksum
from totemd.executive.totem.recorder.format import (
    RECORD,
    Kind,
    Segment,
    decode_records,
    encode_dump,
    encode_header,
)


class Done(NamedTuple):
    code: int
    out: str
    err: str


Blackbox = Callable[..., Done]
SAME_CORE = msgspec.structs.replace(HEADER, core=core_checksum())


@pytest.fixture
def blackbox(capsys: pytest.CaptureFixture[str]) -> Blackbox:
    def run(*arguments: object) -> Done:
        capsys.readouterr()
        code = main(["--run-dir", "/nowhere", "blackbox", *map(str, arguments)])
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    ring = recorded()
    live(ring, rounds=3)
    path = tmp_path / "dump"
    path.write_bytes(dump(ring, SAME_CORE))
    return path


def steps(out: str) -> list[str]:
    return [line for line in out.splitlines() if "  #" in line]


def test_show(blackbox: Blackbox, file: Path) -> None:
    told = json.loads(blackbox("show", "--json", file).out)
    assert (told["node_id"], told["pid"], told["cluster"], told["reason"]) == (1, 4711, "test", "a test")
    assert (told["submissions"], told["checkpoints"], told["same_core"]) == (3, 1, True)
    assert datetime.fromisoformat(told["first"]) == datetime.fromtimestamp(HEADER.wall, UTC)
    lines = blackbox("show", file).out.splitlines()
    assert lines[0].split() == ["FIELD", "VALUE"]
    assert "submissions    3" in lines


def test_replay_tells_what_was_decided(blackbox: Blackbox, file: Path) -> None:
    done = blackbox("replay", file)
    assert (done.code, done.err) == (0, "")
    assert "#0  start()" in steps(done.out)[0]
    assert "    state     gather -> commit  ring 1.1 -> 1.5" in done.out.splitlines()
    assert "reaction  loopback_arrives" in done.out
    assert "effect    regular configuration 1.5: members 1 survivors 1 joined -" in done.out
    assert "submission of 23 bytes by service 2, agreed, application lane" in done.out
    assert done.out.splitlines()[-1] == f"{len(steps(done.out))} inputs replayed: same effects as recorded"


def test_filters_choose_what_is_printed_not_what_is_run(blackbox: Blackbox, file: Path) -> None:
    everything = blackbox("replay", file)
    some = blackbox("replay", file, "--last", "4")
    assert steps(some.out)[1:] == steps(everything.out)[-3:]
    assert some.out.splitlines()[-1] == everything.out.splitlines()[-1]
    moment = datetime.fromtimestamp(HEADER.wall).isoformat()
    assert len(steps(blackbox("replay", file, "--since", moment).out)) == len(steps(everything.out))
    assert steps(blackbox("replay", file, "--since", "2100-01-01").out) == []
    assert 0 < len(steps(blackbox("replay", file, "--since", "1ms").out)) < len(steps(everything.out))
    assert len(steps(blackbox("replay", file, "--since", "1h").out)) == len(steps(everything.out))
    wrong = blackbox("replay", file, "--since", "yesterday")
    assert wrong.code == 2 and "250ms, 10s, 5min, 1h" in wrong.err


def test_replay_for_programs(blackbox: Blackbox, file: Path) -> None:
    told = json.loads(blackbox("replay", "--json", file, "--last", "2").out)
    assert told.keys() == {"node_id", "same_core", "inputs", "replayed", "skipped", "different"}
    assert len(told["inputs"]) == 2
    assert told["inputs"][0].keys() == {
        *("number", "time", "clock", "input", "sender", "given", "reaction", "counted"),
        *("before", "after", "effects", "problem", "note"),
    }


def test_a_number_of_inputs_has_no_upper_bound(blackbox: Blackbox, file: Path) -> None:
    everything = blackbox("replay", file)
    assert blackbox("replay", file, "--last", "9" * 23) == everything
    assert blackbox("replay", file, "--last", len(steps(everything.out))) == everything
    assert blackbox("replay", file, "--since", "9" * 400 + "h") == everything
    assert blackbox("replay", file, "--since", "0001-01-01").code == 2, "before the first year, in some time zones"


def test_the_last_of_those_that_are_wanted(blackbox: Blackbox, file: Path) -> None:
    recent = steps(blackbox("replay", file, "--since", "1h").out)
    assert steps(blackbox("replay", file, "--since", "1h", "--last", 2).out)[1:] == recent[-1:]
    few = steps(blackbox("replay", file, "--since", "1ms").out)
    assert steps(blackbox("replay", file, "--since", "1ms", "--last", len(recent)).out) == few


def test_inputs_that_cannot_be_replayed_are_none_of_the_last(blackbox: Blackbox, tmp_path: Path) -> None:
    """The first segment has no checkpoint: what is in it counts, and has no step."""
    ring = recorded(64_000)
    live(ring, rounds=60)
    assert ring.tape is not None
    first, *others = ring.tape.segments()
    checkpoint = next(decode_records(first))
    records = first.records[RECORD.size + len(checkpoint.body) :]
    path = tmp_path / "dump"
    path.write_bytes(encode_dump(SAME_CORE, [Segment(first.generation, records), *others]))
    everything = json.loads(blackbox("replay", "--json", path).out)
    assert everything["skipped"] > 0 and len(everything["inputs"]) == everything["replayed"]
    few = json.loads(blackbox("replay", "--json", path, "--last", 3).out)
    assert few == {**everything, "inputs": everything["inputs"][-3:]}
    more = json.loads(blackbox("replay", "--json", path, "--last", everything["replayed"] + 1).out)
    assert more == everything


def test_a_document_takes_less_memory_than_it_has_text(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded however long a recording is: inputs are printed one by one."""
    ring = recorded()
    live(ring, rounds=100)
    file.write_bytes(dump(ring, SAME_CORE))
    thresholds = gc.get_threshold()
    gc.set_threshold(700, 10, 10)  # another test may have started a process of ours here, which collects seldom
    with (file.parent / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        tracemalloc.start()
        try:
            assert main(["blackbox", "replay", "--json", str(file)]) == 0
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.set_threshold(*thresholds)
    text = (file.parent / "out").read_text()
    told = json.loads(text)
    assert told["replayed"] == len(told["inputs"]) > 1000
    assert json.dumps(told, indent=2) + "\n" == text
    assert peak < len(text) / 2


def test_a_document_that_breaks_off_is_none(blackbox: Blackbox, file: Path) -> None:
    """Else a program that does not look at the exit code would take half a story for the whole."""
    ring = recorded()
    live(ring, rounds=2)
    assert ring.tape is not None
    ring.tape.complete(ring.tape.append(Kind.PACKET, 99.0, 2, b"\xc1 no packet"), 0)
    file.write_bytes(dump(ring, SAME_CORE))
    done = blackbox("replay", "--json", file)
    assert done.code == 1 and done.err.startswith(f"totemctl: {file}: ")
    assert '"number": 0' in done.out
    with pytest.raises(json.JSONDecodeError):
        json.loads(done.out)


def test_a_dump_goes_into_a_regular_file_only(blackbox: Blackbox, tmp_path: Path) -> None:
    """Which is looked at before the node is asked for anything."""
    os.mkfifo(tmp_path / "fifo")
    for verb in (("dump", "-o"), ("show",), ("replay",)):
        done = blackbox(*verb, tmp_path / "fifo")
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(f"totemctl: {tmp_path / 'fifo'}: a FIFO, and a recording is ")
    too_long = blackbox("dump", "-o", tmp_path / ("n" * 256))
    assert (too_long.code, too_long.err.count("\n")) == (1, 1)
    assert "cannot be written: File name too long" in too_long.err
    for possible in (tmp_path, tmp_path / "new"):
        assert "totemd is not running here" in blackbox("dump", "-o", possible).err


def test_a_difference_is_shown_and_fails(blackbox: Blackbox, tmp_path: Path) -> None:
    ring = recorded()
    live(ring, rounds=2)
    assert ring.tape is not None
    ring.tape.complete(ring.tape.append(Kind.EXPIRY, 99.0, 0, b""), 12345)
    path = tmp_path / "dump"
    path.write_bytes(dump(ring, SAME_CORE))
    done = blackbox("replay", path)
    assert done.code == 1
    assert "    DIFFERENT other effects than recorded" in done.out.splitlines()
    assert done.out.splitlines()[-1].endswith("1 DIFFER from the recording")
    assert done.err.startswith(f"totemctl: {path}: 1 of ")


def test_another_core_is_said(blackbox: Blackbox, file: Path) -> None:
    ring = recorded()
    live(ring, rounds=1)
    file.write_bytes(dump(ring, HEADER))
    done = blackbox("replay", file)
    assert done.code == 0
    assert "another version of the core" in done.err


def test_refusals_are_one_line_that_names_the_file(blackbox: Blackbox, file: Path, tmp_path: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])
    for verb in ("show", "replay"):
        done = blackbox(verb, file)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(f"totemctl: {file}: the recording is cut off at byte ")
        assert done.err.count("\n") == 1
    file.write_bytes(encode_header(HEADER))
    assert blackbox("show", file).err == f"totemctl: {file}: the recording is empty\n"
    assert "No such file" in blackbox("show", tmp_path / "nowhere").err
    assert "Is a directory" in blackbox("replay", tmp_path).err
    assert "totemd is not running here" in blackbox("dump").err


def test_usage(blackbox: Blackbox) -> None:
    for arguments in ((), ("replay",), ("show", "a", "b"), ("frobnicate",)):
        assert blackbox(*arguments).code == 2
    assert blackbox("--help").code == 0
