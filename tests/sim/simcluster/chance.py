"""Random choices that depend on the seed and on what they are for, and on nothing else.

A generator is named by (seed, purpose …), so that one more draw in one place never shifts the draws of another: a
disabled fault leaves all the others as they were.  Counter based (SplitMix64), hence the same under every Python.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

MASK = 2**64 - 1
_STEP = 0x9E3779B97F4A7C15


def purpose_key(seed: int, *purpose: object) -> int:
    """A 64-bit key for one purpose of one seed; the parts of *purpose* are told apart by their text."""
    text = "\0".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def scramble(number: int) -> int:
    """SplitMix64's finaliser: 64 well-mixed bits of a counter."""
    number &= MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK
    return number ^ (number >> 31)


def bits_at(key: int, index: int) -> int:
    """The *index*-th draw of the generator *key*, without drawing those before it."""
    number = (key + (index + 1) * _STEP) & MASK  # `scramble` without the call: this is the busiest place of a run
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK
    return number ^ (number >> 31)


class Chance:
    """One named generator."""

    __slots__ = ("_state",)

    def __init__(self, seed: int, *purpose: object) -> None:
        self._state = purpose_key(seed, *purpose)

    def bits(self) -> int:
        """64 random bits."""
        self._state = (self._state + _STEP) & MASK
        return scramble(self._state)

    def fraction(self) -> float:
        """Uniform in [0, 1)."""
        return (self.bits() >> 11) * 2.0**-53

    def happens(self, probability: float) -> bool:
        """True with this probability."""
        return self.fraction() < probability

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.fraction()

    def spread(self, low: float, high: float) -> float:
        """Between *low* and *high*, every order of magnitude equally likely."""
        return float(low * (high / low) ** self.fraction())

    def integer(self, low: int, high: int) -> int:
        """Uniform in low..high, both included."""
        return low + self.bits() % (high - low + 1)

    def choice(self, items: Sequence[T]) -> T:
        """One of *items*."""
        return items[self.bits() % len(items)]

    def weighted(self, items: Sequence[tuple[float, T]]) -> T:
        """One of *items*, each with its weight before it."""
        point = self.fraction() * sum(weight for weight, _ in items)
        for weight, item in items:
            point -= weight
            if point < 0:
                return item
        return items[-1][1]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """A random order of *items*."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = self.bits() % (last + 1)
            order[last], order[other] = order[other], order[last]
        return order
