"""Lost datagrams of a frame come again alone: what a receiver asks for, and what a sender keeps for it.

```
a request:   0 number of the frame   8 how many datagrams it has   10 a bit for each that is missing, lowest first …
```

The ring asks for whole frames, at a visit of the token, and slows down.  That is right when much is lost, and dear
when one datagram of a hundred and eighty is.  So a receiver who has most of a frame asks its sender for the rest as
soon as something later has come, or nothing more comes.  All of it happens below the ring, for which the frame merely
took longer.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from .datagrams import FRAGMENTS_MAX, Run

KEPT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of frames that a sender keeps to repair them; the oldest goes."""

_REQUEST: Final = struct.Struct(">QH")


def request(number: int, count: int, missing: Iterable[int]) -> bytes:
    """Asks for the *missing* ones of the *count* datagrams of the frame *number*."""
    bits = sum(1 << index for index in missing)
    return _REQUEST.pack(number, count) + bits.to_bytes(-(-count // 8), "little")


class SentRuns:
    """The cut frames that this node sent lately."""

    def __init__(self) -> None:
        self._runs: OrderedDict[int, Run] = OrderedDict()
        self._bytes = 0

    def keep(self, number: int, run: Run) -> None:
        """The frame *number* goes out as *run*."""
        self._runs[number] = run
        self._bytes += len(run.data)
        while self._bytes > KEPT_BYTES_MAX:
            _, oldest = self._runs.popitem(last=False)
            self._bytes -= len(oldest.data)

    def asked(self, payload: bytes) -> Run | None:
        """What a `request` wants; None if that is not here any more, or is no request."""
        if len(payload) < _REQUEST.size:
            return None
        number, count = _REQUEST.unpack_from(payload)
        run = self._runs.get(number)
        if run is None or count > FRAGMENTS_MAX or count != len(run) or len(payload) != _REQUEST.size + -(-count // 8):
            return None
        bits = int.from_bytes(payload[_REQUEST.size :], "little")
        if not bits or bits >> count:
            return None
        # In their order: only the last one of a frame is shorter, and so may be the last of a run.
        parts = [run.data[at * run.size : (at + 1) * run.size] for at in range(count) if bits >> at & 1]
        return Run(b"".join(parts), run.size if len(parts) > 1 else len(parts[0]))
