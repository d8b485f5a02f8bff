#!/usr/bin/env python3
"""How soon, and at what price, declared applications are started again: `bench/supervision.py`.

One node, applications in its configuration, each a tiny C program (`benchkit/kept.c`, compiled here) so that its own
start costs little.  Back-off is off, as it is for others who are measured.

- *crash*: from kill -9 of one application to the first instruction of its successor; alone, and among 100.
- *flap*: restarts a second in all when 100 applications end at once, always.
- *hang*: from the last sign of life to the successor's first instruction; a second without one is a failure.  Once
  with sd_notify's heartbeats; once in Python by the client library's health checks, interpreter start included.
- *idle*: memory and processor time of the sam process and of the keeper, with so many applications that do nothing.
- *soak* (`--soak SECONDS`): 200 flap; memory, descriptors, zombies and processor time, ten times.

With `--peers DIR` the program `peer_supervision.py` there measures other supervisors in the same run, by its options
`--json FILE --jobs crash,flap,idle,hang --counts N,N`; what it writes holds `supervisors: {NAME: {crash: {p50_ms}}}`.
Ratios are theirs over ours, so that more than 1 is better for totemd (for restarts a second: ours over theirs).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from totemd.ipc.lock import holder
from totemd.ipc.paths import KEEPER_LOCK
from totemd.testing import Cluster

SOURCE = Path(__file__).parent / "benchkit" / "kept.c"
IN_PYTHON = Path(__file__).parent / "benchkit" / "kept.py"
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.002
QUIET_SECONDS = 2.0
"""Between the start of the applications and the first look."""
HANG_MS = 1000
HEARTBEATS = ("health: heartbeat", f"health_interval: {HANG_MS}", "health_failures: 1", "health_start_period: 0")
HEALTH_CHECKS = (f"interval: {HANG_MS}",)
HANGS = 5
SOAK_APPS = 200
SOAK_STEPS = 10
ZOMBIE_SECONDS = 5.0

ENDLESSLY = ("backoff: 0", "max_restarts: unlimited")


class Supervised:
    """A node with so many applications."""

    def __init__(self, program: str, count: int, mode: str, *lines: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="supervision-"))
        self._file = self._folder / "said"
        self._read = 0
        self._said: list[tuple[str, int, int]] = []
        self._cluster = Cluster(1, start=False, faults=False)
        node = self._cluster[1]
        section = "\n".join([f"command: {program} {self._file} {mode}", *ENDLESSLY, *lines])
        apps = "".join(f"app {{\nname: a{number}\n{section}\n}}\n" for number in range(count))
        node.write_configuration(node.configuration_path.read_text() + f"sam {{\n{apps}}}\n")
        began = time.monotonic()
        self._cluster.start()
        self.until(lambda: len(self.starts()) >= count, "all applications")
        self.start_seconds = time.monotonic() - began
        time.sleep(QUIET_SECONDS)

    def __enter__(self) -> Supervised:
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def said(self) -> list[tuple[str, int, int]]:
        """All lines of all instances: word, pid, nanoseconds."""
        with contextlib.suppress(FileNotFoundError), self._file.open() as file:
            file.seek(self._read)
            text = file.read()
            whole = text[: text.rfind("\n") + 1]
            self._read += len(whole)
            for line in whole.splitlines():
                word, pid, at = line.split()
                self._said.append((word, int(pid), int(at)))
        return self._said

    def starts(self) -> list[tuple[str, int, int]]:
        """Those that tell of an instance."""
        return [each for each in self.said() if each[0] == "start"]

    def processes(self) -> dict[str, psutil.Process]:
        """Who supervises."""
        node = self._cluster[1]
        keeper = holder(node.run_dir / KEEPER_LOCK)
        return {"sam": psutil.Process(node.pid("sam")), "keeper": psutil.Process(keeper)}

    @staticmethod
    def until(condition: Callable[[], bool], what: str) -> None:
        """Wait for something; raises TimeoutError."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {PATIENCE_SECONDS:g} s")
            time.sleep(POLL_SECONDS)


def crash(program: str, kills: int, others: int) -> dict[str, float]:
    """Milliseconds from a kill to the successor."""
    took: list[float] = []
    with Supervised(program, 1 + others, "stay") as node:
        for number in range(kills):
            before = node.starts()
            victim = before[(number * 7) % (1 + others)][1] if not took else before[-1][1]
            time.sleep(0.2 + (number * 0.618) % 1.0)  # at every phase of whoever polls
            began = time.monotonic_ns()
            os.kill(victim, signal.SIGKILL)
            count = len(before)
            node.until(lambda count=count: len(node.starts()) > count, "the successor")  # type: ignore[misc]
            took.append((node.starts()[-1][2] - began) / 1e6)
    return _spread(took)


def flap(program: str, count: int, seconds: float) -> dict[str, float]:
    """Restarts a second."""
    with Supervised(program, count, "life 0") as node:
        before, began, used = len(node.starts()), time.monotonic(), _cpu(node)
        time.sleep(seconds)
        wall = time.monotonic() - began
        return {
            "restarts_s": (len(node.starts()) - before) / wall,
            **{f"{name}_cpu_pct": 100 * (value - used[name]) / wall for name, value in _cpu(node).items()},
        }


def hang(program: str, rounds: int, *lines: str) -> dict[str, float]:
    """Milliseconds from the last sign of life to the successor."""
    took: list[float] = []
    with Supervised(program, 1, "beat 5", *lines, "warn_signal: KILL") as node:
        node.until(lambda: len(node.starts()) > rounds, "restarts after hangs")
        last = 0
        for word, _, at in node.said():
            if word == "hang":
                last = at
            elif last:
                took.append((at - last) / 1e6)
                last = 0
    return _spread(took)


def idle(program: str, count: int, seconds: float) -> dict[str, float]:
    """Memory and processor time of those who supervise."""
    with Supervised(program, count, "stay") as node:
        used, began = _cpu(node), time.monotonic()
        time.sleep(seconds)
        wall = time.monotonic() - began
        found = {"start_s": node.start_seconds}
        for name, process in node.processes().items():
            memory = process.memory_full_info()
            found[f"{name}_rss_mib"] = memory.rss / 2**20
            found[f"{name}_pss_mib"] = memory.pss / 2**20
            found[f"{name}_cpu_pct"] = 100 * (_cpu(node)[name] - used[name]) / wall
        for what in ("rss_mib", "pss_mib", "cpu_pct"):
            found[what] = found[f"sam_{what}"] + found[f"keeper_{what}"]
        return found


def soak(program: str, count: int, seconds: float) -> dict[str, Any]:
    """Whether anything grows while applications flap."""
    with Supervised(program, count, "life 0") as node:
        looks = []
        for _ in range(SOAK_STEPS):
            before, used, began = len(node.starts()), _cpu(node), time.monotonic()
            time.sleep(seconds / SOAK_STEPS)
            wall = time.monotonic() - began
            look: dict[str, Any] = {"restarts_s": (len(node.starts()) - before) / wall}
            for name, process in node.processes().items():
                look[f"{name}_rss_mib"] = process.memory_info().rss / 2**20
                look[f"{name}_descriptors"] = process.num_fds()
                look[f"{name}_cpu_pct"] = 100 * (_cpu(node)[name] - used[name]) / wall
                look[f"{name}_zombies"] = _lasting_zombies(process)
            looks.append(look)
        return {"looks": looks}


def _lasting_zombies(parent: psutil.Process) -> int:
    """Children that have ended and are not taken away: found twice, with more between than a starved parent needs."""

    def dead() -> set[int]:
        found = set()
        for child in parent.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.status() == psutil.STATUS_ZOMBIE:
                    found.add(child.pid)
        return found

    first = dead()
    time.sleep(ZOMBIE_SECONDS)
    return len(first & dead())


def _cpu(node: Supervised) -> dict[str, float]:
    return {name: sum(process.cpu_times()[:2]) for name, process in node.processes().items()}


def _spread(took: list[float]) -> dict[str, float]:
    return {"p50_ms": statistics.median(took), "min_ms": min(took), "max_ms": max(took), "n": len(took)}


@contextlib.contextmanager
def compiled() -> Iterator[str]:
    """The application.

    Raises:
        RuntimeError: there is no C compiler.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError("a C compiler (gcc or cc) is needed for the application that is supervised")
    with tempfile.TemporaryDirectory(prefix="kept-") as folder:
        program = os.path.join(folder, "kept")
        subprocess.run([compiler, "-O2", "-o", program, str(SOURCE)], check=True)
        yield program


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """All that is asked for."""
    jobs: dict[str, Callable[[str], dict[str, Any]]] = {
        "crash": lambda program: crash(program, arguments.kills, 0),
        "crash_among_100": lambda program: crash(program, arguments.kills, 99),
        "flap_100": lambda program: flap(program, 100, arguments.secs),
        "hang": lambda program: hang(program, HANGS, *HEARTBEATS),
        "hang_python": lambda _: hang(f"{sys.executable} {IN_PYTHON}", HANGS, *HEALTH_CHECKS),
    }
    for count in arguments.counts:
        jobs[f"idle_{count}"] = lambda program, count=count: idle(program, count, arguments.secs)  # type: ignore[misc]
    if arguments.soak:
        jobs[f"soak_{SOAK_APPS}"] = lambda program: soak(program, SOAK_APPS, arguments.soak)
    found = {}
    with compiled() as program:
        for name, job in jobs.items():
            if name.partition("_")[0] in arguments.jobs:
                found[name] = job(program)
                print(time.strftime("%H:%M:%S"), name, json.dumps(found[name]), file=sys.stderr, flush=True)
    return found


def peers(arguments: argparse.Namespace) -> dict[str, Any]:
    """What other supervisors do on this machine."""
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        file = Path(folder) / "peers.json"
        jobs = ",".join(job for job in arguments.jobs if job != "soak")
        counts = ",".join(map(str, arguments.counts))
        command = [sys.executable, str(Path(arguments.peers) / "peer_supervision.py"), "--json", str(file)]
        only = ["--only", arguments.only] if arguments.only else []
        lengths = ["--kills", str(arguments.kills), "--secs", str(arguments.secs)]
        subprocess.run([*command, "--jobs", jobs, "--counts", counts, *lengths, *only], check=True)
        found: dict[str, Any] = json.loads(file.read_text())["supervisors"]
        return found


FIGURES = {"crash": "p50_ms", "flap": "restarts_s", "hang": "p50_ms", "idle": "pss_mib"}
"""The figure of each job that is compared."""


def ratios(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Theirs over ours (restarts a second: ours over theirs): more than 1 is better for totemd."""
    found: dict[str, dict[str, float]] = {}
    for who, jobs in theirs.items():
        for job, figures in jobs.items():
            key = FIGURES.get(job.partition("_")[0], "")
            if job in ours and isinstance(figures, dict) and figures.get(key) and ours[job].get(key):
                ratio = figures[key] / ours[job][key]
                found.setdefault(who, {})[job] = 1 / ratio if key == "restarts_s" else ratio
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="crashes that are measured")
    parser.add_argument("--secs", type=float, default=6.0, help="length of the other measurements")
    parser.add_argument("--counts", type=lambda text: [int(word) for word in text.split(",")], default=[100, 500])
    parser.add_argument("--jobs", type=lambda text: text.split(","), default=["crash", "flap", "hang", "idle", "soak"])
    parser.add_argument("--soak", type=float, default=0.0, metavar="SECONDS", help="let 200 applications flap so long")
    parser.add_argument("--peers", metavar="DIR", help="where peer_supervision.py lies")
    parser.add_argument("--only", default="", help="only those peers whose name holds this")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    arguments = parser.parse_args()
    ours = measured(arguments)
    result: dict[str, Any] = {"totemd": ours}
    if arguments.peers:
        result["peers"] = peers(arguments)
        result["ratios"] = ratios(ours, result["peers"])
    print(json.dumps(result, indent=2))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
