"""How many descriptors a process may have: for those that serve many others, each of which takes two or three."""

from __future__ import annotations

import contextlib
import resource

DESCRIPTORS_WANTED = 16_384
"""For a server's 4096 sessions, with a socket and a pidfd each, or so many applications that are watched."""


def raise_limit() -> int:
    """Raise the soft limit to what is wanted, as far as the hard one allows; returns what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(DESCRIPTORS_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
