"""An application that says in a file when it runs, and as what: `python witnessed.py FILE NODE [SECONDS]`.

Each line is written by one call to the end of the file, so lines of several writers never mix, and stand in the order
in which they were written.  All nodes of a test are on one machine: its clock is everybody's.
"""

from __future__ import annotations

import os
import signal
import sys
import time

PAUSE_SECONDS = 0.01


def main() -> None:
    """Write until SIGTERM comes, and for so many more seconds."""
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    node, stubborn = sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    fence = os.environ.get("TOTEMD_SAM_FENCE", "0")
    until = float("inf")

    def asked(*_: object) -> None:
        nonlocal until
        until = min(until, time.monotonic() + stubborn)

    signal.signal(signal.SIGTERM, asked)
    while time.monotonic() < until:
        os.write(file, f"{time.monotonic():.6f} {node} {os.getpid()} {fence}\n".encode())
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
