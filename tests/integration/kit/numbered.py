"""A member that sends numbered messages under load and writes down all that happens to it.

    python numbered.py RUN_DIR GROUP blocking|asyncio RESULT

It says `joined`, `back` after each absence, and ends when all members have said FIN, which it does itself at the next
line of its input.  The result is a JSON list: `["m", node, number]`, `["c", members, joined, left]` (nodes),
`["r", unconfirmed]`, and at last `["e", sent]`: how many it has sent, which is the number that would be next.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import sys
from pathlib import Path
from typing import Any

import totemd
from totemd import aio

FIN = b"FIN"
MEMBERS = 3
ON_THE_WAY = 200
"""Own messages that have not come back."""


class Log:
    """What happened."""

    def __init__(self, node_id: int) -> None:
        self._node_id = node_id
        self.events: list[list[Any]] = []
        self.next = 0
        self.on_the_way = 0
        self.finished: set[int] = set()

    @property
    def over(self) -> bool:
        """Whether everybody has said FIN."""
        return len(self.finished) == MEMBERS

    def sent(self) -> None:
        """One more."""
        self.next += 1
        self.on_the_way += 1

    def add(self, event: totemd.Event) -> None:
        """Write it down."""
        match event:
            case totemd.Message(sender=sender, payload=payload) if payload == FIN:
                self.finished.add(sender.node_id)
            case totemd.Message(sender=sender, payload=payload):
                self.events.append(["m", sender.node_id, int(payload)])
                self.on_the_way -= sender.node_id == self._node_id
            case totemd.ConfigChange(members=members, joined=joined, left=left):
                self.events.append(["c", *([each.node_id for each in part] for part in (members, joined, left))])
            case totemd.Rejoined(unconfirmed=unconfirmed):
                self.events.append(["r", unconfirmed])
                # What was gathered while away goes out now.
                self.on_the_way -= unconfirmed
                print("back", flush=True)


def blocking(run_dir: str, name: str) -> Log:
    with totemd.Client(run_dir) as client, client.join(name) as group:
        log, sends = Log(client.node_id), True
        print("joined", flush=True)
        while not log.over:
            with contextlib.suppress(totemd.TryAgain):
                while sends and log.on_the_way < ON_THE_WAY:
                    group.mcast(b"%d" % log.next, wait=False)
                    log.sent()
            with contextlib.suppress(TimeoutError):
                log.add(group.receive(timeout=0.02))
            for event in group.pending():
                log.add(event)
            if sends and select.select([sys.stdin], [], [], 0)[0]:
                sends = False
                if not sys.stdin.readline():
                    sys.exit("nobody is there any more")
                group.mcast(FIN)
        return log


async def asynchronous(run_dir: str, name: str) -> Log:
    async with aio.Client(run_dir) as client, client.join(name) as group:
        log, over = Log(client.node_id), asyncio.Event()
        print("joined", flush=True)

        def told() -> None:
            if not sys.stdin.readline():
                sys.exit("nobody is there any more")
            over.set()

        asyncio.get_running_loop().add_reader(sys.stdin, told)

        async def send() -> None:
            while not over.is_set():
                if log.on_the_way < ON_THE_WAY:
                    await group.mcast(b"%d" % log.next)
                    log.sent()
                else:
                    await asyncio.sleep(0.001)
            asyncio.get_running_loop().remove_reader(sys.stdin)
            await group.mcast(FIN)

        sender = asyncio.create_task(send())
        while not log.over:
            log.add(await group.receive())
        await sender
        return log


def main() -> None:
    run_dir, name, kind, result = sys.argv[1:]
    log = blocking(run_dir, name) if kind == "blocking" else asyncio.run(asynchronous(run_dir, name))
    Path(result).write_text(json.dumps([*log.events, ["e", log.next]]))


if __name__ == "__main__":
    main()
