"""Nothing outlives the tests, even if the tests are killed.

The guard is a small process that reads the other end of a pipe.  When the pipe closes, which the kernel does however
the tests ended, it kills the sessions that are still on its list, and whoever has left them but serves a run directory
of the cluster: keepers, their applications, sam-runs.  Then it removes the cluster's directory.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import os, shutil, signal, sys, time
ROUNDS, PAUSE = 100, 0.05  # who is being killed may have started somebody else
sessions, directory = set(), sys.stdin.readline().rstrip("\\n")
for line in sys.stdin:
    (sessions.add if line[0] == "+" else sessions.discard)(int(line[1:]))

def said(pid, what):
    with open(f"/proc/{pid}/{what}", "rb") as file:
        return os.fsdecode(file.read())

def serves(pid):
    return (f"\\0--run-dir\\0{directory}/" in said(pid, "cmdline")
            or f"\\0TOTEMD_SAM_RUN_DIR={directory}/" in "\\0" + said(pid, "environ"))

def kill_all():
    found = False
    for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
        try:
            if os.getsid(pid) in sessions or serves(pid):
                os.kill(pid, signal.SIGKILL)
                found = True
        except OSError:  # gone, or somebody else's
            pass
    return found

for _ in range(ROUNDS):
    if not kill_all():
        break
    time.sleep(PAUSE)
shutil.rmtree(directory, ignore_errors=True)
"""


class Guard:
    """Watches over one directory and the sessions of one cluster's nodes."""

    def __init__(self, directory: Path) -> None:
        command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, cwd="/", text=True)
        self._say(f"{directory}\n")

    def watch(self, session: int) -> None:
        """Kill this session when the tests end without `forget`."""
        self._say(f"+{session}\n")

    def forget(self, session: int) -> None:
        """The session's leader has ended; its number may belong to somebody else soon."""
        self._say(f"-{session}\n")

    def close(self) -> None:
        """Let the guard do what is left to do, which is to remove the directory."""
        self._process.communicate()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()
