"""What a measurement costs: processor time of processes and of the machine, and memory."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

import psutil

QUIET_SHARE = 0.12
"""Share of the machine that may be busy when a sample begins."""

LOOK_SECONDS = 0.4

NANOSECONDS = 1e9


def cpu_seconds(pid: int) -> float:
    """What all threads of a live process have used, by the scheduler's count of nanoseconds; 0 once it has ended."""
    used = 0
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                used += int((task / "schedstat").read_text().split()[0])
    return used / NANOSECONDS


def rss_mib(pids: Iterable[int]) -> float:
    """Resident memory, of all of them together."""
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += psutil.Process(pid).memory_info().rss
    return total / 2**20


def machine_busy_seconds() -> float:
    """Processor time that the whole machine has used."""
    times = psutil.cpu_times()
    idle: float = times.idle + times.iowait
    # guest is in user already
    return float(sum(times[:8])) - idle


class Meter:
    """Processor time of groups of processes over a `with` block, and what the rest of the machine used."""

    def __init__(self, groups: Mapping[str, Iterable[int]]) -> None:
        self._pids = {name: tuple(pids) for name, pids in groups.items()}
        self.used: dict[str, float] = {}
        """Seconds of each group."""
        self.foreign_share = 0.0
        """Of the machine, used by nobody of the groups."""

    def __enter__(self) -> Meter:
        self._before = self._now()
        self._busy, self._began = machine_busy_seconds(), time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wall, busy = time.monotonic() - self._began, machine_busy_seconds() - self._busy
        self.used = {name: used - self._before[name] for name, used in self._now().items()}
        self.foreign_share = max(0.0, busy - sum(self.used.values())) / wall / (os.cpu_count() or 1)

    def _now(self) -> dict[str, float]:
        return {name: sum(map(cpu_seconds, pids)) for name, pids in self._pids.items()}


def wait_until_quiet(patience: float) -> None:
    """Return when little of the machine is busy, or after *patience* seconds anyway."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        before = machine_busy_seconds()
        time.sleep(LOOK_SECONDS)
        if machine_busy_seconds() - before <= QUIET_SHARE * LOOK_SECONDS * (os.cpu_count() or 1):
            return


def machine() -> dict[str, str | int]:
    """What the figures were taken on."""
    model = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "processors": os.cpu_count() or 0,
        "model": model,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
