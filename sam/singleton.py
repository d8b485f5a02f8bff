"""sam-run's side of an application that runs on one node at a time: its tenure, the sam process, the guardian."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, assert_never

import msgspec

from ..ipc.connection import Connection
from ..ipc.errors import ConnectionLost, TotemdError
from ..ipc.messages.common import Welcome
from ..ipc.messages.sam_singleton import (
    FROM_SAM,
    HANDED_BYTES_MAX,
    ROLE,
    Enlist,
    Extended,
    HandOver,
    Promoted,
    Renew,
    StandBy,
    Withdraw,
    Yielded,
)
from .clock import lease_clock
from .cluster.effects import AskRenewal, BeginTerm, Leash, TellYielded, TenureEffect, Unleash, Yield
from .cluster.tenure import Phase, Tenure
from .link import LAST_WORD_SECONDS, LOOK_SECONDS, refused_for_good


class Guard(Protocol):
    """What kills the application when nobody else does; `guardian.Leash`."""

    def fileno(self) -> int: ...

    def kill_at(self, when: float) -> bool: ...

    def free(self) -> bool: ...

    def close(self) -> None: ...


class Host(Protocol):
    """Who keeps the application."""

    def say(self, text: str) -> None:
        """A line for people."""

    def begin_term(self, fence: int, stored: bytes) -> None:
        """Start the application, with this token and what the last runner has left."""

    def yield_within(self, seconds: float) -> None:
        """End it: stop signal now, SIGKILL after so many seconds.  Call `over` when nothing is left."""

    def waits(self) -> None:
        """Why it stands by has changed."""

    def cannot_go_on(self, reason: str) -> None:
        """It can never run here, or cannot be guarded any more."""


class Singleton:
    """Stands by, runs, stands by again."""

    def __init__(self, socket: Path, name: str, yield_seconds: float, guard: Guard, host: Host) -> None:
        self._socket = socket
        self._name = name
        self._yield_ms = round(yield_seconds * 1000)
        self._guard = guard
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._tenure = Tenure(yield_seconds)
        self._connection: Connection[Any] | None = None
        self._enlisting: asyncio.Task[None] | None = None
        self._enlisted = False
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._stored = b""
        self.why = "looks for the sam process"
        """Why it stands by."""

    @property
    def stands_by(self) -> bool:
        """Nothing of the application runs."""
        return self._tenure.phase is Phase.STANDBY

    @property
    def yields(self) -> bool:
        """The application is being ended for want of a lease: sam-run stands by again afterwards."""
        return self._tenure.phase is Phase.YIELDING

    def may_start(self) -> bool:
        """Whether the lease allows another instance."""
        return self._tenure.may_start(lease_clock())

    def look_at_the_clock(self) -> None:
        """This process may have been paused: what has been waiting meanwhile comes after the end of the lease."""
        self._expire()

    def start(self) -> None:
        """Stand in line, as soon as there is a sam process."""
        self._loop.add_reader(self._guard.fileno(), self._unguarded)
        self._look()

    def over(self) -> None:
        """Nothing of the application is left, and nothing is started again in this term."""
        self._tenure.over()
        self._carry_out()

    def leave(self) -> None:
        """Nothing of the application is left, and nothing is started here any more: others may go on at once."""
        self._tenure.over(stays=False)
        self._carry_out()
        if self._leaving is None:
            self._leaving = self._loop.create_task(self._withdraw())

    def store(self, data: bytes) -> None:
        """What the application has stored is for its successor, wherever that is."""
        if data == self._stored:
            return
        self._stored = data
        if len(data) > HANDED_BYTES_MAX:
            self._host.say(
                f"{len(data)} bytes were stored; other nodes are given {HANDED_BYTES_MAX} at most, and get what was "
                "stored before"
            )
        elif not self.stands_by:
            self._tell(HandOver(self._tenure.fence, data))

    async def close(self, *, clean: bool) -> None:
        """Leave the line, and let go of the guardian.

        *clean*: nothing of the application runs any more.  Otherwise the guardian kills it, and the lease runs out.
        """
        if clean:
            self.leave()
        for timer in (self._timer, self._looking):
            if timer is not None:
                timer.cancel()
        self._loop.remove_reader(self._guard.fileno())
        self._guard.close()
        if self._leaving is not None:
            await self._leaving
        if self._enlisting is not None:
            self._enlisting.cancel()
        if self._connection is not None:
            self._connection.close()

    # -- what happens on the connection

    def connected(self, welcome: Welcome) -> None:
        self._enlisting = self._loop.create_task(self._enlist())

    def arrived(self, message: Any, payload: Sequence[bytes | memoryview]) -> None:
        if self._leaving is not None:
            return
        match message:
            case Promoted(fence, ends_at, renew_ms, stored):
                self._stored = stored
                self._tenure.promoted(fence, ends_at, renew_ms / 1000, stored, lease_clock())
            case Extended(fence, ends_at):
                self._tenure.extended(fence, ends_at, lease_clock())
            case StandBy(why):
                self._wait(why)
        self._carry_out()

    def lost(self, error: TotemdError) -> None:
        if isinstance(error, ConnectionLost):
            self._enlisted = False
            self._wait("the sam process is away")
        else:
            self._refused(error)

    async def _withdraw(self) -> None:
        with contextlib.suppress(TotemdError, TimeoutError):
            async with asyncio.timeout(LAST_WORD_SECONDS):
                if self._enlisting is not None:
                    await asyncio.wait([self._enlisting])  # who has asked to stand in line may stand there by now
                if self._connection is not None and self._enlisted:
                    await self._connection.request(Withdraw(0))

    def _look(self) -> None:
        if os.path.exists(self._socket):  # False too where this user may not look
            self._looking = None
            self._connection = Connection(self._socket, ROLE, FROM_SAM, self)
        else:
            self._looking = self._loop.call_later(LOOK_SECONDS, self._look)

    async def _enlist(self) -> None:
        assert self._connection is not None
        fence, ends_at = self._tenure.term or (0, 0.0)
        try:
            await self._connection.request(Enlist(0, self._name, self._yield_ms, fence, ends_at))
        except ConnectionLost:
            return  # it died meanwhile; the next one is asked
        except TotemdError as error:
            self._refused(error)
            return
        self._enlisted = True
        if fence and len(self._stored) <= HANDED_BYTES_MAX:
            self._tell(HandOver(fence, self._stored))

    def _refused(self, error: TotemdError) -> None:
        if refused_for_good(error) and self.stands_by:
            self._host.cannot_go_on(str(error))
        else:
            self._wait(str(error))

    def _wait(self, why: str) -> None:
        if why != self.why:
            self.why = why
            self._host.waits()

    def _tell(self, message: msgspec.Struct) -> None:
        if self._connection is not None and self._enlisted:
            with contextlib.suppress(ConnectionLost):  # `lost` follows
                self._connection.send(message)

    # -- the tenure

    def _expire(self) -> None:
        self._tenure.expire(lease_clock())
        self._carry_out()

    def _carry_out(self) -> None:
        while effects := self._tenure.take_effects():
            for effect in effects:
                self._do(effect)
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._tenure.next_deadline()
        self._timer = None
        if deadline is not None:
            self._timer = self._loop.call_later(max(0.0, deadline - lease_clock()), self._expire)

    def _do(self, effect: TenureEffect) -> None:
        match effect:
            case BeginTerm(fence, stored):
                self._host.begin_term(fence, stored)
            case Yield(kill_at):
                self._host.say("the lease has not been renewed in time: the application is stopped")
                self._host.yield_within(max(0.0, kill_at - lease_clock()))
            case Leash(kill_at):
                self._guarded(lambda: self._guard.kill_at(kill_at))
            case Unleash():
                self._guarded(self._guard.free)
            case AskRenewal(fence):
                self._tell(Renew(fence))
            case TellYielded(fence):
                self._tell(Yielded(0, fence))
            case _:
                assert_never(effect)

    def _guarded(self, tell: Callable[[], bool]) -> None:
        if not tell():
            self._unguarded()

    def _unguarded(self) -> None:
        self._loop.remove_reader(self._guard.fileno())
        self._host.cannot_go_on("the guardian of the application was killed")
