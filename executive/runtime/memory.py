"""How the C library keeps memory that a process frees: for processes through which large messages pass.

glibc gives large blocks back to the kernel as soon as they are free, and gets them again, page by page, for the next
message: hundreds of page faults for each megabyte, more time than all copies of it take.
"""

from __future__ import annotations

import ctypes

LARGE_BYTES = 16 * 1024 * 1024
"""Smaller blocks come from the process's own memory, and so much that is free stays there."""

# mallopt(3)
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def keep_what_is_freed() -> bool:
    """Keep up to `LARGE_BYTES` at hand; returns whether this C library can be told."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    return all([mallopt(option, LARGE_BYTES) for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD)])
