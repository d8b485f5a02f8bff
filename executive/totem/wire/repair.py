"""Lost datagrams of a frame come again alone: what a receiver asks for, and what a sender keeps for it.

```
a request:   0 boot   8 number of the frame   16 how many datagrams it has   18 a bit for each missing, lowest first …
```

The ring asks for whole frames, at a visit of the token, and slows down.  That is right when much is lost, and dear
when one datagram of a hundred and eighty is.  So a receiver who has most of a frame asks its sender for the rest as
soon as something later has come, or nothing more comes.  All of it happens below the ring, for which the frame merely
took longer.  What comes again says so: it can complete a frame, and never begin one.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import Final

from .datagrams import FRAGMENTS_MAX, Run, as_repair
from .reassembly import Wanted

KEPT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of frames that a sender keeps to repair them; the oldest goes."""

REQUESTS_PER_SECOND_MAX: Final = 2_000
"""Requests to one node in the long run: anybody can make up the beginning of a frame."""

REQUESTS_AT_ONCE_MAX: Final = 512
"""And within a moment."""

_REQUEST: Final = struct.Struct(">8sQH")


def request(wanted: Wanted) -> bytes:
    """Asks for what is *wanted*."""
    bits = sum(1 << index for index in wanted.missing)
    return wanted.name + wanted.datagrams.to_bytes(2, "big") + bits.to_bytes(-(-wanted.datagrams // 8), "little")


class SentRuns:
    """The cut frames that this node sent lately."""

    def __init__(self, boot: bytes) -> None:
        """*boot*: as it stands in the headers of fragments."""
        self._boot = boot
        self._runs: OrderedDict[int, Run] = OrderedDict()
        self._bytes = 0

    def keep(self, number: int, run: Run) -> None:
        """The frame *number* goes out as *run*, maybe once more; whole frames need not be kept."""
        if len(run.data) <= run.size:
            return
        known = self._runs.pop(number, None)
        self._runs[number] = run
        self._bytes += len(run.data) - (len(known.data) if known is not None else 0)
        while self._bytes > KEPT_BYTES_MAX:
            _, oldest = self._runs.popitem(last=False)
            self._bytes -= len(oldest.data)

    def asked(self, payload: bytes) -> Run | None:
        """What a `request` wants; None if that is not here any more, or is no request."""
        if len(payload) < _REQUEST.size:
            return None
        boot, number, count = _REQUEST.unpack_from(payload)
        run = self._runs.get(number) if boot == self._boot else None
        if run is None or count > FRAGMENTS_MAX or count != len(run) or len(payload) != _REQUEST.size + -(-count // 8):
            return None
        bits = int.from_bytes(payload[_REQUEST.size :], "little")
        if not bits or bits >> count:
            return None
        # In their order: only the last one of a frame is shorter, and so may be the last of a run.
        parts = [as_repair(run.data[at * run.size : (at + 1) * run.size]) for at in range(count) if bits >> at & 1]
        return Run(b"".join(parts), run.size if len(parts) > 1 else len(parts[0]))
