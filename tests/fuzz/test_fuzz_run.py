"""The long run around the targets: what it does about a fuzzer that hangs, one that finds something, and misuse."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from fuzzkit.table import CORPUS, TARGETS

RUN = Path(__file__).resolve().with_name("run.py")
DOCS = RUN.parents[2] / "docs" / "testing.md"

HANGS = "import time\nwhile True:\n    time.sleep(1)"
SUCCEEDS = "print('stat::number_of_executed_units: 7')"
FINDS = """
import sys
(prefix,) = (each.partition("=")[2] for each in sys.argv if each.startswith("-artifact_prefix="))
open(prefix + "crash-1", "wb").write(b"what broke it")
sys.exit(77)
"""
MERGES_NOTHING = "import sys; sys.exit(1)"


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], ModuleType]:
    """The script as a module, with programs in the place of fuzzers and directories of its own."""

    def load(programs: dict[str, str]) -> ModuleType:
        spec = importlib.util.spec_from_file_location("fuzz_run", RUN)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)

        def corpus(name: str) -> Path:
            folder = tmp_path / "corpus" / name
            folder.mkdir(parents=True, exist_ok=True)
            return folder

        def one(name: str) -> list[str]:
            # Nobody waits for the one that hangs; the others may be slow to start on a busy machine.
            monkeypatch.setattr(module, "GRACE_SECONDS", 0.5 if programs[name] is HANGS else 60.0)
            return [sys.executable, "-c", programs[name]]

        monkeypatch.setattr(module, "WORK", tmp_path / "work")
        monkeypatch.setattr(module, "_one", one)
        monkeypatch.setattr(module, "_corpus", corpus)
        return module

    return load


def test_a_fuzzer_that_hangs_fails_alone(
    runner: Callable[[dict[str, str]], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    run = runner({"one": HANGS, "two": SUCCEEDS})
    assert run.fuzz(["one", "two"], 0.5) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert "FAILED (it hangs: killed after 1 s)" in first and first.startswith("one ")
    assert second.split() == ["two", "7", "inputs", "ok"]


def test_a_finding_goes_into_the_corpus(
    runner: Callable[[dict[str, str]], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runner({"one": FINDS, "two": SUCCEEDS})
    assert run.fuzz(["one", "two"], 0.5) == 1
    (kept,) = (tmp_path / "corpus" / "one").iterdir()
    assert kept.name.startswith("found-") and kept.read_bytes() == b"what broke it"
    first, second, third = capsys.readouterr().out.splitlines()
    assert "FAILED (77)" in first and str(kept) in second and third.endswith("ok")
    assert [each.name for each in (tmp_path / "work").iterdir() if each.name.startswith("findings-")] == []


def test_a_merge_that_fails_is_said_and_the_others_go_on(
    runner: Callable[[dict[str, str]], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    run = runner({"one": MERGES_NOTHING, "two": SUCCEEDS})
    assert run.keep(["one", "two"]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert "FAILED (1)" in first and second.split() == ["two", "0", "of", "0", "kept"]


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="there is no atheris here")
def test_what_was_found_worth_going_on_from_is_merged(tmp_path: Path) -> None:
    """libFuzzer starts itself again for that, as a shell finds its first argument."""
    for name in ("all", "found"):
        (tmp_path / name).mkdir()
    samples = dict.fromkeys(TARGETS["batch"].samples())
    for number, sample in enumerate(samples):
        (tmp_path / "found" / str(number)).write_bytes(sample)
    command = [sys.executable, str(RUN), "one", "batch", str(tmp_path / "all"), str(tmp_path / "found"), "-merge=1"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert {each.read_bytes() for each in (tmp_path / "all").iterdir()} <= samples.keys()
    assert list((tmp_path / "all").iterdir())


@pytest.mark.parametrize("arguments", [["one"], ["one", "nobody"], ["fuzz", "nobody"], ["frobnicate"], []])
def test_usage(arguments: list[str]) -> None:
    if arguments == ["one", "nobody"] and importlib.util.find_spec("atheris") is None:
        pytest.skip("without atheris nothing is looked at")
    command = [sys.executable, str(RUN), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    if "nobody" in arguments:
        assert f"no target nobody; there are {', '.join(TARGETS)}" in done.stderr


def test_the_corpus_has_what_a_fuzzer_found() -> None:
    """Else nobody would notice that what it finds is not kept."""
    assert any(CORPUS.glob("*/fuzz-*"))


def test_every_target_is_in_the_documentation() -> None:
    text = DOCS.read_text(encoding="utf-8")
    listed = text[text.index("| targets of |") : text.index("| who uses the table |")]
    named = [each.strip("`,. ") for line in listed.splitlines()[2:] if line for each in line.split("|")[2].split(",")]
    assert sorted(named) == sorted(TARGETS)
