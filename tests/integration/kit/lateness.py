"""How much of the time this machine withholds from a process that wants to run: what a test of a time has to grant.

A process of its own sleeps for a moment, again and again, and writes down by how much too late it woke.  Whoever had to
decide something in the same time cannot have had it much better.  On a quiet machine this is next to nothing, so that a
bound is as tight as it is written; on one that stands still for seconds it is these seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

WITNESS = """
import json, select, sys, time
late = []
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    due = time.monotonic() + 0.01
    time.sleep(0.01)
    late.append((due, time.monotonic()))
json.dump(late, sys.stdout)
"""

END_SECONDS = 60.0


class Lateness:
    """What the witness has seen; complete after `watched`."""

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []

    def between(self, began: float, ended: float) -> float:
        """Seconds of this time in which it could not run though it would have; times of the monotonic clock."""
        return sum(max(0.0, min(woke, ended) - max(due, began)) for due, woke in self._late)

    def learn(self, said: str) -> None:
        self._late = [(due, woke) for due, woke in json.loads(said)]


@contextmanager
def watched() -> Iterator[Lateness]:
    """Watch how late processes are, until the end of the block."""
    lateness, command = Lateness(), [sys.executable, "-S", "-c", WITNESS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as witness:
        assert witness.stdout is not None
        assert witness.stdout.readline() == "ready\n"
        try:
            yield lateness
        finally:
            said, _ = witness.communicate(timeout=END_SECONDS)
        lateness.learn(said)
