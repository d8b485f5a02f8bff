"""Child processes: start, watch, signal, reap.  What to do with them is decided in `plan`.

A child is a fresh interpreter, never a fork of this process: it inherits no loop, no ZeroMQ context and no lock.
It shares the executive's session, so that a terminal's hang-up still concerns the node, but has a process group of
its own: a Ctrl-C or Ctrl-Z typed at the executive is for the executive alone, which then stops its children in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import site
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from ..runtime.child import LIFELINE_VARIABLE
from ..runtime.last_words import LAST_WORDS_VARIABLE, read_last_words
from .actions import Exit
from .specs import ChildSpec

_NOT_FOR_CHILDREN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
"""Environment variables by which a service manager talks to its one main process."""


class ChildProcess:
    """A running child: pid, pidfd, lifeline, and the pipe for its last words."""

    def __init__(self, spec: ChildSpec, run_dir: Path, ended: Callable[[str, Exit], None]) -> None:
        """Start it; *ended* is called once, from the running loop, when it has ended and been reaped.

        Raises:
            OSError: it cannot be started.
        """
        self.name = spec.name
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        read_end, self._lifeline = os.pipe()
        self._last_words, write_end = os.pipe()
        inherited = {LIFELINE_VARIABLE: read_end, LAST_WORDS_VARIABLE: write_end}
        try:
            self._process = subprocess.Popen(
                # -P: the working directory is no place to import modules from; anybody might have put them there.
                [sys.executable, "-P", *spec.command, "--run-dir", str(run_dir)],
                stdin=subprocess.DEVNULL,
                pass_fds=tuple(inherited.values()),
                process_group=0,
                env=child_environment(os.environ, inherited),
            )
        except OSError:
            self.cut_lifeline()
            os.close(self._last_words)
            raise
        finally:
            for descriptor in inherited.values():
                os.close(descriptor)
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    def kill(self) -> None:
        """SIGKILL; harmless when it has ended."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def cut_lifeline(self) -> None:
        """Let it notice that nobody needs it: it stops by itself, even if it has not connected yet."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        code = self._process.wait()
        self.cut_lifeline()
        said = read_last_words(self._last_words)
        os.close(self._last_words)
        self._ended(self.name, Exit(signal=-code, last_words=said) if code < 0 else Exit(code=code, last_words=said))


def child_environment(environment: Mapping[str, str], inherited: Mapping[str, int]) -> dict[str, str]:
    """The environment of a child: with the descriptors that it inherits, by the variables that name them."""
    variables = {key: value for key, value in environment.items() if key not in _NOT_FOR_CHILDREN}
    variables |= {key: str(descriptor) for key, descriptor in inherited.items()}
    if root := _import_root():
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, (variables.get("PYTHONPATH", ""), root)))
    return variables


def _import_root() -> str:
    """The folder that this package was imported from, if a fresh interpreter would not look there by itself.

    That is so when totemd was started with `python -m` beside an uninstalled checkout.
    """
    root = str(Path(__file__).absolute().parents[3])
    installed = {*site.getsitepackages(), site.getusersitepackages()}
    return root if root in sys.path and root not in installed else ""
