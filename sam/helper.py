"""Commands that are run about an application: health checks and hooks.  Each ends in time, with all it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from dataclasses import replace

from .children import Children
from .events import Ending
from .launch import EXIT_FAILED, Launch, NotStarted
from .probe import Probe, kill_all

SHELL = "/bin/sh"

OUTPUT_BYTES_KEPT = 2000
"""The end of what a command has said is kept, to be shown if it failed."""


class Helper:
    """Runs shell commands as whom and where the application runs, one call at a time or several."""

    def __init__(self, launch: Launch, children: Children, probe: Probe) -> None:
        self._launch = replace(launch, own_session=True)
        self._children = children
        self._probe = probe

    async def run(self, command: str, environment: Mapping[bytes, bytes], timeout: float) -> tuple[Ending | None, str]:
        """How the command ended (None: it was killed after *timeout* seconds), and the last line of its output.

        A call that is cancelled kills the command, too.

        Raises:
            launch.NotStarted: it cannot be started.
        """
        loop = asyncio.get_running_loop()
        pid, reading = self._start(command, environment)
        output = bytearray()
        ended: asyncio.Future[Ending] = loop.create_future()
        self._children.help(pid, lambda ending: None if ended.done() else ended.set_result(ending))
        loop.add_reader(reading, _read, reading, output)
        try:
            ending = None
            with contextlib.suppress(TimeoutError):
                ending = await asyncio.wait_for(asyncio.shield(ended), timeout)
            _read(reading, output)
            return ending, last_line(output)
        finally:
            loop.remove_reader(reading)
            os.close(reading)
            if not ended.done():
                kill_all(lambda: self._probe.trees([pid]))

    def _start(self, command: str, environment: Mapping[bytes, bytes]) -> tuple[int, int]:
        """Its pid, and where its output is read."""
        launch = replace(self._launch, command=(SHELL, "-c", command))
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            try:
                reading, writing = os.pipe2(os.O_CLOEXEC)
                ours.callback(os.close, reading)
                theirs.callback(os.close, writing)
                nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
                theirs.callback(os.close, nothing)
            except OSError as error:
                raise NotStarted(EXIT_FAILED, f"{command}: {error.strerror}") from None
            os.set_blocking(reading, False)
            pid = launch.spawn(environment, {0: nothing, 1: writing, 2: writing})
            ours.pop_all()
            return pid, reading


def _read(fd: int, output: bytearray) -> None:
    """Take what is there; once nobody writes any more, the loop's next turns are not worth anything."""
    try:
        data = os.read(fd, 65536)
    except BlockingIOError:
        return
    if not data:
        asyncio.get_running_loop().remove_reader(fd)
    output += data
    del output[:-OUTPUT_BYTES_KEPT]


def last_line(output: bytes | bytearray) -> str:
    """The last words of a program that has failed."""
    lines = bytes(output).decode(errors="replace").split("\n")
    return next((text for line in reversed(lines) if (text := line.strip())), "")
