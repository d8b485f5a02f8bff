"""Does something that only one process of the cluster may do at a time.

    python examples/lock.py [--nodes N]          (COROSYNC_RUN_DIR chooses the node)

Waits for the lock, holds it until the end of input, gives it to the next.  With `--nodes 3` the lock needs two of three
nodes, so that a split cluster never has two holders that both may write: the fence is what the protected thing checks.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from totemd import aio, replica


async def main() -> None:
    parser = argparse.ArgumentParser(description="A lock for the cluster.")
    parser.add_argument("--nodes", type=int, default=0, help="how many nodes there are; 0: do without a majority")
    nodes = parser.parse_args().nodes
    policy = replica.Majority(nodes) if nodes else replica.Available()
    async with aio.Client() as client, replica.aio.Lock(client, "example-lock", policy) as lock:
        print("waiting", flush=True)
        async with lock.held() as fence:
            print("have it, fence", fence, flush=True)
            end = asyncio.Event()
            asyncio.get_running_loop().add_reader(sys.stdin, lambda: None if sys.stdin.readline() else end.set())
            await end.wait()


if __name__ == "__main__":
    asyncio.run(main())
