"""Real sam-runs in a directory of their own; nothing of them outlives a test."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from totemd.sam.environment import RUN_DIR
from totemd.sam.probe import PsutilProbe, kill_all
from totemd.testing import wait_until

HERE = Path(__file__).resolve().parent

PATIENCE_SECONDS = 20
"""How long a test waits for what must happen; far longer than it takes on a busy machine."""

STAMP = 'echo "$TOTEMD_SAM_INSTANCE $$" >> stamps'
"""Shell text by which an application says that it has started."""


class Stamp(NamedTuple):
    """What an instance has said of itself."""

    instance: int
    pid: int


class Workshop:
    """A short directory, which is the run directory and the working directory of the sam-runs that are started here."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._errors = directory / "errors"
        self._running: list[subprocess.Popen[bytes]] = []

    def command(self, *words: str) -> list[str]:
        """sam-run's command line: options, `--`, application."""
        return [sys.executable, "-m", "totemd.sam.run", "--run-dir", str(self.directory), *words]

    def sam_run(self, *words: str, **more: Any) -> subprocess.Popen[bytes]:
        """Start a sam-run in a session of its own."""
        with self._errors.open("ab") as errors:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                self.command(*words),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                **more,
            )
        self._running.append(process)
        return process

    def shell(self, script: str, *options: str, **more: Any) -> subprocess.Popen[bytes]:
        """Start a sam-run whose application is a shell script."""
        return self.sam_run(*options, "--", "sh", "-c", script, **more)

    def finish(self, process: subprocess.Popen[bytes]) -> int:
        """sam-run's exit code, once it has ended."""
        return process.wait(PATIENCE_SECONDS)

    @property
    def errors(self) -> str:
        """What sam-runs have said."""
        return self._errors.read_text() if self._errors.exists() else ""

    def stamps(self, name: str = "stamps") -> list[Stamp]:
        """The complete lines of a file of stamps."""
        path = self.directory / name
        text = path.read_text() if path.exists() else ""
        return [Stamp(*map(int, line.split())) for line in text[: text.rfind("\n") + 1].splitlines()]

    def started(self, instance: int, name: str = "stamps") -> Stamp:
        """Wait for the stamp of an instance."""

        def find() -> Stamp | None:
            return next((each for each in self.stamps(name) if each.instance == instance), None)

        found = wait_until(find, PATIENCE_SECONDS, lambda: f"instance {instance}: {self.stamps(name)} {self.errors}")
        assert found is not None
        return found

    def until_stamps(self, name: str, count: int = 1) -> None:
        """Wait until a file holds so many stamps or more."""
        wait_until(
            lambda: len(self.stamps(name)) >= count,
            PATIENCE_SECONDS,
            lambda: f"{name}: {self.stamps(name)} {self.errors}",
        )

    def until_gone(self, pids: Sequence[int]) -> None:
        """Wait until none of these processes runs."""
        wait_until(lambda: not any(map(runs, pids)), PATIENCE_SECONDS, lambda: f"left: {[*filter(runs, pids)]}")

    def clean(self) -> None:
        """Kill whatever was started here, whoever is its parent now, and remove the directory."""
        for process in self._running:
            if process.poll() is None:
                process.send_signal(signal.SIGSTOP)  # it would start the next instance
                kill_all(partial(PsutilProbe().descendants, process.pid))
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        wait_until(self._nothing_runs, PATIENCE_SECONDS, "all that was started here has ended")
        shutil.rmtree(self.directory, ignore_errors=True)

    def _nothing_runs(self) -> bool:
        """Kill what is known by its environment, until nothing is found: it may fork meanwhile."""
        found = False
        for each in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if each.environ().get(RUN_DIR) == str(self.directory):
                    found = True
                    each.kill()
        return not found


def let_pass(seconds: float) -> None:
    """Let something that must not happen have the time to happen."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > end, seconds + PATIENCE_SECONDS, "time passes")


def runs(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Screen:
    """A terminal with a small shell in it, whose foreground job is a sam-run."""

    def __init__(self, workshop: Workshop, *words: str) -> None:
        self._master, slave = pty.openpty()
        self._reports, reports = os.pipe()
        orders, self._orders = os.pipe()
        self._heard = b""
        shell = [sys.executable, "-S", str(HERE / "job_shell.py"), str(reports), str(orders)]
        self.shell = subprocess.Popen(
            [*shell, *workshop.command(*words)],
            cwd=workshop.directory,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            pass_fds=(reports, orders),
        )
        for fd in (slave, reports, orders):
            os.close(fd)
        os.set_blocking(self._master, False)
        os.set_blocking(self._reports, False)
        self.shown = b""
        self.job = int(self.report("job"))

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size."""
        termios.tcsetwinsize(self._master, (rows, columns))

    def continue_job(self) -> None:
        """What `fg` does."""
        os.write(self._orders, b"fg\n")

    def report(self, word: str) -> str:
        """Wait for the shell's next report, which must begin with *word*; return the rest of it."""
        wait_until(self._next_line, PATIENCE_SECONDS, lambda: f"{word!r}; on the screen: {self.shown!r}")
        line, self._heard = self._heard.split(b"\n", 1)
        said, rest = line.decode().split(" ")
        assert said == word, (line, self.shown)
        return rest

    def hang_up(self) -> None:
        """Close the terminal's window."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def close(self) -> None:
        """Kill the shell and close everything."""
        self.hang_up()
        self.shell.kill()
        self.shell.wait()
        os.close(self._reports)
        os.close(self._orders)

    def _next_line(self) -> bool:
        with contextlib.suppress(OSError):  # nothing to read, or nobody there any more
            self._heard += os.read(self._reports, 4096)
        with contextlib.suppress(OSError):
            self.shown += os.read(self._master, 4096)
        return b"\n" in self._heard
