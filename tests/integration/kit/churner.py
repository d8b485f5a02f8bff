"""A process that joins and leaves ten groups by chance, sends in them, and writes down what it sees as it goes.

    python churner.py RUN_DIR SEED RESULT

It says `ready`, and ends at the end of its input.  Each line of the result is `[group, membership, event]`: memberships
are counted, and an event is `["m", node, pid, number]`, `["c", members, joined, left]` or `["end", why]`.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any, TextIO

import totemd
from totemd import aio

GROUPS = [f"churn {number}" for number in range(10)]
PAUSE_SECONDS = 0.01


class Churner:
    """One process."""

    def __init__(self, client: aio.Client, chance: random.Random, result: TextIO) -> None:
        self._client, self._chance, self._result = client, chance, result
        self._groups: dict[str, aio.Group] = {}
        self._memberships = 0
        self._number = 0

    async def live(self, over: asyncio.Event) -> None:
        """To the end."""
        async with asyncio.TaskGroup() as tasks:
            readers = []
            while not over.is_set():
                name = self._chance.choice(GROUPS)
                group = self._groups.get(name)
                if group is None:
                    group = self._groups[name] = await self._client.join(name)
                    readers.append(tasks.create_task(self._read(name, group)))
                elif self._chance.random() < 0.1:
                    del self._groups[name]
                    await group.leave()
                else:
                    for _ in range(self._chance.randint(1, 3)):
                        self._number += 1
                        await group.mcast(b"%d " % self._number + bytes(self._chance.choice((0, 100, 5_000))))
                await asyncio.sleep(PAUSE_SECONDS)
            for group in self._groups.values():
                await group.leave()

    async def _read(self, name: str, group: aio.Group) -> None:
        self._memberships += 1
        membership = self._memberships
        async for event in group:
            match event:
                case totemd.Message(sender=sender, payload=payload):
                    self._write(name, membership, ["m", *sender, int(payload.split(b" ")[0])])
                case totemd.ConfigChange(members=members, joined=joined, left=left):
                    lists = ([list(map(int, each)) for each in part] for part in (members, joined, left))
                    self._write(name, membership, ["c", *lists])
                case totemd.Rejoined():
                    self._write(name, membership, ["end", "away"])
                    self._memberships += 1
                    membership = self._memberships
        self._write(name, membership, ["end", "left"])

    def _write(self, name: str, membership: int, event: list[Any]) -> None:
        self._result.write(json.dumps([name, membership, event]) + "\n")


async def main() -> None:
    run_dir, seed, result = sys.argv[1:]
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, over.set)
    with Path(result).open("w", buffering=1) as file:
        async with aio.Client(run_dir) as client:
            print("ready", flush=True)
            await Churner(client, random.Random(int(seed)), file).live(over)


if __name__ == "__main__":
    asyncio.run(main())
