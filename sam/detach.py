"""`sam-run --detach`: sam-run goes on in the background once its application is up, or says why it is not.

The process that was started forks before anything else is there, and only waits: its child leads a session of its own
and becomes sam-run; through a pipe it tells that the application is ready, or its own end tells that it is not.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Collection

from ..ipc.errors import InvalidArgument
from .options import RunOptions

_LINE_BYTES_MAX = 4096


def require_outlets(options: RunOptions, is_terminal: Callable[[int], bool] = os.isatty) -> None:
    """
    Raises:
        InvalidArgument: the application would go on to write to this terminal.
    """
    for number, name, option in ((1, "output", "--log FILE"), (2, "error output", "--log-stderr FILE")):
        if number not in options.logs and is_terminal(number):
            raise InvalidArgument(
                f"--detach leaves this terminal, and the {name} of {options.name} would stay here: name {option}, or "
                "redirect it"
            )


def outlets_to_leave(captured: Collection[int]) -> list[int]:
    """What sam-run must not keep open in the background: terminals, and pipes, whose readers wait for their end.

    *captured* are the descriptors whose output goes to a log: the others are the application's, which goes on to write
    there.  A file, or a socket of the journal, stays: it takes what sam-run has to say.
    """
    return [number for number in (1, 2) if os.isatty(number) or (number in captured and _is_pipe(number))]


def _is_pipe(number: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(number).st_mode)
    except OSError:  # sam-run was started without it
        return False


class Background:
    """The other end of the wait, in the process that goes on."""

    def __init__(self, told: int, leaves: Collection[int]) -> None:
        """*leaves* are the descriptors that are of no use once the application is up."""
        self._told = told
        self._leaves = leaves

    def is_up(self, name: str) -> None:
        """Tell whoever has started it, and leave them alone."""
        if self._told < 0:
            return
        os.write(self._told, f"{os.getpid()} {name}\n".encode()[:_LINE_BYTES_MAX])
        os.close(self._told)
        self._told = -1
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in self._leaves:
            os.dup2(nothing, number)
        os.close(nothing)


def detach(options: RunOptions) -> Background:
    """Return in the background; the process in the foreground exits when it knows how that went.

    Raises:
        InvalidArgument: the application's output has nowhere to go.
    """
    require_outlets(options)
    leaves = outlets_to_leave(options.logs.keys())  # before a pipe of ours gets the number of one that is closed
    told, telling = os.pipe()
    child = os.fork()
    if child:
        os.close(telling)
        _wait(child, told)
    os.close(told)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return Background(telling, leaves)


def _wait(child: int, told: int) -> None:
    """What is left in the foreground: print `PID NAME`, or exit as the child did."""
    with open(told, "rb") as file:
        line = file.readline(_LINE_BYTES_MAX)
    if line:
        sys.stdout.write(line.decode())
        sys.stdout.flush()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) % 256)
