"""`sam-run --detach`: sam-run goes on in the background once its application is up, or says why it is not.

The process that was started forks before anything else is there, and only waits: its child leads a session of its own
and becomes sam-run; through a pipe it tells that the application is ready, or its own end tells that it is not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

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


class Background:
    """The other end of the wait, in the process that goes on."""

    def __init__(self, told: int) -> None:
        self._told = told

    def is_up(self, name: str) -> None:
        """Tell the terminal, and leave it."""
        if self._told < 0:
            return
        os.write(self._told, f"{os.getpid()} {name}\n".encode()[:_LINE_BYTES_MAX])
        os.close(self._told)
        self._told = -1
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            if os.isatty(number):
                os.dup2(nothing, number)
        os.close(nothing)


def detach(options: RunOptions) -> Background:
    """Return in the background; the process in the foreground exits when it knows how that went.

    Raises:
        InvalidArgument: the application's output has nowhere to go.
    """
    require_outlets(options)
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
    return Background(telling)


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
