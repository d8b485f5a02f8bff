"""The cpg process without an executive: `cpg_main.py RUN_DIR NODE_ID`; SIGTERM stops it cleanly."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from totemd.executive.config.model import AccessRules, Configuration, NodeEntry
from totemd.executive.runtime.child import ChildContext
from totemd.services.cpg.service import CpgProcess


async def main(run_dir: str, node_id: int, uids: tuple[int, ...]) -> None:
    configuration = Configuration(
        nodes=(NodeEntry(node_id),), local_node_id=node_id, access=AccessRules(uids=uids, gids=())
    )
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    program = CpgProcess(ChildContext("cpg", Path(run_dir), configuration))
    await program.start()
    print("ready", flush=True)
    await stopped.wait()
    await program.stop()


asyncio.run(main(sys.argv[1], int(sys.argv[2]), tuple(map(int, sys.argv[3:]))))
