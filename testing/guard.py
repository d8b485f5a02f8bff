"""Nothing outlives the tests, even if the tests are killed.

The guard is a small process that reads the other end of a pipe.  When the pipe closes, which the kernel does however
the tests ended, it kills the process groups that are still on its list and removes the cluster's directory.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import os, shutil, signal, sys, time
groups, directory = set(), sys.stdin.readline().rstrip("\\n")
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
# Children of killed executives go by themselves, and may write until they have.
for _ in range(100):
    shutil.rmtree(directory, ignore_errors=True)
    if not os.path.exists(directory):
        break
    time.sleep(0.1)
"""


class Guard:
    """Watches over one directory and the process groups of one cluster."""

    def __init__(self, directory: Path) -> None:
        command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, cwd="/", text=True)
        self._say(f"{directory}\n")

    def watch(self, group: int) -> None:
        """Kill this process group when the tests end without `forget`."""
        self._say(f"+{group}\n")

    def forget(self, group: int) -> None:
        """The group has ended; its number may belong to somebody else soon."""
        self._say(f"-{group}\n")

    def close(self) -> None:
        """Let the guard do what is left to do, which is to remove the directory."""
        self._process.communicate()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()
