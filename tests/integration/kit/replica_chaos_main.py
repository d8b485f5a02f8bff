"""A process with a replicated dictionary and a lock, for chaos: counts under the lock as often as it gets it.

    python replica_chaos_main.py RUN_DIR NODES RESULT

Each line of the result is `["grant", fence]`, `["kept", key]` (a key that was written and acknowledged), or its
`["state", {…}]`.
The first line of its input ends the work, the second has it tell its state.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
from pathlib import Path

from totemd import aio, replica

PAUSE_SECONDS = 0.01


async def main() -> None:
    run_dir, nodes, result = sys.argv[1:]
    policy, over = replica.Majority(int(nodes)), asyncio.Event()

    def told() -> None:
        if not sys.stdin.readline():
            sys.exit("nobody is there any more")
        over.set()

    asyncio.get_running_loop().add_reader(sys.stdin, told)
    with Path(result).open("a", buffering=1) as file:
        async with aio.Client(run_dir) as client:
            print("started", flush=True)
            async with (
                replica.aio.ReplicatedDict(client, "chaos-dict", policy) as shared,
                replica.aio.Lock(client, "chaos-lock", policy) as lock,
            ):
                print("active", flush=True)
                for number in itertools.count():
                    if over.is_set():
                        break
                    with contextlib.suppress(replica.OutcomeUnknown, TimeoutError):
                        async with asyncio.timeout(0.5):
                            fence = await lock.acquire()
                        file.write(json.dumps(["grant", fence]) + "\n")
                        await lock.release()
                    key = f"{client.node_id}.{os.getpid()}.{number}"
                    with contextlib.suppress(replica.OutcomeUnknown, TimeoutError):
                        async with asyncio.timeout(5):
                            await shared.add("total")
                            await shared.set(key, number)
                        file.write(json.dumps(["kept", key]) + "\n")
                    await asyncio.sleep(PAUSE_SECONDS)
                print("resting", flush=True)
                over.clear()
                await over.wait()
                await shared.sync()
                file.write(json.dumps(["state", dict(shared)]) + "\n")
                print("told", flush=True)
                over.clear()
                await over.wait()


if __name__ == "__main__":
    asyncio.run(main())
