"""keeper.sock: who follows the keeper, what is ordered, what is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from ...executive.config.model import AppEntry
from ...ipc.channel import Session
from ...ipc.endpoints import Credentials
from ...ipc.errors import AccessDenied, InvalidArgument
from ...ipc.messages.common import Done, Hello
from ...ipc.messages.keeper import (
    TO_KEEPER,
    Declare,
    Describe,
    Fail,
    Follow,
    Kept,
    Leave,
    Listed,
    Order,
    Outcome,
    Settled,
    Turns,
)
from ...ipc.paths import KEEPER_SOCKET
from ...ipc.server import Closed, Server
from ...ipc.strict import UNDECODABLE
from .keeper import Keeper

TELL_SECONDS = 0.05
"""Turns of lives are gathered for so long: applications that flap must not keep the sam process busy."""

ToKeeper = Declare | Follow | Fail | Leave | Order | Describe


class Service:
    """The keeper's end of its socket."""

    def __init__(self, run_dir: Path, may: Callable[[int], bool], leave: Callable[[], None]) -> None:
        """*may* tells whether a user is let in; *leave* is called when the keeper shall end, since it keeps nothing.

        Raises:
            OperationFailed: the socket cannot be served.
        """
        self._loop = asyncio.get_running_loop()
        self._may = may
        self._leave = leave
        self._followers: set[Session] = set()
        self._turned: dict[str, None] = {}
        self._telling: asyncio.TimerHandle | None = None
        self.keeper: Keeper | None = None
        self._server: Server[ToKeeper] = Server(run_dir / KEEPER_SOCKET, TO_KEEPER, self, node_id=0)

    def close(self) -> None:
        """Say what was not said yet, and hang up."""
        if self._telling is not None:
            self._telling.cancel()
            self._tell()
        self._server.close()

    # -- what the keeper tells

    def turned(self, name: str) -> None:
        """An application's life took a turn."""
        self._turned[name] = None
        if self._telling is None:
            self._telling = self._loop.call_later(TELL_SECONDS, self._tell)

    def listed(self) -> None:
        """There are other applications than before."""
        if self.keeper is not None and self._followers:
            self._to_followers(Listed(self.keeper.in_full()))

    def _tell(self) -> None:
        self._telling, names = None, self._turned
        self._turned = {}
        if self.keeper is not None and self._followers:
            turns = (self.keeper.turn(name) for name in names)
            self._to_followers(Turns(tuple(turn for turn in turns if turn is not None)))

    def _to_followers(self, message: Turns | Listed) -> None:
        for session in self._followers:
            self._server.send(session, message)

    # -- ipc.server.Handler

    def admit(self, hello: Hello, credentials: Credentials) -> int:
        """Root and the node's owner: whoever orders here runs programs as the node."""
        if not self._may(credentials.uid):
            raise AccessDenied(f"user {credentials.uid} may not steer applications; root and the node's owner may")
        return 0

    def opened(self, session: Session) -> None:
        """Somebody who will follow, or order."""

    def received(self, session: Session, message: ToKeeper, payload: Sequence[bytes | memoryview]) -> None:
        """What is wanted."""
        assert self.keeper is not None
        match message:
            case Follow(request):
                self._followers.add(session)
                self._server.send(session, Kept(request, self.keeper.in_full()))
            case Declare(raw, request):
                try:
                    entries = msgspec.msgpack.decode(raw, type=tuple[AppEntry, ...])
                except UNDECODABLE as error:
                    raise InvalidArgument(f"these are no declarations: {error}") from None
                declared = self.keeper.declare(entries)
                self._server.send(session, msgspec.structs.replace(declared, request=request))
            case Fail(name, instance, why):
                self.keeper.failed(name, instance, why)
            case Leave(request):
                self.keeper.leave(lambda: self._left(session, request))
            case Order(verb, names, request):
                self.keeper.order(verb, names, lambda outcomes: self._settled(session, request, outcomes))
            case Describe(names, request):
                self._server.send(session, Kept(request, self.keeper.in_full(names)))

    def _left(self, session: Session, request: int) -> None:
        self._server.send(session, Done(request))
        self._leave()

    def closed(self, session: Session, why: Closed) -> None:
        """What it ordered is carried out all the same."""
        self._followers.discard(session)

    def _settled(self, session: Session, request: int, outcomes: tuple[Outcome, ...]) -> None:
        self._server.send(session, Settled(request, outcomes))
