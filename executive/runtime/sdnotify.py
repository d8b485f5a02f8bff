"""What the executive tells the service manager: sd_notify(3)'s protocol, a datagram to `$NOTIFY_SOCKET`."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

STOP_EXTENSION_SECONDS = 30
"""How long a stop that makes progress may take from now on, whatever `TimeoutStopSec` says."""


class ServiceManager:
    """The service manager, if there is one; otherwise every call does nothing.

    A manager that does not listen is no reason to fail, so errors are dropped.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        variables = os.environ if environment is None else environment
        self._address = _address(variables.get("NOTIFY_SOCKET", ""))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if self._address else None
        if self._socket is not None:
            self._socket.setblocking(False)
        self.watchdog_seconds = _watchdog_seconds(variables)
        """How often `alive` must be said at least; None: nobody waits for it."""

    def ready(self, status: str) -> None:
        """The node serves."""
        self._tell("READY=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._tell(f"STATUS={text}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it.  (systemd.service(5), Type=notify-reload, wants the time.)"""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str) -> None:
        """The node stops."""
        self._tell("STOPPING=1", f"STATUS={status}")

    def still_stopping(self) -> None:
        """The stop makes progress."""
        self._tell(f"EXTEND_TIMEOUT_USEC={STOP_EXTENSION_SECONDS * 1_000_000}")

    def alive(self) -> None:
        """The loop turns."""
        self._tell("WATCHDOG=1")

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, *assignments: str) -> None:
        if self._socket is not None:
            try:
                self._socket.sendto("\n".join(assignments).encode(), self._address)
            except OSError:
                return


def _address(variable: str) -> str:
    """Absolute paths and abstract names are allowed; anything else is none."""
    if variable.startswith("@"):
        return "\0" + variable[1:]
    return variable if variable.startswith("/") else ""


def _watchdog_seconds(variables: Mapping[str, str]) -> float | None:
    """Half of what the manager waits, as sd_watchdog_enabled(3) advises."""
    microseconds, pid = variables.get("WATCHDOG_USEC", ""), variables.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(microseconds) / 2_000_000
