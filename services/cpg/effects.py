"""What the engine of the cpg process decided: data, carried out by the shell in this order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from .memberships import LocalClient

Frames = Sequence[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class ToRing:
    """Send to the totem process."""

    message: msgspec.Struct
    payload: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class ToClients:
    """Send the same frames to each of these."""

    clients: tuple[LocalClient, ...]
    frames: Frames


@dataclass(frozen=True, slots=True)
class Dismiss:
    """End the session of a client."""

    client: LocalClient


@dataclass(frozen=True, slots=True)
class Note:
    """Worth a log line at *level* (a name of syslog: `warning`, `notice`, `info`, `debug`)."""

    level: str
    text: str
    fields: dict[str, Any]


Effect = ToRing | ToClients | Dismiss | Note
