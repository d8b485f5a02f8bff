"""A member of a flooded group, in a process of its own.

    python flood.py RUN_DIR GROUP BYTES ROLE

It says `joined`, then waits for a line.  A `sender` sends numbered messages, and reads, until the next line; then it
says FIN to the group.  A `reader` only reads.  Both tell how far they are, so that no sender is far ahead of anybody: a
member that gets no processor for a while would else be expelled as well.  They end when all senders have said FIN, and
print what they saw as JSON.  A `lazy` one reads nothing until the next line, and then to the end, which it names.
"""

from __future__ import annotations

import contextlib
import json
import select
import struct
import sys
from typing import Any

import totemd

NUMBER = struct.Struct("<Q")
FIN = b"FIN"
READ = b"READ"
"""`READ` and a number for each sender in the order of their nodes: so many messages of it have been read."""

SENDERS = (1, 3)
READERS = 3
ON_THE_WAY = 256
"""Messages that a sender is ahead of the last reader at the most."""

TOLD_EVERY = 64
"""Messages that are read between two `READ`."""


class Member:
    """What one member does and sees."""

    def __init__(self, client: totemd.Client, group: totemd.Group, size: int) -> None:
        self._client, self._group = client, group
        self._filling = bytes(size - NUMBER.size)
        self.sent = 0
        self.received: dict[int, int] = {}
        self.after_expulsion = 0
        """Messages since somebody was expelled."""
        self.gaps = 0
        self.left: list[list[int]] = []
        self.finished = 0
        self._told = 0
        self._read: dict[totemd.Address, int] = {}
        """How far each reader is with what is sent here."""

    def read(self, tell: bool = True) -> None:
        """Take in what is there."""
        for event in self._group.pending():
            match event:
                case totemd.Message(payload=payload) if payload == FIN:
                    self.finished += 1
                case totemd.Message(sender=sender, payload=payload) if payload.startswith(READ):
                    counts = struct.unpack(f"<{len(SENDERS)}Q", payload[len(READ) :])
                    if self._client.node_id in SENDERS:
                        self._read[sender] = counts[SENDERS.index(self._client.node_id)]
                case totemd.Message(sender=sender, payload=payload):
                    expected = self.received.get(sender.node_id, 0)
                    self.gaps += NUMBER.unpack_from(payload)[0] != expected
                    self.received[sender.node_id] = expected + 1
                    self.after_expulsion += bool(self.left)
                case totemd.ConfigChange(left=left):
                    self.left += [[member.pid, int(member.reason)] for member in left]
                case totemd.Rejoined():
                    self.gaps += 1
        if tell and sum(self.received.values()) - self._told >= TOLD_EVERY:
            self._told = sum(self.received.values())
            received = [self.received.get(node, 0) for node in SENDERS]
            self._group.mcast(READ + struct.pack(f"<{len(SENDERS)}Q", *received))

    def send(self) -> None:
        """As much as is taken, up to a limit."""
        with contextlib.suppress(totemd.TryAgain), self._client.batch():
            for _ in range(ON_THE_WAY - (self.sent - self._all_have_read)):
                self._group.mcast(NUMBER.pack(self.sent) + self._filling, wait=False)
                self.sent += 1

    @property
    def _all_have_read(self) -> int:
        return min(self._read.values()) if len(self._read) == READERS else 0

    def wait(self, timeout: float | None, *others: Any) -> bool:
        """Until there is something to read, from the group or the others; returns whether from those."""
        ready, _, _ = select.select([self._group, *others], [], [], timeout)
        return any(each in ready for each in others)

    def summary(self) -> dict[str, Any]:
        """What it prints."""
        received = {str(node): count for node, count in sorted(self.received.items())}
        return {
            **{"sent": self.sent, "received": received, "gaps": self.gaps, "left": self.left},
            "after_expulsion": self.after_expulsion,
        }


def take_part(member: Member, group: totemd.Group, sends: bool) -> None:
    """To the end."""
    while member.finished < len(SENDERS):
        member.read()
        if sends:
            member.send()
        if member.wait(0.01 if sends else 1.0, *([sys.stdin] if sends else [])):
            sys.stdin.readline()
            sends = False
            group.mcast(FIN)


def main() -> None:
    run_dir, name, size, role = sys.argv[1:]
    with totemd.Client(run_dir) as client:
        group = client.join(name)
        print("joined", flush=True)
        member = Member(client, group, int(size))
        sys.stdin.readline()
        if role == "lazy":
            sys.stdin.readline()
            try:
                while True:
                    member.read(tell=False)
                    member.wait(1.0)
            except totemd.TotemdError as error:
                print(json.dumps({**member.summary(), "end": type(error).__name__, "text": str(error)}), flush=True)
        else:
            take_part(member, group, role == "sender")
            print(json.dumps(member.summary()), flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    main()
