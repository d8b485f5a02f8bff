"""The hardware watchdog: a device that resets the machine unless it is fed; see watchdog-api in the kernel's manual."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os

_SET_TIMEOUT = 0xC0045706
"""WDIOC_SETTIMEOUT: _IOWR('W', 6, int)."""

_FOOD = b"\0"
_DISARM = b"V"
"""The magic close: without it, a device goes on counting when it is closed."""


class Watchdog:
    """One armed device.  It is fed until `starve`; `disarm` lets the machine live on without it."""

    def __init__(self, device: str, timeout: int) -> None:
        """Arm it: from now on the machine is reset when it is not fed for *timeout* seconds.

        Raises:
            OSError: there is no such device, or another program has it.
        """
        self._fd = os.open(device, os.O_WRONLY | os.O_CLOEXEC)
        self.is_starved = False
        self.takes_timeout = self._set_timeout(timeout)
        """Whether it counts as long as it was told to."""

    def feed(self) -> None:
        """Put the reset off.

        Raises:
            OSError: the device does not take it.
        """
        if not self.is_starved and self._fd >= 0:
            os.write(self._fd, _FOOD)

    def starve(self) -> None:
        """Let the machine be reset: nothing feeds or disarms the device any more."""
        self.is_starved = True

    def disarm(self) -> None:
        """Let go of the device.  The machine is not reset, unless that was meant."""
        if self._fd >= 0:
            if not self.is_starved:
                with contextlib.suppress(OSError):
                    os.write(self._fd, _DISARM)
            self.abandon()

    def abandon(self) -> None:
        """Close the device and leave it armed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _set_timeout(self, seconds: int) -> bool:
        wanted = array.array("i", [seconds])
        try:
            fcntl.ioctl(self._fd, _SET_TIMEOUT, wanted)
        except OSError:
            return False
        return wanted[0] == seconds
