"""Applications that an earlier keeper has started: found again by pid and time of creation, or by their environment.

They are not children of this process: the kernel gave them to init when the earlier keeper died.  So a pidfd tells
that one has ended, nobody learns its exit code, and what it leaves behind is found by its process group, which the
keeper had made.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...ipc.endpoints import open_pidfd
from .. import environment, procstat
from ..children import Children
from ..events import Ending
from ..launch import EXIT_FAILED
from ..procstat import ENDED, TICKS_PER_SECOND

POLL_SECONDS = 0.05
"""How often processes are looked for whose end nobody tells."""


def created_at(pid: int) -> float | None:
    """When a process was created, in seconds since the machine's start; None if there is none, or it has ended."""
    stat = procstat.read(pid)
    return None if stat is None or stat.state in ENDED else stat.created / TICKS_PER_SECOND


def is_still(pid: int, earliest: float, latest: float) -> bool:
    """Whether *pid* still is the process that was created between these times, and has not ended."""
    created = created_at(pid) if pid > 0 else None
    # The kernel tells whole ticks only, cut off.
    return created is not None and earliest - 1 / TICKS_PER_SECOND <= created <= latest


def now() -> float:
    """The clock by which the kernel says when a process was created: seconds since the start, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Traces:
    """By what the processes of one instance can be known."""

    name: str
    instance: int
    run_dir: Path

    def main(self) -> int:
        """The main process, if it is known only that it was about to be started; 0 if there is none."""
        wanted = self._variables()
        return min((pid for pid in _everybody() if _group(pid) == pid and _has(pid, wanted)), default=0)

    def left_behind(self, main: int) -> list[int]:
        """What a main process that has ended has left behind: in its group, or with its environment."""
        wanted = self._variables()
        # While anybody is in a process group, the kernel gives its number to no other process.
        group_is_ours = main > 0 and procstat.read(main) is None
        return [pid for pid in _everybody() if (group_is_ours and _group(pid) == main) or _has(pid, wanted)]

    def _variables(self) -> dict[str, str]:
        return {
            environment.NAME: self.name,
            environment.INSTANCE: str(self.instance),
            environment.RUN_DIR: os.fspath(self.run_dir),
        }


def _has(pid: int, wanted: Mapping[str, str]) -> bool:
    with contextlib.suppress(OSError):
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return all(os.fsencode(f"{key}={value}") in variables for key, value in wanted.items())
    return False


def _everybody() -> Iterator[int]:
    """Every process that has not ended."""
    return (pid for pid, stat in procstat.everybody().items() if stat.state not in ENDED)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


class Adopted:
    """Watches the adopted main processes, and what those have left behind that have ended."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._loop = asyncio.get_running_loop()
        self._pidfds: dict[int, int] = {}
        self._traces: dict[int, Traces] = {}
        self._polling: asyncio.TimerHandle | None = None

    def watch(self, pid: int, created: float, traces: Traces) -> None:
        """Tell `Children` when this process has ended, and what it left behind."""
        self._traces[pid] = traces
        pidfd = open_pidfd(pid)
        if pidfd is not None:
            self._pidfds[pid] = pidfd
            self._loop.add_reader(pidfd, self._ended, pid)
        if created_at(pid) != created:  # it was there a moment ago; the pidfd may be another's
            self._ended(pid)

    def _ended(self, pid: int) -> None:
        pidfd = self._pidfds.pop(pid, None)
        if pidfd is not None:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
        traces = self._traces.pop(pid, None)
        if traces is None:
            return
        self._children.seen_to_end(pid, Ending(EXIT_FAILED, is_known=False), lambda: traces.left_behind(pid))
        self._poll_again()

    def _poll(self) -> None:
        self._polling = None
        self._children.look_for_foreigners()
        self._poll_again()

    def _poll_again(self) -> None:
        if self._polling is None and self._children.has_foreigners:
            self._polling = self._loop.call_later(POLL_SECONDS, self._poll)
