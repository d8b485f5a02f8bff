"""What the engine of the quorum process decided: data, carried out by the shell in this order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ...ipc.errors import TotemdError
from ...ipc.messages.quorum import Count
from .wire import Record


@dataclass(frozen=True, slots=True)
class ToRing:
    """Send to the totem process."""

    message: msgspec.Struct
    payload: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Tell:
    """Something is different: tell whoever tracks."""

    count: Count


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request; *handle* is what the shell knows the client by."""

    handle: Any
    request: int
    error: TotemdError | None = None


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep this for a successor of this process on the same running node."""

    record: Record


@dataclass(frozen=True, slots=True)
class Track:
    """Keep the highest expected votes durably."""

    expected: int


@dataclass(frozen=True, slots=True)
class Note:
    """Worth a log line at *level* (a name of syslog: `warning`, `notice`, `info`, `debug`)."""

    level: str
    text: str
    fields: dict[str, Any] = field(default_factory=dict)
    subsystem: str = "QUORUM"


Effect = ToRing | Tell | Answer | Remember | Track | Note
