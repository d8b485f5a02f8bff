"""Types of numbers for `argparse`; what they refuse ends the program with a word on what is accepted."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from math import inf, isfinite


def whole(least: int, most: float = inf) -> Callable[[str], int]:
    """The type of a whole number from *least* to *most*."""

    def read(text: str) -> int:
        value = _integer(text)
        if value is None or not least <= value <= most:
            raise ArgumentTypeError(f"'{text}' is not a whole number{_bounds(least, most)}")
        return value

    return read


def number(least: float, most: float = inf) -> Callable[[str], float]:
    """The type of a finite number from *least* to *most*."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = inf
        if not isfinite(value) or not least <= value <= most:
            raise ArgumentTypeError(f"'{text}' is not a number{_bounds(least, most)}")
        return value

    return read


def span(least: int, most: float = inf) -> Callable[[str], tuple[int, int]]:
    """The type of `N` or `A..B`, both ends included: not empty, and from *least* to *most*."""

    def read(text: str) -> tuple[int, int]:
        words = text.split("..")
        first, last = _integer(words[0]), _integer(words[-1])
        if len(words) > 2 or first is None or last is None or not least <= first <= last <= most:
            raise ArgumentTypeError(
                f"'{text}' is neither N nor A..B, A not above B, with numbers{_bounds(least, most)}"
            )
        return first, last

    return read


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _bounds(least: float, most: float) -> str:
    return f", {least} or more" if most == inf else f" from {least} to {most}"
