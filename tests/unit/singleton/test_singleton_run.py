"""A real sam-run, its guardian and its application, led by a sam process that the test plays."""

from __future__ import annotations

import asyncio
import functools
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from totemd.ipc.channel import Session
from totemd.ipc.endpoints import Credentials
from totemd.ipc.messages import sam, sam_singleton
from totemd.ipc.messages.common import Done, Hello
from totemd.ipc.messages.sam_singleton import Enlist, Extended, Promoted, Withdraw, Yielded
from totemd.ipc.server import Closed, Server
from totemd.sam.clock import lease_clock

SECONDS = 20.0
STUBBORN = "trap '' TERM; echo $TOTEMD_SAM_FENCE $$ >>witness; while :; do sleep 0.02; done"
OBEDIENT = "echo $TOTEMD_SAM_FENCE $$ >>witness; exec sleep 60"
BROKEN = "echo $TOTEMD_SAM_FENCE $$ >>witness; exit 3"


class Led:
    """The sam process, as a sam-run sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.session: Session | None = None
        self.unanswered: list[int] | None = None
        """Requests to be in the line, if they are kept back."""
        self.sam_run: asyncio.subprocess.Process | None = None
        self.server: Server[Any] = Server(folder / "sam.sock", sam.TO_SAM | sam_singleton.TO_SAM, self, node_id=1)

    def admit(self, hello: Hello, credentials: Credentials) -> int:
        return 0

    def opened(self, session: Session) -> None:
        pass

    def closed(self, session: Session, why: Closed) -> None:
        pass

    def received(self, session: Session, message: Any, payload: Sequence[bytes | memoryview]) -> None:
        match message:
            case sam.Register(request, name):
                self.server.send(session, sam.Registered(request, name))
            case sam.Ended(request):
                self.server.send(session, Done(request))
            case Enlist(request) if self.unanswered is not None:
                self.session = session
                self.unanswered.append(request)
                self.heard.put_nowait(message)
            case Enlist(request) | Yielded(request) | Withdraw(request):
                self.session = session if isinstance(message, Enlist) else self.session
                self.server.send(session, Done(request))
                self.heard.put_nowait(message)

    def order(self, message: msgspec.Struct) -> None:
        assert self.session is not None
        self.server.send(self.session, message)

    async def hear(self, kind: type[Any]) -> Any:
        async with asyncio.timeout(SECONDS):
            while not isinstance(message := await self.heard.get(), kind):
                pass
        return message

    async def start(self, *options: str, program: str) -> None:
        words = ["-m", "totemd.sam.run", "-q", "--run-dir", str(self.folder), "--singleton", "db", *options]
        self.sam_run = await asyncio.create_subprocess_exec(
            sys.executable, *words, "--", "sh", "-c", program, cwd=self.folder
        )
        await self.hear(Enlist)

    async def run(self, count: int) -> tuple[int, int]:
        """Fence and pid of the latest instance, once there have been so many."""
        witness = self.folder / "witness"
        async with asyncio.timeout(SECONDS):
            while len(lines := witness.read_text().splitlines() if witness.exists() else []) < count:
                await asyncio.sleep(0.01)
        assert len(lines) == count
        fence, pid = lines[-1].split()
        return int(fence), int(pid)


@asynccontextmanager
async def led() -> AsyncIterator[Led]:
    with tempfile.TemporaryDirectory(prefix="sam-") as folder:
        one = Led(Path(folder))
        try:
            yield one
        finally:
            if one.sam_run is not None and one.sam_run.returncode is None:
                one.sam_run.send_signal(signal.SIGCONT)
                one.sam_run.terminate()
                await asyncio.wait_for(one.sam_run.wait(), SECONDS)
            one.server.close()


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*arguments: Any, **more: Any) -> None:
        asyncio.run(test(*arguments, **more))

    return run


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@in_a_loop
async def test_it_stops_by_itself_stands_by_and_runs_again() -> None:
    async with led() as one:
        await one.start("--yield-timeout", "200", "--stop-timeout", "200", program=STUBBORN)
        ends_at = lease_clock() + 1.5
        one.order(Promoted(7, ends_at, 100, b""))
        fence, pid = await one.run(1)
        assert fence == 7
        assert (await one.hear(Yielded)).fence == 7
        assert not runs(pid) and lease_clock() < ends_at
        one.order(Promoted(9, lease_clock() + 30.0, 100, b""))
        fence, pid = await one.run(2)
        assert fence == 9
        assert one.sam_run is not None
        one.sam_run.terminate()
        await one.hear(Withdraw)
        assert await one.sam_run.wait() == 128 + signal.SIGKILL and not runs(pid)


@in_a_loop
async def test_an_extended_lease_lasts() -> None:
    async with led() as one:
        await one.start("--yield-timeout", "0", program=OBEDIENT)
        began = lease_clock()
        one.order(Promoted(7, began + 1.2, 100, b""))
        _, pid = await one.run(1)
        one.order(Extended(7, began + 2.2))
        while lease_clock() < began + 1.4:
            await asyncio.sleep(0.05)
        assert runs(pid)
        await one.hear(Yielded)
        assert not runs(pid) and lease_clock() < began + 2.2


@in_a_loop
async def test_who_gives_up_withdraws() -> None:
    async with led() as one:
        await one.start("--max-restarts", "0", program=BROKEN)
        one.order(Promoted(7, lease_clock() + 30.0, 100, b""))
        await one.hear(Withdraw)
        assert one.sam_run is not None and await one.sam_run.wait() == 124


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@in_a_loop
async def test_the_guardian_kills_what_sam_run_cannot(number: signal.Signals) -> None:
    async with led() as one:
        await one.start("--yield-timeout", "0", program=STUBBORN)
        ends_at = lease_clock() + 2.0
        one.order(Promoted(7, ends_at, 100, b""))
        _, pid = await one.run(1)
        assert one.sam_run is not None
        one.sam_run.send_signal(number)
        async with asyncio.timeout(SECONDS):
            while runs(pid):
                await asyncio.sleep(0.01)
        assert lease_clock() < ends_at
        if number == signal.SIGSTOP:
            one.sam_run.send_signal(signal.SIGCONT)
            assert (await one.hear(Yielded)).fence == 7
            await one.run(1)  # nothing was started again


@in_a_loop
async def test_standing_by_it_ends_when_it_is_asked_to() -> None:
    async with led() as one:
        await one.start(program=OBEDIENT)
        assert one.sam_run is not None
        one.sam_run.send_signal(signal.SIGTERM)
        await one.hear(Withdraw)
        assert await one.sam_run.wait() == 128 + signal.SIGTERM
        assert not (one.folder / "witness").exists()


@in_a_loop
async def test_who_is_asked_to_end_while_it_gets_in_line_leaves_it() -> None:
    async with led() as one:
        one.unanswered = []
        await one.start(program=OBEDIENT)
        assert one.sam_run is not None
        one.sam_run.send_signal(signal.SIGTERM)
        async with asyncio.timeout(SECONDS):
            while pending(one.sam_run.pid) >> signal.SIGTERM - 1 & 1:
                await asyncio.sleep(0.01)
        one.order(Done(one.unanswered[0]))
        await one.hear(Withdraw)
        assert await one.sam_run.wait() == 128 + signal.SIGTERM


def pending(pid: int) -> int:
    """Signals that the process has not read."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["ShdPnd"], 16) | int(status["SigPnd"], 16)
