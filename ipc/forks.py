"""Has this process been forked since?  Asked on every send, so it must cost less than the system call getpid(2)."""

from __future__ import annotations

import os


class _Generation:
    number = 0


def _forked() -> None:
    _Generation.number += 1


os.register_at_fork(after_in_child=_forked)


def generation() -> int:
    """A number that differs between a process and its forked children."""
    return _Generation.number
