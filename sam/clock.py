"""The clock of leases: it counts the time for which this machine was suspended, and nobody can set it."""

from __future__ import annotations

import time


def lease_clock() -> float:
    """Seconds of CLOCK_BOOTTIME: the same for all processes of this machine."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
