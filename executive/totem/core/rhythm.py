"""How long a rotation of the token takes, measured, and how soon a token that may be lost is sent again.

After RFC 6298 (the retransmission timer of TCP): smoothed mean and deviation, a doubled timeout after every
repetition, and no sample from a rotation in which nobody can say what it was that came back.  Only repetition follows
what is measured; the timeouts that decide about failure stay as configured (docs/totem.md §4.9).
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

DEVIATIONS: Final = 2
"""RFC 6298: K, there 4.  A repetition in vain costs one small packet here, and waiting for it the whole ring."""

SAMPLE_FACTOR_MAX: Final = 2
"""A sample counts for at most so many times the mean: rotations in which another member repeated a lost token are
in the samples, and must not make everybody wait longer and longer."""

ANSWER_SHARE_MIN: Final = 1 / 2
"""A token that comes sooner after a repetition than this share of a mean rotation answers the first one."""

DOUBLINGS_MAX: Final = 16
"""More would only count further; `Rhythm.patience` is bounded by the configuration long before."""


class Rhythm:
    """One ring's rotations as seen by one member."""

    __slots__ = ("_began", "_deviation", "_doublings", "_repeats", "first_passed_at", "mean", "passed_at")

    def __init__(self) -> None:
        self.mean = 0.0
        """Smoothed seconds from passing the token on to having it again; 0 until it was measured."""
        self.passed_at = float("-inf")
        """When the token was last passed on, or repeated."""
        self.first_passed_at = float("-inf")
        """When the token was last passed on for the first time."""
        self._began: float | None = None
        """When the rotation that is under way began; None if it measures nothing."""
        self._repeats = 0
        """Repetitions in this rotation."""
        self._deviation = 0.0
        self._doublings = 0

    def passed(self, now: float) -> None:
        """The token goes to the successor."""
        self.first_passed_at = self.passed_at = self._began = now
        self._repeats = 0

    def repeated(self, now: float) -> None:
        """The last token was sent once more."""
        self.passed_at = now
        self._repeats += 1
        self._doublings = min(self._doublings + 1, DOUBLINGS_MAX)

    def disturbed(self) -> None:
        """The rotation that is under way is none: somebody holds the token."""
        self._began = None

    def returned(self, now: float) -> None:
        """A new token has come."""
        began, self._began = self._began, None
        answers_any = bool(self._repeats) and now - self.passed_at >= ANSWER_SHARE_MIN * self.mean
        if began is None or answers_any:
            self._doublings = max(0, self._doublings - 1)
            return
        self._doublings = 0
        took = max(0.0, now - began)
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
