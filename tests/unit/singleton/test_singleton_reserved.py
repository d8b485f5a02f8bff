"""The sam processes' group is theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from totemd.executive.config.model import Configuration
from totemd.executive.runtime.child import ChildContext
from totemd.ipc.channel import Session
from totemd.ipc.codec import Codec
from totemd.ipc.errors import Status
from totemd.ipc.messages.cpg import TO_CLIENT, Failed, Join, Verb
from totemd.sam.cluster.messages import GROUP
from totemd.services.cpg import service
from totemd.services.cpg.service import RESERVED_PREFIX, CpgProcess


class _Tray:
    """Stands for the socket: keeps what clients are told."""

    def __init__(self) -> None:
        self.codec: Codec[Any] = Codec(TO_CLIENT)
        self.said: list[Any] = []

    def send_encoded(self, _: Session, frames: Sequence[bytes | memoryview]) -> bool:
        self.said.append(self.codec.decode(frames)[0])
        return True

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(("uid", "is_refused"), [(4711, True), (0, False)])
def test_only_root_and_the_owner_join_a_reserved_group(
    uid: int, is_refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert GROUP.startswith(RESERVED_PREFIX)
    tray = _Tray()
    monkeypatch.setattr(service, "Server", lambda *_, **__: tray)

    async def ask() -> None:
        process = CpgProcess(ChildContext("cpg", tmp_path, Configuration(local_node_id=1)))
        await process.start()
        session = Session(b"peer", "client", uid, uid, 1)
        process.opened(session)
        process.received(session, Join(GROUP), ())
        await process.stop()

    asyncio.run(ask())
    refusals = [each for each in tray.said if isinstance(each, Failed)]
    assert [(each.group, each.verb, each.status) for each in refusals] == (
        [(GROUP, Verb.JOIN, Status.ACCESS_DENIED)] if is_refused else []
    )
    assert all("totemd:" in each.detail for each in refusals)
