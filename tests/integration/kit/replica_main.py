"""A replica with a large state in a process of its own, told by its keyboard what to do.

python replica_main.py GROUP [PADDING_BYTES]: says `active APPLIED` when it has the state; each line is a command.
"""

from __future__ import annotations

import asyncio
import sys

from totemd import aio
from totemd.replica import Status
from totemd.replica import aio as replicas


class Padded:
    """A counter with much to carry."""

    def __init__(self, padding: int) -> None:
        self.total, self.padding = 0, bytes(padding)

    def apply(self, command: bytes) -> int:
        self.total += int(command)
        return self.total

    def snapshot(self) -> bytes:
        print("snapshot", flush=True)
        return self.total.to_bytes(8, "little") + self.padding

    def restore(self, snapshot: bytes) -> None:
        self.total, self.padding = int.from_bytes(snapshot[:8], "little"), snapshot[8:]
        print("restored", self.total, len(self.padding), flush=True)


async def main() -> None:
    machine = Padded(int(sys.argv[2]) if len(sys.argv) > 2 else 0)

    def told(status: Status) -> None:
        print(status.value, machine.total, flush=True)

    async with aio.Client() as client, replicas.Replica(client, sys.argv[1], machine, on_status=told) as replica:
        loop = asyncio.get_running_loop()
        lines: asyncio.Queue[str] = asyncio.Queue()
        loop.add_reader(sys.stdin, lambda: lines.put_nowait(sys.stdin.readline()))
        while line := await lines.get():
            print("result", await replica.submit(line.encode()), flush=True)
        loop.remove_reader(sys.stdin)


asyncio.run(main())
