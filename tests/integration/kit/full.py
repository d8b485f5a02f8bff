"""How large the tests are: bounded by default, as large as the goals say with TOTEMD_FULL=1."""

from __future__ import annotations

import os

FULL = os.environ.get("TOTEMD_FULL", "") not in ("", "0")


def sized(bounded: int, full: int) -> int:
    """*bounded* in an everyday run, *full* when the whole size was asked for."""
    return full if FULL else bounded
