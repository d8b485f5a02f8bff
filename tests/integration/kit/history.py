"""A member in a process of its own: sends messages of mixed sizes, records all that is delivered, ends at FIN.

    python history.py RUN_DIR GROUP COUNT SEED RESULT

It prints `joined`, `quarter` when a quarter has been sent, and `sent` when everything has and has come back.  The
result is a JSON object: `sent` holds the digests of its messages in order, `events` what was delivered:
`["m", node, digest]`, `["c", members, joined, left]`, `["rejoined"]`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import totemd

SMALLEST, LARGEST = 1, 200_000
FIN = b"FIN"
PAUSE_SECONDS = 0.02


def digest(payload: bytes) -> str:
    return hashlib.blake2b(payload, digest_size=8).hexdigest()


class Member:
    """One member's work."""

    def __init__(self, group: totemd.Group, node_id: int, count: int, seed: int) -> None:
        self._group = group
        self._node_id = node_id
        self._count = count
        self._chance = random.Random(seed)
        self._outbox = b""
        self._last = ""
        self._done = False
        self.sent: list[str] = []
        self.events: list[list[Any]] = []

    def work(self) -> None:
        """Send everything, then read until FIN."""
        reported = 0
        while not self._done:
            self._read(0.0)
            if len(self.sent) < self._count:
                self._send_some()
            else:
                self._read(PAUSE_SECONDS)
            if reported == 0 and len(self.sent) >= self._count // 4:
                reported = 1
                print("quarter", flush=True)
            if reported == 1 and len(self.sent) == self._count and not self._last:
                reported = 2
                print("sent", flush=True)

    def _send_some(self) -> None:
        """As much as there is credit for; a member that only sent would be expelled for not reading."""
        with contextlib.suppress(totemd.TryAgain):
            for _ in range(20):
                if len(self.sent) == self._count:
                    return
                self._outbox = self._outbox or self._next()
                self._group.mcast(self._outbox, wait=False)
                self._last = digest(self._outbox)
                self.sent.append(self._last)
                self._outbox = b""
            return
        self._read(PAUSE_SECONDS)

    def _next(self) -> bytes:
        """Small sizes are as frequent as large ones are rare: each order of magnitude comes equally often."""
        size = int(SMALLEST * (LARGEST / SMALLEST) ** self._chance.random())
        name = b"%d/%d/" % (self._node_id, len(self.sent))
        return (name + self._chance.randbytes(max(0, size - len(name))))[:size] or b"."

    def _read(self, timeout: float) -> None:
        with contextlib.suppress(TimeoutError):
            while not self._done:
                self._record(self._group.receive(timeout))
                timeout = 0.0

    def _record(self, event: totemd.Event) -> None:
        match event:
            case totemd.Message(payload=payload) if payload == FIN:
                self._done = True
            case totemd.Message(sender=sender, payload=payload):
                name = digest(payload)
                self.events.append(["m", sender.node_id, name])
                if sender.node_id == self._node_id and name == self._last:
                    self._last = ""
            case totemd.ConfigChange(members=members, joined=joined, left=left):
                self.events.append(["c", *([list(map(int, each)) for each in one] for one in (members, joined, left))])
            case totemd.Rejoined():
                self.events.append(["rejoined"])
                self._last = ""


def main() -> None:
    run_dir, name, count, seed, result = sys.argv[1:]
    with totemd.Client(run_dir=run_dir) as client, client.join(name) as group:
        print("joined", flush=True)
        member = Member(group, client.node_id, int(count), int(seed))
        member.work()
        Path(result).write_text(json.dumps({"sent": member.sent, "events": member.events}))


if __name__ == "__main__":
    main()
