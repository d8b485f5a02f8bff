"""What a sam-run does with a lease: start when it is given one, ask for more, stop in time.  Pure.

It trusts nobody to tell it that the lease is over: not the sam process, which may have died, nor the network.  Times
are seconds of this machine's clock that counts suspension; a process that was paused learns from it on waking that its
time is over, whatever has been waiting for it meanwhile.
"""

from __future__ import annotations

import enum

from .effects import AskRenewal, BeginTerm, Leash, TellYielded, TenureEffect, Unleash, Yield
from .timing import KILL_SECONDS


class Phase(enum.Enum):
    """Where it stands."""

    STANDBY = "standby"
    RUNNING = "running"
    YIELDING = "yielding"
    """The application is being ended for want of a lease."""


class Tenure:
    """One sam-run's."""

    def __init__(self, yield_seconds: float) -> None:
        """*yield_seconds*: what the application may take to end by itself after the stop signal."""
        self.phase = Phase.STANDBY
        self.fence = 0
        self.ends_at = 0.0
        self._yield_seconds = yield_seconds
        self._renew_every = 0.0
        self._renew_at = 0.0
        self._effects: list[TenureEffect] = []

    @property
    def kill_at(self) -> float:
        """When everything of the application is killed."""
        return self.ends_at - KILL_SECONDS

    @property
    def yield_at(self) -> float:
        """When the application is told to end."""
        return self.kill_at - self._yield_seconds

    @property
    def term(self) -> tuple[int, float] | None:
        """For a sam process that has to be told again: fence and end of the lease, if anything may run."""
        return None if self.phase is Phase.STANDBY else (self.fence, self.ends_at)

    def may_start(self, now: float) -> bool:
        """Whether an instance may be started: not after a pause in which the time to yield has passed."""
        return self.phase is Phase.RUNNING and now < self.yield_at

    def promoted(self, fence: int, ends_at: float, renew_every: float, stored: bytes, now: float) -> None:
        """The lease is given.  One that has been on its way for too long is given back."""
        if self.phase is not Phase.STANDBY:
            return
        self.fence, self.ends_at, self._renew_every = fence, ends_at, renew_every
        if now >= self.yield_at:
            self._effects.append(TellYielded(fence))
            return
        self.phase, self._renew_at = Phase.RUNNING, now + renew_every
        self._leash()
        self._effects.append(BeginTerm(fence, stored))

    def extended(self, fence: int, ends_at: float, now: float) -> None:
        """The lease lasts longer.  What comes after the time to yield comes too late: somebody else may run by then."""
        if self.phase is Phase.RUNNING and fence == self.fence and now < self.yield_at and ends_at > self.ends_at:
            self.ends_at = ends_at
            self._leash()

    def over(self, *, stays: bool = True) -> None:
        """Nothing of the application runs any more, nor will be started in this term.

        Who does not stay says that it leaves instead; what is said to it meanwhile is void.
        """
        if self.phase is not Phase.STANDBY:
            self.phase = Phase.STANDBY
            self._effects.append(Unleash())
            if stays:
                self._effects.append(TellYielded(self.fence))

    def expire(self, now: float) -> None:
        """Let what is due by *now* take effect."""
        if self.phase is not Phase.RUNNING:
            return
        if now >= self.yield_at:
            self.phase = Phase.YIELDING
            self._effects.append(Yield(self.kill_at))
        elif now >= self._renew_at:
            self._renew_at = now + self._renew_every
            self._effects.append(AskRenewal(self.fence))

    def next_deadline(self) -> float | None:
        """When `expire` is to be called; None: nothing is waited for."""
        return min(self.yield_at, self._renew_at) if self.phase is Phase.RUNNING else None

    def take_effects(self) -> list[TenureEffect]:
        """What is to be done now, in this order; each effect is handed out once."""
        effects, self._effects = self._effects, []
        return effects

    def _leash(self) -> None:
        self._effects.append(Leash(self.ends_at - KILL_SECONDS / 2))
