"""A member that sends and records, in a process of its own, which may be killed at any moment.

    python member.py RUN_DIR GROUP NODE INCARNATION MESSAGES_PER_SECOND HISTORY

What happens is appended to HISTORY, one JSON array a line (`records.py` reads them), with one write each time it has
looked, so that a SIGKILL loses little.  A message is recorded before it is sent.  It follows the lines of its standard
input: `quiet` (send no more), `last` (send one more message), and ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import select
import signal
import sys
import time
import zlib
from typing import Any

import totemd

HEADER = "{node}/{incarnation}/{number}/"
SMALLEST, LARGEST = 40, 40_000
HUGE, HUGE_SHARE = 300_000, 0.002
"""Sizes: each order of magnitude comes equally often; a few are much larger than what one rotation carries."""

SAFE_SHARE = 0.25
BURST, BURST_SHARE = 20, 0.05
"""Now and then so many are sent as one batch."""

LOOK_SECONDS = 0.1
"""Longest time between two looks at the standard input."""

CONNECT_SECONDS = 2.0
JOIN_SECONDS = 10.0
"""After which an attempt is given up and made anew."""

LAST_GUARANTEE = totemd.Guarantee.SAFE
LAST_WORD = b"the last word"
"""What a last message begins with, so that it is known as one when it comes."""

_PR_SET_PDEATHSIG = 1


class History:
    """The file, and what has not been written to it yet."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._lines: list[str] = []

    def note(self, *record: Any) -> None:
        """Remember a record; the second element becomes the time."""
        self._lines.append(json.dumps([record[0], round(time.monotonic(), 6), *record[1:]], separators=(",", ":")))

    def write(self) -> None:
        """Hand what is remembered to the kernel, which keeps it whatever happens to this process."""
        if self._lines:
            os.write(self._file, ("\n".join(self._lines) + "\n").encode())
            self._lines.clear()


class Orders:
    """What the run wants of this member."""

    def __init__(self) -> None:
        os.set_blocking(0, False)
        self._text = b""
        self.quiet = False
        self.last = 0
        """Last messages that are still to be sent."""
        self.ended = False

    def look(self) -> None:
        """Take what has been said."""
        while not self.ended and select.select([0], [], [], 0)[0]:
            chunk = os.read(0, 4096)
            self.ended = not chunk
            *lines, self._text = (self._text + chunk).split(b"\n")
            self.quiet = self.quiet or b"quiet" in lines
            self.last += lines.count(b"last")


class Load:
    """The member's work."""

    def __init__(self, node: int, incarnation: int, rate: float, history: History, orders: Orders) -> None:
        self._node, self._incarnation, self._rate = node, incarnation, rate
        self._history, self._orders = history, orders
        self._chance = random.Random(f"{node}/{incarnation}")
        self._next_number = 0
        self._due = time.monotonic()

    def work(self, client: totemd.Client, group: totemd.Group) -> None:
        """Read and send until the run ends it."""
        while not self._orders.ended:
            self._orders.look()
            self._read(group, 0.0)
            self._send_what_is_due(client, group)
            self._read(group, min(LOOK_SECONDS, max(0.0, self._due - time.monotonic())))

    def _send_what_is_due(self, client: totemd.Client, group: totemd.Group) -> None:
        with contextlib.suppress(totemd.TryAgain):
            if self._orders.last:
                self._send(group, LAST_GUARANTEE, SMALLEST, LAST_WORD)
                self._orders.last -= 1
        if self._orders.quiet:
            self._due = time.monotonic() + LOOK_SECONDS
            return
        if time.monotonic() < self._due:
            return
        count = BURST if self._chance.random() < BURST_SHARE else 1
        self._due = time.monotonic() + self._chance.expovariate(self._rate) * count
        with contextlib.suppress(totemd.TryAgain), client.batch() if count > 1 else contextlib.nullcontext():
            for _ in range(count):
                safe = self._chance.random() < SAFE_SHARE
                self._send(group, totemd.Guarantee.SAFE if safe else totemd.Guarantee.AGREED, self._size())

    def _size(self) -> int:
        if self._chance.random() < HUGE_SHARE:
            return HUGE
        return int(SMALLEST * (LARGEST / SMALLEST) ** self._chance.random())

    def _send(self, group: totemd.Group, guarantee: totemd.Guarantee, size: int, word: bytes = b"") -> None:
        number = self._next_number
        header = HEADER.format(node=self._node, incarnation=self._incarnation, number=number).encode() + word
        payload = header + self._chance.randbytes(max(0, size - len(header)))
        self._history.note("send", number, int(guarantee), zlib.crc32(payload))
        self._history.write()
        try:
            group.mcast(payload, guarantee, wait=False)
        except totemd.TryAgain:
            self._history.note("unsent", number)
            raise
        self._next_number += 1

    def _read(self, group: totemd.Group, timeout: float) -> None:
        with contextlib.suppress(TimeoutError):
            while True:
                self._record(group.receive(timeout))
                timeout = 0.0
        self._history.write()

    def _record(self, event: totemd.Event) -> None:
        note = self._history.note
        match event:
            case totemd.Message(sender=sender, payload=payload, guarantee=guarantee, sent_in=ring):
                node, incarnation, number, body = bytes(payload).split(b"/", 3)
                message = (int(node), int(incarnation), int(number))
                sent_in = None if ring is None else (ring.sequence, ring.representative)
                note("message", message, sender, int(guarantee), zlib.crc32(payload), sent_in)
                if body.startswith(LAST_WORD):
                    note("last", message)
            case totemd.ConfigChange(members=members, joined=joined, left=left):
                plain = [each.address for each in members]
                note(
                    "change", plain, [list(map(int, each)) for each in joined], [list(map(int, each)) for each in left]
                )
            case totemd.RingChange(ring=ring_id, members=nodes):
                note("ring", (ring_id.sequence, ring_id.representative), nodes)
            case totemd.Rejoined(unconfirmed=unconfirmed):
                note("rejoined", unconfirmed)


def connect(run_dir: str, orders: Orders) -> totemd.Client | None:
    """A connection, as soon as the node lets one in; None: the run has ended."""
    while not orders.ended:
        orders.look()
        try:
            return totemd.Client(run_dir=run_dir, timeout=CONNECT_SECONDS)
        except totemd.ConnectionLost:
            time.sleep(LOOK_SECONDS)
    return None


def join(client: totemd.Client, name: str, orders: Orders) -> totemd.Group | None:
    """Membership, as soon as it can be had; None: the run has ended."""
    while not orders.ended:
        orders.look()
        with contextlib.suppress(TimeoutError):
            return client.join(name, timeout=JOIN_SECONDS)
    return None


def main() -> None:
    run_dir, name, node, incarnation, rate, path = sys.argv[1:]
    # A run that is killed takes its members along.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    history, orders = History(path), Orders()
    client = connect(run_dir, orders)
    if client is None:
        return
    with client:
        group = join(client, name, orders)
        if group is None:
            return
        history.note("hello", int(node), int(incarnation), client.address)
        Load(int(node), int(incarnation), float(rate), history, orders).work(client, group)
        history.write()


if __name__ == "__main__":
    main()
