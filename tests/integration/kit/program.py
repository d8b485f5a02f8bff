"""A program that a test starts and talks to by lines."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from .command import environment

SECONDS = 120.0
"""How long a program that is expected to end may take."""


class Program:
    """A Python program in a process of its own."""

    def __init__(self, *arguments: object, **variables: str) -> None:
        """*arguments* are the program and its own; *variables* join the environment."""
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=environment(**variables),
        )
        self.pid = self.process.pid

    def line(self) -> str:
        """The next line that it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def expect(self, beginning: str) -> str:
        """The next line that begins so."""
        seen: list[str] = []
        while not (line := self.line()).startswith(beginning):
            assert line, f"it ended without saying {beginning!r}; it said {seen}"
            seen.append(line)
        return line

    def say(self, text: object = "") -> None:
        """Give it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self) -> None:
        """End its input, and wait until it has ended well."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(SECONDS) == 0

    def kill(self) -> None:
        """Kill it, if it runs, and give back what it took."""
        with self.process:
            self.process.kill()


KIT = Path(__file__).parent
