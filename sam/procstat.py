"""Many processes at once, as /proc/PID/stat shows them: one file of the kernel for each, and nothing else.

psutil, which does everything else here, needs about ten times as long for the same facts (docs/decisions); with some
hundred applications to be watched twice a second that is the difference between a look and a load.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

STAT_BYTES_MAX = 1024
"""More than the line ever has: some 50 numbers and a name of at most 64 bytes."""

ENDED = frozenset("ZXx")
"""States of processes that have ended: zombies, and those that vanish just now."""

_STATE, _PARENT, _SESSION, _USER, _SYSTEM, _THREADS, _CREATED, _RSS = 0, 1, 3, 11, 12, 17, 19, 21
"""Fields after the name; see proc(5)."""


@dataclass(frozen=True, slots=True)
class Stat:
    """One process at one moment."""

    state: str
    """A letter: R, S, D, T (stopped), t (traced), Z …"""
    parent: int
    session: int
    cpu_seconds: float
    """Processor time that it has used; not that of its children."""
    threads: int
    created: int
    """When, in ticks since the machine's start; with the pid it names a process for ever."""
    rss_bytes: int


def read(pid: int) -> Stat | None:
    """How a process is; None if there is none."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        line = os.read(fd, STAT_BYTES_MAX)
    except OSError:
        return None
    finally:
        os.close(fd)
    return parse(line)


def parse(line: bytes) -> Stat | None:
    """The facts of a line of /proc/PID/stat; None if it is none."""
    # The name may hold anything, blanks and brackets too; the last bracket ends it.
    fields = line.rpartition(b")")[2].split()
    if len(fields) <= _RSS:
        return None
    try:
        return Stat(
            fields[_STATE].decode("ascii", "replace"),
            int(fields[_PARENT]),
            int(fields[_SESSION]),
            (int(fields[_USER]) + int(fields[_SYSTEM])) / TICKS_PER_SECOND,
            int(fields[_THREADS]),
            int(fields[_CREATED]),
            int(fields[_RSS]) * PAGE_BYTES,
        )
    except ValueError:
        return None


def everybody() -> dict[int, Stat]:
    """All processes of this machine."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdecimal() and (stat := read(int(name))) is not None:
            found[int(name)] = stat
    return found


def open_files(pid: int) -> int:
    """How many descriptors a process has; 0 if this user may not see that."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
