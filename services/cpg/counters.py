"""What the metrics of the cpg process count."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Numbers since the start of the process."""

    batches_delivered: int = 0
    messages_delivered: int = 0
    bytes_delivered: int = 0
    batches_submitted: int = 0
    messages_submitted: int = 0
    dropped: int = 0
    malformed: int = 0
    expelled: int = 0
    exchanges: int = 0
