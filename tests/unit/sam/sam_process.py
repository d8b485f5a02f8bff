"""A sam process without an executive, run by a test: `sam_process.py RUN_DIR`.  It stops cleanly on SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from totemd.executive.config.model import Configuration
from totemd.executive.runtime.child import ChildContext
from totemd.sam.service import SamProcess


async def live() -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    process = SamProcess(ChildContext("sam", Path(sys.argv[1]), Configuration(local_node_id=7)))
    await process.start()
    await stopped.wait()
    await process.stop()


asyncio.run(live())
