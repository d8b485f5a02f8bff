"""A peer that has closed its connection without a word: who sends to it learns it, and nobody else suffers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import zmq
from totemd.ipc.endpoints import Credentials, ServerEndpoint

DEADLINE = 20.0


class Peer:
    def __init__(self, path: Path) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(f"ipc://{path}")

    def close(self) -> None:
        self.context.destroy(linger=0)


def test_to_send_to_a_peer_that_is_gone_says_so_and_loses_nothing_of_others(tmp_path: Path) -> None:
    """A send may swallow the edge that tells of a message which has arrived, also one that fails."""
    path, arrived = tmp_path / "s", asyncio.Queue[tuple[bytes, bytes]]()

    def deliver(peer: bytes, frames: list[bytes | memoryview], _: Credentials | None) -> None:
        arrived.put_nowait((peer, bytes(frames[0])))

    async def story() -> None:
        endpoint = ServerEndpoint(path, deliver, lambda peer: False)
        gone, stays = Peer(path), Peer(path)
        try:
            gone.socket.send(b"hello")
            first, _ = await arrived.get()
            stays.socket.send(b"hello")
            await arrived.get()
            assert endpoint.send(first, [b"answer"])
            gone.close()
            deadline = time.monotonic() + DEADLINE
            while endpoint.send(first, [b"more"]):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)
            for number in range(20):
                stays.socket.send(b"%d" % number)
                time.sleep(0.005)  # the loop must not see the edge: the failing send is to take it away
                assert not endpoint.send(first, [b"nobody"])
                assert (await arrived.get())[1] == b"%d" % number
        finally:
            endpoint.close()
            stays.close()

    asyncio.run(asyncio.wait_for(story(), DEADLINE))
