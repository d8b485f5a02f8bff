"""How long a rotation of the token takes, measured, and how soon a token that may be lost is sent again.

After RFC 6298 (the retransmission timer of TCP): smoothed mean and deviation, a doubled timeout after every
repetition, and no sample from a rotation in which something was repeated.  Only repetition follows what is measured;
the timeouts that decide about failure stay as configured (docs/totem.md §4.9).
"""

from __future__ import annotations

from typing import Final

FIRST_SECONDS: Final = 0.1
"""Patience before anything was measured."""

SHORTEST_SECONDS: Final = 0.005
"""Least patience: on a busy machine a process waits so long for a processor."""

MEAN_WEIGHT: Final = 1 / 8
"""RFC 6298: alpha."""

DEVIATION_WEIGHT: Final = 1 / 4
"""RFC 6298: beta."""

DEVIATIONS: Final = 4
"""RFC 6298: K."""

SAMPLE_FACTOR_MAX: Final = 2
"""A sample counts for at most so many times the mean: rotations in which another member repeated a lost token are
in the samples, and must not make everybody wait longer and longer."""

DOUBLINGS_MAX: Final = 16
"""More would only count further; `Rhythm.patience` is bounded by the configuration long before."""


class Rhythm:
    """One ring's rotations as seen by one member."""

    __slots__ = ("_deviation", "_doublings", "_sampling", "mean", "passed_at")

    def __init__(self) -> None:
        self.mean = 0.0
        """Smoothed seconds from passing the token on to having it again; 0 until it was measured."""
        self.passed_at = float("-inf")
        """When the token was last passed on, or repeated."""
        self._deviation = 0.0
        self._doublings = 0
        self._sampling = False

    def passed(self, now: float) -> None:
        """The token goes to the successor."""
        self.passed_at = now
        self._sampling = True

    def repeated(self, now: float) -> None:
        """The last token was sent once more: nobody can say which one the next one answers."""
        self.passed_at = now
        self._doublings = min(self._doublings + 1, DOUBLINGS_MAX)
        self._sampling = False

    def disturbed(self) -> None:
        """The rotation that is under way is none: somebody keeps the token."""
        self._sampling = False

    def returned(self, now: float) -> None:
        """A new token has come."""
        if not self._sampling:
            return
        self._sampling, self._doublings = False, 0
        took = max(0.0, now - self.passed_at)
        if not self.mean:
            self.mean, self._deviation = took, took / 2
            return
        took = min(took, SAMPLE_FACTOR_MAX * self.mean)
        self._deviation += (abs(took - self.mean) - self._deviation) * DEVIATION_WEIGHT
        self.mean += (took - self.mean) * MEAN_WEIGHT

    def patience(self, longest: float) -> float:
        """Seconds to wait for the next token before the last one is repeated; *longest* is what is configured."""
        measured = self.mean + DEVIATIONS * self._deviation if self.mean else FIRST_SECONDS
        return min(max(measured, SHORTEST_SECONDS) * (1 << self._doublings), longest)
