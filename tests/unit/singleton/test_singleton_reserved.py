"""The sam processes' group is theirs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from totemd.executive.config.model import Configuration
from totemd.executive.runtime.child import ChildContext
from totemd.ipc.channel import Session
from totemd.ipc.errors import AccessDenied
from totemd.ipc.messages.cpg import Join
from totemd.sam.cluster.messages import GROUP
from totemd.services.cpg.service import RESERVED_PREFIX, CpgProcess


def test_only_root_and_the_owner_join_a_reserved_group(tmp_path: Path) -> None:
    assert GROUP.startswith(RESERVED_PREFIX)

    async def ask(uid: int) -> None:
        process = CpgProcess(ChildContext("cpg", tmp_path, Configuration(local_node_id=1)))
        session = Session(b"peer", "client", uid, uid, 1)
        process.opened(session)
        process.received(session, Join(GROUP), ())

    with pytest.raises(AccessDenied, match="totemd:"):
        asyncio.run(ask(4711))
    asyncio.run(ask(0))
