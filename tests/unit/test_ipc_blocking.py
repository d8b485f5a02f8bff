"""The blocking connection: request and reply, a server that dies and comes back, a forked child."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from totemd.ipc.blocking import BlockingConnection, Happening, Lost
from totemd.ipc.channel import Arrived, Opened, Rejected
from totemd.ipc.codec import encode
from totemd.ipc.errors import AccessDenied, ConnectionLost, NotFound, OperationFailed
from totemd.ipc.messages.control import FROM_CHILD, GroupsQuestion, MetricsQuestion, Pong, Ready, RingQuestion

DEADLINE = 60.0

SERVER = """
import asyncio, pathlib, sys
from totemd.ipc.errors import AccessDenied, InvalidArgument, NotFound
from totemd.ipc.messages.common import Done
from totemd.ipc.messages.control import Pong, RingQuestion, GroupsQuestion, MetricsQuestion, Ready
from totemd.ipc.server import Server

class Handler:
    def admit(self, hello, credentials):
        if hello.role == "stranger":
            raise AccessDenied("not you")
        return 5
    def opened(self, session): pass
    def closed(self, session, why): pass
    def received(self, session, message, payload):
        match message:
            case RingQuestion():
                server.send(session, Pong(7))
                server.send(session, Done(message.request))
            case GroupsQuestion():
                raise NotFound("no such thing")
            case MetricsQuestion():
                pass
            case Ready():
                raise InvalidArgument("a message that is no request")

async def main():
    global server
    questions = RingQuestion | GroupsQuestion | MetricsQuestion | Ready
    server = Server(pathlib.Path(sys.argv[1]), questions, Handler(), node_id=3)
    print("up", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Served:
    """A server process, and connections to it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ipc-", dir="/tmp"))
        self.path = self.folder / "s.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self.connections: list[BlockingConnection[Any]] = []

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", SERVER, str(self.path)], stdout=subprocess.PIPE)
        assert self.process.stdout is not None and self.process.stdout.readline() == b"up\n"

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(DEADLINE)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def connection(self, role: str = "client") -> BlockingConnection[Any]:
        made: BlockingConnection[Any] = BlockingConnection(self.path, role, FROM_CHILD, service="the service")
        self.connections.append(made)
        return made

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        self.kill()
        shutil.rmtree(self.folder)


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    made.start()
    yield made
    made.close()


def pump_until(connection: BlockingConnection[Any], kind: type[Happening]) -> Happening:
    for _ in range(100):
        for happening in connection.pump(DEADLINE):
            if isinstance(happening, kind):
                return happening
    raise AssertionError(f"no {kind}")


def test_a_request_gets_its_reply_and_the_rest_is_kept(served: Served) -> None:
    connection = served.connection()
    welcome = connection.open(DEADLINE)
    assert (welcome.node_id, welcome.credit, welcome.pid) == (3, 5, os.getpid())
    connection.request(RingQuestion(0), timeout=DEADLINE)
    assert connection.has_input()
    assert connection.pump(0) == [Arrived(Pong(7), [])]
    assert connection.pump(0.01) == []


def test_what_is_more_than_enough_is_left_where_it_is(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = served.connection()
    connection.open(DEADLINE)
    arrived = deque([encode(Pong(number)), bytes(1_000)] for number in range(7))
    monkeypatch.setattr(connection._endpoint, "take", lambda: arrived.popleft() if arrived else None)
    counts = [len(connection.pump(0, enough)) for enough in (1, 1_000, 1_050, 2_500)]
    assert counts == [1, 1, 2, 3] and not arrived
    arrived += [[encode(Pong(8)), bytes(1_000)]] * 9
    assert len(connection.pump(0)) == 9


def test_a_refusal_is_raised_and_silence_ends_in_time(served: Served) -> None:
    connection = served.connection()
    connection.open(DEADLINE)
    with pytest.raises(NotFound, match="no such thing"):
        connection.request(GroupsQuestion(0), timeout=DEADLINE)
    with pytest.raises(TimeoutError):
        connection.request(MetricsQuestion(0), timeout=0.05)
    connection.send(Ready())
    assert isinstance(pump_until(connection, Rejected), Rejected)
    assert connection.is_open


def test_who_is_not_let_in_is_told(served: Served) -> None:
    with pytest.raises(AccessDenied, match="not you"):
        served.connection("stranger").open(DEADLINE)


def test_nobody_serves(served: Served) -> None:
    served.kill()
    with pytest.raises(ConnectionLost, match="did not answer"):
        served.connection().open(0.05)
    served.path.unlink(missing_ok=True)
    with pytest.raises(ConnectionLost, match="the service is not running"):
        served.connection().open(DEADLINE)


def test_a_server_that_dies_is_noticed_and_connected_to_again(served: Served) -> None:
    connection = served.connection()
    connection.open(DEADLINE)
    before = connection.generation
    served.kill()
    assert isinstance(connection.pump(DEADLINE)[-1], Lost)
    assert not connection.is_open
    with pytest.raises(ConnectionLost):
        connection.send(RingQuestion(1))
    served.start()
    assert isinstance(pump_until(connection, Opened), Opened)
    assert connection.generation > before
    connection.request(RingQuestion(0), timeout=DEADLINE)


def test_a_server_that_was_replaced_unseen_is_noticed_too(served: Served) -> None:
    connection = served.connection()
    connection.open(DEADLINE)
    served.kill()
    served.start()
    with pytest.raises(ConnectionLost):
        connection.request(RingQuestion(0), timeout=DEADLINE)
    assert isinstance(pump_until(connection, Opened), Opened)
    connection.request(RingQuestion(0), timeout=DEADLINE)


def test_a_closed_connection_says_so(served: Served) -> None:
    connection = served.connection()
    connection.open(DEADLINE)
    connection.close()
    connection.close()
    for action in (lambda: connection.pump(0), lambda: connection.request(RingQuestion(0))):
        with pytest.raises(ConnectionLost):
            action()
    assert not connection.has_input() and connection.descriptors() == ()


def test_a_forked_child_is_refused_and_leaves_the_parent_alone(served: Served) -> None:
    connection = served.connection()
    connection.open(DEADLINE)
    pid = os.fork()
    if pid == 0:
        outcome = 1
        try:
            connection.close()
            connection.pump(0)
        except OperationFailed:
            outcome = 0
        finally:
            os._exit(outcome)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    connection.request(RingQuestion(0), timeout=DEADLINE)
