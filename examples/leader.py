"""Leads the cluster, or waits for its turn: the member that has been there for longest leads.

python examples/leader.py          (COROSYNC_RUN_DIR chooses the node)
"""

from __future__ import annotations

import asyncio

import totemd
from totemd import aio, replica


def show(leader: totemd.Address | None, fence: int) -> None:
    print("leader:", "not known" if leader is None else f"{leader.node_id}/{leader.pid}", "fence", fence, flush=True)


async def main() -> None:
    async with (
        aio.Client() as client,
        replica.aio.Leader(client, "example-leader", replica.Available(), on_change=show) as leader,
    ):
        fence = await leader.elected()
        print("I lead, fence", fence, flush=True)
        await leader.replica.closed()


if __name__ == "__main__":
    asyncio.run(main())
