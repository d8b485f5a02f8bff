"""A member of the group that is measured; started by throughput.py and loss.py, driven by lines on standard input.

| line | does |
| --- | --- |
| `flood SIZE COUNT SENDER` | node SENDER sends COUNT messages of SIZE bytes; everybody receives them |
| `flow SIZE MS SENDER` | node SENDER sends messages of SIZE bytes for MS milliseconds; everybody receives them |
| `ping COUNT SENDER` | node SENDER sends COUNT messages one after the other, each when the last has come back |
| `idle COUNT MS SENDER` | the same with MS milliseconds of silence before each, so that the ring comes to rest |

Each line is answered by one line of JSON when the last message has been delivered here.
"""

from __future__ import annotations

import json
import sys
import time
import zlib
from typing import Any

import totemd

CHUNK_BYTES = 512 * 1024
"""Sent before deliveries are looked at again; a member that only sends would be expelled for not reading."""

NUMBER_BYTES = 8
LAST = 1 << 63
"""Added to the number of a flow's last message."""

LAST_BYTE = LAST >> 56

PATIENCE_SECONDS = 120.0


class Tally:
    """What was delivered: how many, in which order, from when to when."""

    def __init__(self, count: int | None) -> None:
        """Of *count* messages; None: until the one with the mark `LAST`."""
        self._count = count
        self._ended = False
        self.received = 0
        self.bytes = 0
        self.chain = 0
        self._first = 0.0
        self._last = 0.0

    @property
    def complete(self) -> bool:
        return self._ended if self._count is None else self.received >= self._count

    def read(self, group: totemd.Group, timeout: float) -> None:
        """Take what is there; wait for the first of it at most *timeout* seconds."""
        receive, crc32 = group.receive, zlib.crc32
        try:
            while not self.complete:
                event = receive(timeout)
                timeout = 0.0
                if isinstance(event, totemd.Message):
                    if not self.received:
                        self._first = time.monotonic()
                    self.received += 1
                    self.bytes += len(event.payload)
                    self.chain = crc32(event.payload[:NUMBER_BYTES], self.chain)
                    self._ended = event.payload[NUMBER_BYTES - 1] >= LAST_BYTE
        except TimeoutError:
            pass
        self._last = time.monotonic()

    def report(self) -> dict[str, Any]:
        return {
            "received": self.received,
            "bytes": self.bytes,
            "chain": self.chain,
            "seconds": self._last - self._first,
        }


def flood(group: totemd.Group, size: int, count: int, sends: bool) -> dict[str, Any]:
    """Send (or not) and receive everything."""
    tally = Tally(count)
    filler = bytes(max(0, size - NUMBER_BYTES))
    chunk = max(1, min(10_000, CHUNK_BYTES // size))
    sent = 0
    while sends and sent < count:
        upto = min(count, sent + chunk)
        group.mcast_many(number.to_bytes(NUMBER_BYTES, "little") + filler for number in range(sent, upto))
        sent = upto
        tally.read(group, 0.0)
    while not tally.complete:
        tally.read(group, PATIENCE_SECONDS)
    return tally.report()


def flow(group: totemd.Group, size: int, milliseconds: int, sends: bool) -> dict[str, Any]:
    """Send (or not) for a while and receive everything."""
    tally = Tally(None)
    filler = bytes(size - NUMBER_BYTES)
    chunk = max(1, min(1_000, CHUNK_BYTES // size))
    end = time.monotonic() + milliseconds / 1000
    sent = 0
    while sends and time.monotonic() < end:
        group.mcast_many(number.to_bytes(NUMBER_BYTES, "little") + filler for number in range(sent, sent + chunk))
        sent += chunk
        tally.read(group, 0.0)
    if sends:
        group.mcast((sent | LAST).to_bytes(NUMBER_BYTES, "little") + filler)
    while not tally.complete:
        tally.read(group, PATIENCE_SECONDS)
    return tally.report()


def ping(group: totemd.Group, count: int, pause_seconds: float, sends: bool) -> dict[str, Any]:
    """One message outstanding; the time of its sending is in it, and all nodes share one clock."""
    delays: list[int] = []
    while len(delays) < count:
        if sends:
            if pause_seconds:
                time.sleep(pause_seconds)
            group.mcast(time.monotonic_ns().to_bytes(NUMBER_BYTES, "little"))
        while not isinstance(event := group.receive(PATIENCE_SECONDS), totemd.Message):
            pass
        delays.append(time.monotonic_ns() - int.from_bytes(event.payload, "little"))
    return {"delays_us": sorted(delay // 1000 for delay in delays)}


def main() -> None:
    run_dir, name = sys.argv[1:]
    with totemd.Client(run_dir=run_dir) as client, client.join(name) as group:
        print("joined", flush=True)
        for line in sys.stdin:
            verb, *words = line.split()
            first, *more = [int(word) for word in words]
            sends = more[-1] == client.node_id
            match verb:
                case "flood":
                    result = flood(group, first, more[0], sends)
                case "flow":
                    result = flow(group, first, more[0], sends)
                case _:
                    result = ping(group, first, more[0] / 1000 if verb == "idle" else 0.0, sends)
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
