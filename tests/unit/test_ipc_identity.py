"""Who a server takes for whom: a routing id that a peer has chosen is nobody's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import zmq
import zmq.asyncio
from totemd.ipc.endpoints import Credentials
from totemd.ipc.messages.common import PROTOCOL, Hello
from totemd.ipc.messages.cpg import FROM_CLIENT
from totemd.ipc.server import Closed, Server


class Handler:
    def __init__(self) -> None:
        self.sessions: list[Any] = []

    def admit(self, hello: Hello, credentials: Credentials) -> int:
        return 0

    def opened(self, session: Any) -> None:
        self.sessions.append(session)

    def received(self, session: Any, message: Any, payload: Any) -> None:
        raise AssertionError("nothing was sent")

    def closed(self, session: Any, why: Closed) -> None:
        self.sessions.remove(session)


async def answer(path: Path, routing_id: bytes | None) -> dict[str, Any]:
    with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        if routing_id is not None:
            socket.setsockopt(zmq.ROUTING_ID, routing_id)
        socket.connect(f"ipc://{path}")
        await socket.send(msgspec.msgpack.encode(Hello("client", PROTOCOL)))
        async with asyncio.timeout(20):
            answered: dict[str, Any] = msgspec.msgpack.decode(await socket.recv())
    return answered


def test_a_socket_with_a_routing_id_of_its_own_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        handler, path = Handler(), tmp_path / "s"
        server: Server[Any] = Server(path, FROM_CLIENT, handler, node_id=1)
        try:
            refused = await answer(path, b"fixed")
            assert refused["type"] == "refused" and "ZMQ_ROUTING_ID" in refused["detail"]
            assert not handler.sessions
            assert (await answer(path, None))["type"] == "welcome"
        finally:
            server.close()

    asyncio.run(main())
