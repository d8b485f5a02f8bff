"""What a service hands in, before the ring has given it a place."""

from __future__ import annotations

from dataclasses import dataclass

from ....ipc.ids import Guarantee
from ....ipc.messages.stream import Lane


@dataclass(frozen=True, slots=True)
class Submission:
    """One message for the ring: an opaque batch of a service."""

    channel: int
    """Which service gets it at the receivers; 0 is the totem process itself."""
    lane: Lane
    guarantee: Guarantee
    payload: bytes | memoryview
