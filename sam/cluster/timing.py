"""How long leases are, and why: the one place of this arithmetic.  docs/singleton.md explains it.

```
 claimed                                                                          lease over
 t0 ─ renew_every ─┬──────────── patience ────────────┬─ yield ─┬─ KILL_SECONDS ─┤
     next claim is due   no renewal: the ring may form anew     │ killed         │ nothing of it is left
                                                      stop signal
 heard by a voter ──────────────────────────── hold ────────────────────────────────────┤ votes for another one
```
"""

from __future__ import annotations

import math
from dataclasses import dataclass

DRIFT_MAX = 0.01
"""No node's clock is faster or slower than true time by more than this share (NTP slews by 0.0005 at the most)."""

KILL_SECONDS = 0.5
"""The end of a lease that is kept for SIGKILL to take effect, on a machine that is busy."""

RECOVERY_SECONDS = 0.25
"""What a ring needs besides its timeouts until groups get messages again: joins, recovery, exchange of states."""

REFORMATIONS = 1.5
"""For so many times the time that a ring takes to form anew does a runner wait for a renewal."""

RENEWALS_PER_REFORMATION = 8
RENEW_SECONDS_MIN = 0.05
RENEW_SECONDS_MAX = 1.0

HOLD_SECONDS_MAX = 6 * 3600.0
"""No promise is longer: what a peer's message asks for is bounded by it."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, on any node's clock; derived from the totem section."""

    reformation: float
    """After a node was lost without a word, until the groups of the others go on."""

    @classmethod
    def of_ring(cls, token: float, consensus: float) -> Timing:
        """From the effective token timeout and the consensus timeout, in seconds."""
        return cls(token + consensus + RECOVERY_SECONDS)

    @property
    def renew_every(self) -> float:
        """How often a runner asks for more."""
        return min(max(self.reformation / RENEWALS_PER_REFORMATION, RENEW_SECONDS_MIN), RENEW_SECONDS_MAX)

    @property
    def patience(self) -> float:
        """How late a renewal may be before the application is stopped: losing another node must not stop it."""
        return REFORMATIONS * self.reformation + self.renew_every

    @property
    def vote_wait(self) -> float:
        """How long votes are waited for; those of a ring that breaks meanwhile do not come at all."""
        return self.reformation

    @property
    def settling(self) -> float:
        """How long those who are silent in an exchange are waited for."""
        return self.reformation / 2

    @property
    def stagger(self) -> float:
        """So much longer than the one before it does each candidate in line wait, if that one does nothing."""
        return self.reformation / 2

    def lease(self, yield_seconds: float) -> float:
        """For how long after its claim, on its own clock, an application may run; it is gone by the end."""
        return self.renew_every + self.patience + yield_seconds + KILL_SECONDS

    def failover(self, yield_seconds: float) -> float:
        """From the loss of a node to the start elsewhere, if a quorate ring forms in this time and lasts."""
        return hold_of(self.lease(yield_seconds)) * (1 + DRIFT_MAX) + self.settling


def hold_of(lease: float) -> float:
    """For how long after it heard of the claim, on its own clock, a voter votes for nobody else."""
    return lease * (1 + DRIFT_MAX) / (1 - DRIFT_MAX)


def milliseconds(seconds: float) -> int:
    """For a message: never less than it was."""
    return math.ceil(seconds * 1000)
