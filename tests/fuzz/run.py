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
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
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

MERGE_SECONDS_MAX = 600.0
"""For one target; minutes of fuzzing leave some hundred inputs, which take seconds."""

EXIT_USAGE = 2

LIBFUZZER_OPTIONS = ("-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1")
"""An input that takes ten seconds or a gigabyte is a finding."""


def main(arguments: Sequence[str]) -> int:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    if arguments[:1] == ["one"]:
        if len(arguments) < 2:
            parser.error("one: which TARGET?")
        return one(arguments[1], arguments[2:])
    parser.add_argument("what", choices=["fuzz", "samples", "keep"])
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_intermixed_args(arguments)
    from fuzzkit.table import TARGETS  # noqa: PLC0415  -- `one` must not import it before atheris

    if unknown := set(options.targets) - TARGETS.keys():
        parser.error(_no_target(unknown))
    names = options.targets or list(TARGETS)
    if options.what == "samples":
        return samples(names)
    if not _has_atheris():
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
    failed = [name for name in names if not _holds_out(name, seconds)]
    return 1 if failed else 0


def _holds_out(name: str, seconds: float) -> bool:
    """Whether a target kept its promises for so long; the input that broke one goes into the corpus."""
    log = _folder(WORK) / f"{name}.log"
    findings = Path(tempfile.mkdtemp(prefix="findings-", dir=WORK))
    command = [
        *_one(name),
        str(_folder(WORK / name)),
        str(_corpus(name)),
        f"-max_total_time={max(1, int(seconds))}",
        f"-artifact_prefix={findings}/",
    ]
    problem = _problem(command, log, seconds + GRACE_SECONDS)
    said = f"FAILED ({problem}), see {log}" if problem else "ok"
    print(f"{name:32} {_executed(log):>10} inputs  {said}", flush=True)
    for finding in findings.iterdir() if problem else ():
        kept = _corpus(name) / f"found-{_digest(finding.read_bytes())}"
        shutil.copyfile(finding, kept)
        print(f"  kept as {kept}; the test of the corpus fails with it")
    shutil.rmtree(findings)
    return not problem


def _problem(command: Sequence[str], log: Path, seconds: float) -> str:
    """How a fuzzer ended that should have ended well; one that takes longer is killed."""
    with log.open("wb") as output:
        try:
            code = subprocess.run(command, stdout=output, stderr=output, timeout=seconds, check=False).returncode
        except subprocess.TimeoutExpired:
            return f"it hangs: killed after {seconds:.0f} s"
    return str(code) if code else ""


def keep(names: Sequence[str]) -> int:
    """Let libFuzzer choose what reaches code that the corpus does not, and take the small ones."""
    failed = False
    for name in names:
        corpus = _corpus(name)
        with tempfile.TemporaryDirectory(prefix="merged-", dir=_folder(WORK)) as merged:
            for file in corpus.iterdir():
                shutil.copyfile(file, Path(merged) / file.name)
            before = {file.name for file in corpus.iterdir()}
            command = [*_one(name), merged, str(_folder(WORK / name)), "-merge=1"]
            problem = _problem(command, log := WORK / f"{name}.merge.log", MERGE_SECONDS_MAX)
            found = sorted((file.read_bytes() for file in Path(merged).iterdir() if file.name not in before), key=len)
        if problem:
            failed = True
            print(f"{name:32} FAILED ({problem}), see {log}", flush=True)
            continue
        small = [data for data in found if len(data) <= KEPT_BYTES_MAX]
        for data in small[:KEPT_FILES_MAX]:
            (corpus / f"fuzz-{_digest(data)}").write_bytes(data)
        print(f"{name:32} {len(small[:KEPT_FILES_MAX])} of {len(found)} kept", flush=True)
    return int(failed)


def one(name: str, options: Sequence[str]) -> int:
    """This process becomes libFuzzer on one target; it returns only if it cannot."""
    if not _has_atheris():
        print(SKIPPED)
        return 0
    import atheris  # noqa: PLC0415

    with atheris.instrument_imports(include=["totemd"]):
        from fuzzkit.table import TARGETS  # noqa: PLC0415
    from fuzzkit.target import INPUT_BYTES_MAX  # noqa: PLC0415

    if name not in TARGETS:
        print(_no_target([name]), file=sys.stderr)
        return EXIT_USAGE
    check = TARGETS[name].check

    def run(data: bytes) -> None:
        check(data)

    # To merge, libFuzzer starts itself again: a shell gets its arguments as they are, the first of them as the program.
    atheris.Setup([shlex.join(_one(name)), *options, f"-max_len={INPUT_BYTES_MAX}", *LIBFUZZER_OPTIONS], run)
    atheris.Fuzz()
    return 0


def _has_atheris() -> bool:
    return importlib.util.find_spec("atheris") is not None


def _no_target(unknown: Iterable[str]) -> str:
    from fuzzkit.table import TARGETS  # noqa: PLC0415

    return f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}"


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
