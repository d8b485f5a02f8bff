"""A member of the group that is measured, `member.py RUN_DIR GROUP MEMBERS`; `members.py` starts and drives it.

It says "joined" once the group has so many members.  Each line on standard input is a command, a JSON object whose
`do` is `flood`, `ping` or `connect` and whose other items are the arguments of the function of that name; each is
answered by one line of JSON, when the last message has been delivered here.
"""

from __future__ import annotations

import json
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from typing import Any

import totemd

CHUNK_BYTES = 2 * 1024 * 1024
CHUNK_MESSAGES = 1_000
"""Sent before deliveries are looked at again; a member that only sends would be expelled for not reading."""

HEAD = struct.Struct("<IIQQ")
"""Sender, whether it is its last message, its number, nanoseconds when it was sent (0: not to be timed)."""

CHAINED_BYTES = 16
"""Of the head: what makes a message different from all others."""

PATIENCE_SECONDS = 120.0

WARM_UP = 10
"""Messages of a latency run that do not count, and one in `WARM_UP_SHARE` more."""

WARM_UP_SHARE = 20


class Tally:
    """What was delivered: how many, in which order, from when to when."""

    def __init__(self, senders: int) -> None:
        """Complete with the last message of each of so many senders."""
        self._senders = senders
        self.messages = self.bytes = self.chain = self.changes = 0
        self._first = self._last = 0.0

    @property
    def complete(self) -> bool:
        return not self._senders

    def take(self, group: totemd.Group, timeout: float) -> None:
        """Take what is there; wait for the first of it at most *timeout* seconds."""
        events: list[totemd.Event] = []
        if timeout:
            try:
                events.append(group.receive(timeout))
            except TimeoutError:
                return
        events += group.pending()
        if not events:
            return
        if not self.messages:
            self._first = time.monotonic()
        crc32, message, chain = zlib.crc32, totemd.Message, self.chain
        for event in events:
            if event.__class__ is not message:
                self.changes += 1
                continue
            payload = event.payload
            self.messages += 1
            self.bytes += len(payload)
            chain = crc32(payload[:CHAINED_BYTES], chain)
            if payload[4]:
                self._senders -= 1
        self.chain, self._last = chain, time.monotonic()

    def report(self) -> dict[str, Any]:
        return {
            "messages": self.messages,
            "bytes": self.bytes,
            "chain": self.chain,
            "changes": self.changes,
            "seconds": self._last - self._first,
        }


def flood(group: totemd.Group, me: int, *, size: int, seconds: float, senders: list[int]) -> dict[str, Any]:
    """Send for a while (if this is a sender), receive everything."""
    tally = Tally(len(senders))
    if me in senders:
        filler = bytes(max(0, size - HEAD.size))
        chunk = max(1, min(CHUNK_MESSAGES, CHUNK_BYTES // size))
        end, sent = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            group.mcast_many(_numbered(me, sent, chunk, filler))
            sent += chunk
            tally.take(group, 0.0)
        group.mcast(HEAD.pack(me, 1, sent, 0) + filler)
    while not tally.complete:
        _take_surely(tally, group)
    return tally.report()


def _numbered(me: int, first: int, count: int, filler: bytes) -> Iterator[bytes]:
    pack = HEAD.pack
    for number in range(first, first + count):
        yield pack(me, 0, number, 0) + filler


def _take_surely(tally: Tally, group: totemd.Group) -> None:
    before = tally.messages
    tally.take(group, PATIENCE_SECONDS)
    if tally.messages == before and not tally.changes:
        raise SystemExit(f"nothing was delivered for {PATIENCE_SECONDS:g} s, after {before} messages")


def ping(group: totemd.Group, me: int, *, size: int, count: int, sender: int, pause: float = 0.0) -> dict[str, Any]:
    """One message outstanding, after *pause* seconds of silence; the nodes share a clock, and its time is in it."""
    filler = bytes(max(0, size - HEAD.size))
    warm_up = WARM_UP + count // WARM_UP_SHARE
    delays: list[int] = []
    chain = changes = 0
    for number in range(warm_up + count):
        if me == sender:
            if pause:
                time.sleep(pause)
            group.mcast(HEAD.pack(me, 0, number, time.monotonic_ns()) + filler)
        while not isinstance(event := group.receive(PATIENCE_SECONDS), totemd.Message):
            changes += 1
        delays.append(time.monotonic_ns() - HEAD.unpack_from(event.payload)[3])
        chain = zlib.crc32(event.payload[:CHAINED_BYTES], chain)
    report = {"messages": warm_up + count, "bytes": 0, "chain": chain, "changes": changes}
    return report | {"delays_us": sorted(delay // 1000 for delay in delays[warm_up:])}


def connect(run_dir: str, me: int, *, count: int, node: int) -> dict[str, Any]:
    """Seconds until fresh clients were connected, and until they were the members of a fresh group."""
    connected: list[float] = []
    joined: list[float] = []
    for number in range(count if me == node else 0):
        began = time.monotonic()
        with totemd.Client(run_dir=run_dir) as client:
            let_in = time.monotonic()
            client.join(f"connect-{number}")
            joined.append(time.monotonic() - let_in)
            connected.append(let_in - began)
    return {"connect_seconds": connected, "join_seconds": joined}


def main() -> None:
    run_dir, name, members = sys.argv[1:]
    with totemd.Client(run_dir=run_dir) as client, client.join(name) as group:
        while len(group.members) < int(members):
            group.receive(timeout=PATIENCE_SECONDS)
        group.pending()
        print("joined", flush=True)
        for line in sys.stdin:
            command = json.loads(line)
            match command.pop("do"):
                case "flood":
                    result = flood(group, client.node_id, **command)
                case "ping":
                    result = ping(group, client.node_id, **command)
                case "connect":
                    result = connect(run_dir, client.node_id, **command)
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
