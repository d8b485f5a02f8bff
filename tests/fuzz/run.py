#!/usr/bin/env python3
"""The coverage-guided fuzzer (atheris) over the same targets as the tests beside this file.

run.py fuzz --minutes 10 [TARGET ...]   all targets share the time; findings are kept in the corpus, exit code 1
run.py samples                          write the samples of all targets into the corpus
run.py keep [TARGET ...]                add to the corpus what earlier runs found: inputs that reach new code
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = HERE.parents[1] / ".fuzz"
"""Not committed: everything that earlier runs found worth going on from, and logs."""

sys.path.insert(0, str(HERE))

KEPT_FILES_MAX = 12
KEPT_BYTES_MAX = 512
"""`keep` adds at most so many inputs of at most so many bytes to a target's folder."""

SKIPPED = "fuzzing is skipped: atheris is not installed (pip install 'totemd[fuzz]'; it exists for Linux on x86-64)"

GRACE_SECONDS = 120.0
"""A fuzzer that has not ended so long after its time hangs."""

LIBFUZZER_OPTIONS = ("-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1")
"""An input that takes ten seconds or a gigabyte is a finding."""


def main(arguments: Sequence[str]) -> int:
    """What the command line asks for."""
    if arguments[:1] == ["one"]:
        return one(arguments[1], arguments[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["fuzz", "samples", "keep"])
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_intermixed_args(arguments)
    from fuzzkit.table import TARGETS  # noqa: PLC0415  -- `one` must not import it before atheris

    if unknown := set(options.targets) - TARGETS.keys():
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    names = options.targets or list(TARGETS)
    if options.what == "samples":
        return samples(names)
    if importlib.util.find_spec("atheris") is None:
        print(SKIPPED)
        return 0
    return keep(names) if options.what == "keep" else fuzz(names, options.minutes * 60 / len(names))


def samples(names: Sequence[str]) -> int:
    """Write the samples; those of an earlier version go."""
    from fuzzkit.table import CORPUS, TARGETS  # noqa: PLC0415

    for name in names:
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("sample-*"):
            old.unlink()
        for number, data in enumerate(dict.fromkeys(TARGETS[name].samples())):
            (folder / f"sample-{number:02}").write_bytes(data)
    return 0


def fuzz(names: Sequence[str], seconds: float) -> int:
    """One target after the other, each in a process of its own, which ends at its first finding."""
    failed = []
    for name in names:
        log = WORK / f"{name}.log"
        command = [
            *_one(name),
            str(_folder(WORK / name)),
            str(_corpus(name)),
            f"-max_total_time={max(1, int(seconds))}",
        ]
        findings = Path(tempfile.mkdtemp(prefix="findings-", dir=WORK))
        with log.open("wb") as output:
            code = subprocess.run(
                [*command, f"-artifact_prefix={findings}/"],
                stdout=output,
                stderr=output,
                timeout=seconds + GRACE_SECONDS,
                check=False,
            ).returncode
        print(
            f"{name:32} {_executed(log):>10} inputs  {'ok' if code == 0 else f'FAILED ({code}), see {log}'}", flush=True
        )
        if code != 0:
            failed.append(name)
            for finding in findings.iterdir():
                kept = _corpus(name) / f"found-{_digest(finding.read_bytes())}"
                shutil.copyfile(finding, kept)
                print(f"  kept as {kept}; the test of the corpus fails with it")
        shutil.rmtree(findings)
    return 1 if failed else 0


def keep(names: Sequence[str]) -> int:
    """Let libFuzzer choose what reaches code that the corpus does not, and take the small ones."""
    for name in names:
        corpus = _corpus(name)
        with tempfile.TemporaryDirectory(prefix="merged-", dir=_folder(WORK)) as merged:
            for file in corpus.iterdir():
                shutil.copyfile(file, Path(merged) / file.name)
            before = {file.name for file in corpus.iterdir()}
            command = [*_one(name), merged, str(_folder(WORK / name)), "-merge=1"]
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            found = sorted((file.read_bytes() for file in Path(merged).iterdir() if file.name not in before), key=len)
        small = [data for data in found if len(data) <= KEPT_BYTES_MAX]
        for data in small[:KEPT_FILES_MAX]:
            (corpus / f"fuzz-{_digest(data)}").write_bytes(data)
        print(f"{name:32} {len(small[:KEPT_FILES_MAX])} of {len(found)} kept", flush=True)
    return 0


def one(name: str, options: Sequence[str]) -> int:
    """This process becomes libFuzzer on one target; it does not return."""
    import atheris  # noqa: PLC0415

    with atheris.instrument_imports(include=["totemd"]):
        from fuzzkit.table import TARGETS  # noqa: PLC0415
    from fuzzkit.target import INPUT_BYTES_MAX  # noqa: PLC0415

    check = TARGETS[name].check

    def run(data: bytes) -> None:
        check(data)

    atheris.Setup([sys.argv[0], *options, f"-max_len={INPUT_BYTES_MAX}", *LIBFUZZER_OPTIONS], run)
    atheris.Fuzz()
    return 0


def _one(name: str) -> list[str]:
    return [sys.executable, str(Path(__file__).resolve()), "one", name]


def _corpus(name: str) -> Path:
    from fuzzkit.table import CORPUS  # noqa: PLC0415

    return _folder(CORPUS / name)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def _executed(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return next((line.split()[-1] for line in lines if line.startswith("stat::number_of_executed_units")), "?")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
