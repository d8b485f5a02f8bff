"""The sam-runs of this node whose applications run on one node at a time, as sessions of the sam process."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from ..ipc.channel import Session
from ..ipc.errors import InvalidArgument, WrongState
from ..ipc.messages.common import Done
from ..ipc.messages.sam_singleton import (
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
from .assembly import Assembly
from .cluster.effects import Extend, Promote
from .cluster.messages import CANDIDATES_MAX

FromSingleton = Enlist | Renew | Yielded | Withdraw | HandOver


@dataclass(slots=True, eq=False)
class Enlisted:
    """What is kept for a session."""

    candidate: int
    name: str
    why: str = ""
    """What it was told last about why it stands by."""


class Singletons:
    """Between the sessions and the council."""

    def __init__(self, send: Callable[[Session, msgspec.Struct], None]) -> None:
        self._send = send
        self._sessions: dict[int, Session] = {}
        self._numbers = itertools.count(1)
        self.assembly: Assembly | None = None
        """Set once, before anybody connects."""

    def received(self, session: Session, message: FromSingleton) -> None:
        """What a sam-run says."""
        assembly = self.assembly
        assert assembly is not None
        if isinstance(message, Enlist):
            self._enlist(session, message, assembly)
            return
        enlisted = session.state
        if not isinstance(enlisted, Enlisted):
            raise WrongState("this connection has not enlisted; `singleton.enlist` comes first")
        candidate = enlisted.candidate
        match message:
            case Renew(fence):
                assembly.consider(lambda council, now: council.renew(candidate, fence, now))
            case Yielded(request, fence):
                assembly.consider(lambda council, now: council.yielded(candidate, fence, now))
                self._send(session, Done(request))
            case HandOver(_, data):
                assembly.consider(lambda council, now: council.store(candidate, data, now))
            case Withdraw(request):
                self._forget(session, enlisted, clean=True)
                self._send(session, Done(request))

    def closed(self, session: Session) -> None:
        """A sam-run is gone; what became of its application is not known."""
        if isinstance(session.state, Enlisted):
            self._forget(session, session.state, clean=False)

    # -- assembly.Leader

    def promote(self, order: Promote) -> None:
        """Hand it on."""
        assert self.assembly is not None
        renew_ms = round(self.assembly.council.timing.renew_every * 1000)
        self._order(order.candidate, Promoted(order.fence, order.ends_at, renew_ms, order.stored))

    def extend(self, order: Extend) -> None:
        """Hand it on."""
        self._order(order.candidate, Extended(order.fence, order.ends_at))

    def considered(self) -> None:
        """Tell those who stand by why, where that has changed."""
        if self.assembly is None:
            return
        for session in self._sessions.values():
            enlisted = session.state
            why = self._why(enlisted.candidate)
            if why != enlisted.why:
                enlisted.why = why
                if why:
                    self._send(session, StandBy(why))

    # -- inside

    def _enlist(self, session: Session, message: Enlist, assembly: Assembly) -> None:
        if session.role != ROLE:
            raise InvalidArgument(f"a connection with role {ROLE!r} enlists, not one with {session.role!r}")
        if session.state is not None:
            raise WrongState("this connection has enlisted already")
        if not assembly.has_quorum_provider:
            raise InvalidArgument(
                "nobody counts votes here, so nobody can tell which side of a split cluster may run it: "
                "`quorum { provider: corosync_votequorum }` in the configuration of all nodes would be accepted"
            )
        if len(self._sessions) >= CANDIDATES_MAX:
            raise InvalidArgument(f"this node has {CANDIDATES_MAX} candidates, which is its limit")
        enlisted = session.state = Enlisted(next(self._numbers), message.name)
        self._sessions[enlisted.candidate] = session
        self._send(session, Done(message.request))
        term = (message.fence, message.ends_at) if message.fence else None
        seconds = message.yield_ms / 1000
        assembly.consider(lambda council, now: council.enlist(enlisted.candidate, message.name, seconds, now, term))

    def _forget(self, session: Session, enlisted: Enlisted, *, clean: bool) -> None:
        session.state = None
        del self._sessions[enlisted.candidate]
        assert self.assembly is not None
        self.assembly.consider(lambda council, now: council.withdraw(enlisted.candidate, now, clean=clean))

    def _order(self, candidate: int, message: msgspec.Struct) -> None:
        session = self._sessions.get(candidate)
        if session is not None:
            self._send(session, message)

    def _why(self, candidate: int) -> str:
        assert self.assembly is not None
        return self.assembly.council.condition(candidate)
