"""A child's life, against a real socket: configured, ready, asked, stopped, orphaned."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from totemd.executive.config.model import Configuration, TotemOptions
from totemd.executive.runtime.child import LIFELINE_VARIABLE, ORPHAN_SECONDS, ChildContext, run_child
from totemd.ipc.channel import Session
from totemd.ipc.endpoints import Credentials
from totemd.ipc.errors import AccessDenied
from totemd.ipc.messages.common import Hello, Refused
from totemd.ipc.messages.control import (
    FROM_CHILD,
    Configure,
    Fatal,
    GroupsQuestion,
    Ping,
    Pong,
    Ready,
    Reconfigure,
    RingAnswer,
    RingQuestion,
    Stop,
)
from totemd.ipc.paths import EXECUTIVE_SOCKET
from totemd.ipc.server import Closed, Server

FAKE_CHILD = Path(__file__).with_name("fake_child.py")

WAIT_SECONDS = 20.0
"""Bound of every wait; a machine that tests on two cores may be busy."""

LATE_SECONDS = 5.0
"""How late the kernel may be on it."""


class Parent:
    """The executive's end, played by the test."""

    def __init__(self, run_dir: Path, name: str = "totem") -> None:
        self.run_dir = run_dir
        self.accepts = True
        self.sessions: asyncio.Queue[Session] = asyncio.Queue()
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.server: Server[Any] = Server(run_dir / EXECUTIVE_SOCKET, FROM_CHILD, self, node_id=1)
        read_end, self.lifeline = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, str(FAKE_CHILD), name, "--run-dir", str(run_dir)],
            pass_fds=(read_end,),
            env={**os.environ, LIFELINE_VARIABLE: str(read_end)},
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(read_end)

    def admit(self, hello: Hello, credentials: Credentials) -> int:
        if not self.accepts:
            raise AccessDenied("not you")
        assert (hello.role, credentials.pid) == ("totem", self.process.pid)
        return 0

    def opened(self, session: Session) -> None:
        self.sessions.put_nowait(session)

    def received(self, session: Session, message: Any, payload: Sequence[bytes | memoryview]) -> None:
        self.messages.put_nowait(message)

    def closed(self, session: Session, why: Closed) -> None:
        pass

    async def configure(self, token: int = 1234) -> Session:
        session = await asyncio.wait_for(self.sessions.get(), WAIT_SECONDS)
        self.server.send(session, Configure(packed(token), str(self.run_dir)), b"k" * 128)
        return session

    async def next(self) -> Any:
        return await asyncio.wait_for(self.messages.get(), WAIT_SECONDS)

    async def exit_code(self, within: float = WAIT_SECONDS) -> int:
        pidfd = os.pidfd_open(self.process.pid)
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(pidfd, ended.set)
        try:
            await asyncio.wait_for(ended.wait(), within)
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
        return self.process.wait()

    def cut_lifeline(self) -> None:
        os.close(self.lifeline)
        self.lifeline = -1

    @property
    def events(self) -> list[str]:
        return (self.run_dir / "events").read_text().splitlines()


def packed(token: int) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(Configuration(totem=TotemOptions(token=token))))


@asynccontextmanager
async def parent_of(run_dir: Path, mode: str = "") -> AsyncIterator[Parent]:
    (run_dir / "totem.mode").write_text(mode)
    parent = Parent(run_dir)
    try:
        yield parent
    finally:
        parent.process.kill()
        parent.process.communicate()
        parent.server.close()
        if parent.lifeline >= 0:
            os.close(parent.lifeline)


def test_it_is_configured_serves_and_stops_when_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with parent_of(tmp_path) as parent:
            session = await parent.configure()
            assert await parent.next() == Ready()
            parent.server.send(session, Ping(7))
            assert await parent.next() == Pong(7)
            parent.server.send(session, RingQuestion(3))
            answer = await parent.next()
            assert isinstance(answer, RingAnswer)
            assert (answer.request, answer.members) == (3, (1, 2))
            parent.server.send(session, GroupsQuestion(4))
            refused = await parent.next()
            assert isinstance(refused, Refused)
            assert (refused.request, refused.detail) == (4, "totem does not know")
            parent.server.send(session, Reconfigure(packed(99)))
            parent.server.send(session, Stop())
            assert await parent.exit_code() == 0
            assert parent.events == ["totem starts", "totem key 128 token 1234", "totem token 99", "totem stops"]

    asyncio.run(story())


def test_only_the_executive_ends_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with parent_of(tmp_path) as parent:
            session = await parent.configure()
            assert await parent.next() == Ready()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR2, signal.SIGIO):
                parent.process.send_signal(number)
                parent.server.send(session, Ping(int(number)))
                assert await parent.next() == Pong(int(number))

    asyncio.run(story())


@pytest.mark.parametrize("mode", ["", "never ready", "hang", "stubborn"])
def test_an_orphan_is_gone_within_a_second(tmp_path: Path, mode: str) -> None:
    """Even one whose loop hangs, or that does not stop; a busy machine gets more."""

    async def story() -> None:
        async with parent_of(tmp_path, mode) as parent:
            session = await parent.configure()
            if mode != "never ready":
                assert await parent.next() == Ready()
            if mode == "hang":
                await silence(parent, session)
            parent.cut_lifeline()
            await parent.exit_code(within=ORPHAN_SECONDS + LATE_SECONDS)
            if mode == "":
                assert parent.events[-1] == "totem stops"

    async def silence(parent: Parent, session: Session) -> None:
        """Return when its loop does not turn any more."""
        for sequence in range(1000):
            parent.server.send(session, Ping(sequence))
            try:
                await asyncio.wait_for(parent.messages.get(), 0.5)
            except TimeoutError:
                return

    asyncio.run(story())


def test_an_orphan_that_was_never_configured_is_gone_too(tmp_path: Path) -> None:
    async def story() -> None:
        async with parent_of(tmp_path) as parent:
            await asyncio.wait_for(parent.sessions.get(), WAIT_SECONDS)
            parent.cut_lifeline()
            await parent.exit_code(within=ORPHAN_SECONDS + LATE_SECONDS)

    asyncio.run(story())


def test_a_refused_child_ends(tmp_path: Path) -> None:
    async def story() -> None:
        async with parent_of(tmp_path) as parent:
            parent.accepts = False
            assert await parent.exit_code() in (1, -signal.SIGALRM)  # the latter where ending takes a while
            assert parent.process.stderr is not None
            assert "refuses this process reason='not you'" in parent.process.stderr.read()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("fatal", "totem is of no use"), ("configuration", "totem: x.conf:7: no such thing")],
)
def test_what_a_restart_will_not_mend_is_reported(tmp_path: Path, mode: str, reason: str) -> None:
    async def story() -> None:
        async with parent_of(tmp_path, mode) as parent:
            session = await parent.configure()
            assert await parent.next() == Fatal(reason)
            parent.server.send(session, Stop())
            assert await parent.exit_code() == 1
            assert parent.messages.empty()

    asyncio.run(story())


def test_a_configuration_that_it_cannot_read_is_fatal(tmp_path: Path) -> None:
    async def story() -> None:
        async with parent_of(tmp_path) as parent:
            session = await asyncio.wait_for(parent.sessions.get(), WAIT_SECONDS)
            parent.server.send(session, Configure(msgspec.Raw(msgspec.msgpack.encode({"totem": 5})), "x"), b"")
            fatal = await parent.next()
            assert isinstance(fatal, Fatal)
            assert "the configuration cannot be used here" in fatal.reason
            assert await parent.exit_code() == 1

    asyncio.run(story())


@pytest.mark.parametrize(
    ("mode", "words"),
    [("refuse", "cannot start reason='cannot bind'"), ("bug", "KeyError: 'a bug'"), ("late bug", "KeyError: 'a bug'")],
)
def test_what_a_restart_may_mend_ends_the_process_with_words(tmp_path: Path, mode: str, words: str) -> None:
    async def story() -> None:
        async with parent_of(tmp_path, mode) as parent:
            await parent.configure()
            assert await parent.exit_code() == 1
            assert parent.process.stderr is not None
            assert words in parent.process.stderr.read()

    asyncio.run(story())


def test_nobody_else_starts_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIFELINE_VARIABLE, raising=False)
    with pytest.raises(SystemExit) as exit:
        run_child("cpg", lambda context: pytest.fail("never"), ["--run-dir", "/tmp"])
    assert exit.value.code == 2
    assert "start `totemd` instead" in capsys.readouterr().err


def test_a_context_made_by_hand_ends_the_test_that_is_fatal() -> None:
    context = ChildContext("cpg", Path("/tmp"), Configuration())
    with pytest.raises(SystemExit, match="no use"):
        context.fatal("no use")
