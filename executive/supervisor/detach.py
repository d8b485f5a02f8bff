"""`totemd -d`: go to the background, with the command returning when the node is up, or saying why it is not.

The process forks before there is a loop, a ZeroMQ context or a thread.  A pipe carries the outcome to the waiting
command: a byte with the exit code, then the reason as text.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from .exits import ExitCode


class Announcement:
    """Tells the command that waits in the foreground how the start went; without one, says nothing."""

    def __init__(self, fd: int = -1) -> None:
        self._fd = fd

    def make(self, code: ExitCode, reason: str = "") -> None:
        """Once; later calls do nothing."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):  # the command may have been interrupted, and nobody wait any more
            os.write(self._fd, bytes([code]) + reason.encode("utf-8", "backslashreplace"))
        os.close(self._fd)
        self._fd = -1


def detach(path_variables: Sequence[str] = ()) -> Announcement:
    """Continue in the background: own session, no terminal, standard descriptors on /dev/null, cwd `/`.

    Call it once everything that can be checked beforehand has been.  The calling process does not return from here:
    it waits, prints the reason if there is one, and exits with the outcome.  Relative paths in the environment
    variables *path_variables* are made absolute.
    """
    for variable in path_variables:
        if os.environ.get(variable):
            os.environ[variable] = os.path.abspath(os.environ[variable])
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork() != 0:
        os.close(write_end)
        _await_outcome(read_end)
    os.close(read_end)
    os.setsid()
    if os.fork() != 0:
        os._exit(0)  # a session leader could get a terminal again by opening one
    os.chdir("/")  # do not keep a file system busy
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    return Announcement(write_end)


def _await_outcome(fd: int) -> NoReturn:
    with os.fdopen(fd, "rb") as pipe:
        outcome = pipe.read()
    if not outcome:
        print("totemd: ended before it was ready", file=sys.stderr, flush=True)
        os._exit(ExitCode.FAILED)
    if reason := outcome[1:].decode("utf-8", "replace"):
        print(f"totemd: {reason}", file=sys.stderr, flush=True)
    os._exit(outcome[0])
