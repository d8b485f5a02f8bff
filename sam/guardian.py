"""The guardian of a singleton: a process that does nothing but kill the application when its lease is over.

sam-run stops its application in time by itself.  This one is for the times when it cannot: it was killed, it is
stopped, it hangs.  It is told the end of the lease whenever that changes, and needs nobody from then on.

It is started before sam-run becomes a subreaper, by a process that ends at once, so that it is nobody's child whose
children are counted; in a session of its own, deaf to the signals of a terminal; as a real-time process where it may
be, so that it is the first that goes on when a machine does.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from typing import NamedTuple

from . import environment
from .clock import lease_clock
from .linux import BootTimer
from .probe import Finding, Probe, Process, PsutilProbe, kill_all
from .signals import JOB_CONTROL

ORDER = struct.Struct("=d")
"""When to kill, in seconds of the lease's clock; `FREE` for never."""

FREE = 0.0

START_SECONDS = 10.0
"""How long a guardian may take to say that it is there."""

KILL_AGAIN_SECONDS = 0.05
"""Pause between two searches for what is left."""

LOOK_ON_SECONDS = 1.0
"""So long it is searched after sam-run has died: a process that it was just starting is none of the application's to
look at before its exec."""

_READY = b"!"
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, *JOB_CONTROL)


class Ward(NamedTuple):
    """Whose application is guarded."""

    pid: int
    """Of the sam-run; it is in the environment of all processes of the application."""
    name: str


class Leash:
    """sam-run's end."""

    def __init__(self, name: str) -> None:
        """Start a guardian for this process.

        Raises:
            OSError: it cannot be started.
        """
        self._socket, theirs = socket.socketpair()
        try:
            with theirs:
                # It ends at once, and leaves the guardian behind.
                subprocess.run(
                    [sys.executable, "-m", __spec__.name, str(theirs.fileno()), str(os.getpid()), name],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    check=True,
                )
            self._socket.settimeout(START_SECONDS)
            if self._socket.recv(1) != _READY:
                raise OSError("the guardian of the application did not start")
            self._socket.setblocking(False)
        except (subprocess.CalledProcessError, TimeoutError) as error:
            self._socket.close()
            raise OSError(f"the guardian of the application did not start: {error}") from None
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Readable when the guardian has died."""
        return self._socket.fileno()

    def kill_at(self, when: float) -> bool:
        """Everything is to be killed at this time, unless another one is named before; False: nobody is there."""
        try:
            self._socket.send(ORDER.pack(when))
        except OSError:
            return False
        return True

    def free(self) -> bool:
        """Nothing is left to be killed."""
        return self.kill_at(FREE)

    def close(self) -> None:
        """The guardian ends.  If nothing had been freed it kills first."""
        self._socket.close()


class Guardian:
    """The process's loop."""

    def __init__(self, connection: socket.socket, ward: Ward, probe: Probe) -> None:
        self._connection = connection
        self._ward = ward
        self._probe = probe
        self._timer = BootTimer()
        self._kill_at = FREE
        self._runner = probe.find(ward.pid)

    def watch(self) -> None:
        """Return when sam-run is gone and nothing is left to be killed."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        poll.register(self._timer, select.POLLIN)
        while True:
            poll.poll()
            # The clock first: what was said before a pause may be waiting, but the time is over.
            if self._is_due():
                self._kill_all()
            if not self._read():
                break
        if self._kill_at == FREE:
            return
        until = lease_clock() + LOOK_ON_SECONDS
        while self._kill_at != FREE or lease_clock() < until:
            self._kill_all()
            time.sleep(KILL_AGAIN_SECONDS)

    def _is_due(self) -> bool:
        return self._kill_at != FREE and lease_clock() >= self._kill_at

    def _read(self) -> bool:
        """Take the latest order; False if nobody will give another."""
        try:
            data = self._connection.recv(64 * ORDER.size, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        if len(data) % ORDER.size == 0:
            (self._kill_at,) = ORDER.unpack_from(data, len(data) - ORDER.size)
            self._timer.set(self._kill_at)
        return True

    def _kill_all(self) -> None:
        """Again and again until nothing is found: what was being forked meanwhile is found by the next search."""
        killed = kill_all(self._family)
        self._kill_at = lease_clock() + KILL_AGAIN_SECONDS if killed else FREE
        self._timer.set(self._kill_at)

    def _family(self) -> list[Process]:
        """All that descends from sam-run, or has it in its environment."""
        runner, name = str(self._ward.pid), self._ward.name
        found: dict[Process, None] = {}
        if self._runner is not None and self._runner.look() is not Finding.GONE:
            found |= dict.fromkeys(self._probe.descendants(self._ward.pid))
        for pid in _all_pids():
            variables = self._probe.variables(pid)
            if variables.get(environment.PID) == runner and variables.get(environment.NAME) == name:
                found |= dict.fromkeys([*self._probe.trees([pid])])
        return [each for each in found if each.look() not in (Finding.ZOMBIE, Finding.GONE)]


def _all_pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdecimal() and int(entry) != os.getpid()]


def _become_nobodys_child() -> None:
    if os.fork():
        os._exit(0)
    os.setsid()


def main() -> None:
    """`python -m totemd.sam.guardian DESCRIPTOR PID NAME`; started by sam-run only."""
    descriptor, runner, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    _become_nobodys_child()
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    os.chdir("/")
    with socket.socket(fileno=descriptor) as connection:
        guardian = Guardian(connection, Ward(runner, name), PsutilProbe())
        connection.send(_READY)
        guardian.watch()


if __name__ == "__main__":
    main()
