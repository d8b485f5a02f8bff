"""State machines for tests with real processes."""

from __future__ import annotations

from totemd.replica import Rejected


class Counter:
    """Adds numbers."""

    def __init__(self) -> None:
        self.total = 0

    def apply(self, command: bytes) -> int:
        if not command.lstrip(b"-").isdigit():
            raise Rejected(f"not a number: {command!r}")
        self.total += int(command)
        return self.total

    def snapshot(self) -> bytes:
        return str(self.total).encode()

    def restore(self, snapshot: bytes) -> None:
        self.total = int(snapshot)
