"""A dictionary shared by all who run this in one cluster.

    python examples/replicated_dict.py [KEY=VALUE …]          (COROSYNC_RUN_DIR chooses the node)

Sets what is given, and shows every change from then on.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from totemd import aio, replica


def show(key: str | int, value: Any) -> None:
    print(f"{key} is gone" if value is replica.MISSING else f"{key} = {value}", flush=True)


async def main() -> None:
    async with aio.Client() as client, replica.aio.ReplicatedDict(client, "settings", on_change=show) as settings:
        print("here:", dict(settings), flush=True)
        await settings.update(pair.split("=", 1) for pair in sys.argv[1:])
        await settings.replica.closed()


if __name__ == "__main__":
    asyncio.run(main())
