"""The quorum process: the engine with its two sockets, its files and its clock.

totem.sock gives it the ordered stream, quorum.sock its clients.  No rule about votes is here.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, assert_never

from ...executive.config.model import Configuration
from ...executive.runtime.access import Gate, is_owner
from ...executive.runtime.child import Answer as ChildAnswer
from ...executive.runtime.child import ChildContext, Question
from ...executive.runtime.logging import Logger, get_logger
from ...executive.runtime.metrics import listed
from ...ipc.channel import Session
from ...ipc.endpoints import SHARED_SOCKET_MODE, Credentials
from ...ipc.errors import AccessDenied, ConfigurationError, NotFound, OperationFailed, TotemdError
from ...ipc.messages.common import Done, Hello, refusal
from ...ipc.messages.control import Metric, MetricsAnswer, MetricsQuestion, QuorumAnswer, QuorumQuestion
from ...ipc.messages.quorum import (
    FROM_CLIENT,
    Ask,
    CancelWait,
    Changed,
    Expect,
    Grant,
    Seen,
    Standing,
    Untrack,
)
from ...ipc.messages.quorum import Track as TrackRequest
from ...ipc.messages.stream import Attached, StreamEvent
from ...ipc.paths import QUORUM_SOCKET
from ...ipc.server import Closed, Server
from ..ring_end import RingEnd
from .audience import Audience
from .effects import Answer, Effect, Note, Remember, Tell, ToRing, Track
from .engine import SERVICE, Engine
from .report import keys
from .rules import configured
from .store import Store, life_of
from .wire import LIFE_BITS

FromClient = Ask | TrackRequest | Untrack | Seen | Expect | Grant | CancelWait

STOP_SECONDS = 0.4
"""How long a clean stop waits until the others know that this node leaves on purpose."""


class QuorumProcess:
    """The child program `quorum`."""

    def __init__(self, context: ChildContext) -> None:
        """
        Raises:
            ConfigurationError: the tracked expected votes cannot be read; starting again would not help.
        """
        self._context = context
        self._log: Logger = context.log
        self._logs = {"QUORUM": context.log, "VOTEQ": get_logger("VOTEQ")}
        self._loop = asyncio.get_running_loop()
        self._gate = Gate(context.configuration.access, context.log)
        node_id = context.configuration.local_node_id
        self._store = Store(Path(context.configuration.system.state_dir), node_id, life_of(os.getppid()))
        own, warnings = configured(context.configuration.quorum, context.configuration.local_node.votes)
        for warning in warnings:
            self._logs["VOTEQ"].crit(warning)
        try:
            tracked = self._store.tracked() if own.tracking else 0
        except OperationFailed as error:
            raise ConfigurationError(str(error)) from None
        self._engine = Engine(node_id, own, tracked=tracked, memory=self._store.memory())
        self._engine.names = _names(context.configuration)
        self._audience = Audience()
        self._server: Server[Any] | None = None
        self._ring: RingEnd | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._flush_scheduled = False
        self._left: asyncio.Event | None = None

    # -- executive.runtime.child.ChildProgram

    async def start(self) -> None:
        """Serve.  Nothing is quorate until the node has a place in a ring."""
        run_dir, node_id = self._context.run_dir, self._engine.node_id
        self._server = Server(run_dir / QUORUM_SOCKET, FROM_CLIENT, self, node_id=node_id, mode=SHARED_SOCKET_MODE)
        self._ring = RingEnd(run_dir, SERVICE, self, self._log)

    def reconfigure(self, configuration: Configuration) -> None:
        """Take over votes, expected votes and two_node, and who may connect."""
        self._gate.rules = configuration.access
        self._engine.names = _names(configuration)
        own, warnings = configured(configuration.quorum, configuration.local_node.votes)
        for warning in warnings if own != self._engine.own else ():
            self._logs["VOTEQ"].crit(warning)
        self._engine.reconfigure(own)
        self._turn()

    def answer(self, question: Question) -> ChildAnswer:
        """Whether the node is quorate, or this process's numbers."""
        match question:
            case QuorumQuestion(request=request, cancel_wait_for_all=cancel):
                if cancel:
                    self._engine.cancel_wait(None, 0)
                    self._turn()
                return QuorumAnswer(request, self._engine.quorate, self._keys())
            case MetricsQuestion(request=request):
                return MetricsAnswer(request, self._metrics())
            case _:
                raise NotFound("the quorum process knows votes only")

    async def stop(self) -> None:
        """With allow_downscale: tell the others that this node leaves on purpose."""
        if self._server is None or self._ring is None:
            return
        if self._clock is not None:
            self._clock.cancel()
        self._left = asyncio.Event()
        waits = self._engine.stop()
        self._carry_out()
        if waits:
            try:
                await asyncio.wait_for(self._left.wait(), STOP_SECONDS)
            except TimeoutError:
                self._log.info("the ring was not told in time that this node leaves on purpose")
        self._server.close()
        self._ring.close()

    # -- ring_end.StreamHandler

    def stream_began(self, attached: Attached, credit: int) -> None:
        """This node has a place in the order; what this process submits is far below its credit."""
        self._engine.attach(attached, secrets.randbits(LIFE_BITS))

    def stream_event(self, event: StreamEvent, payload: bytes | memoryview) -> None:
        """The next event."""
        self._engine.event(event, payload, self._loop.time())

    def stream_credited(self, payload_bytes: int) -> None:
        """See `stream_began`."""

    def stream_paused(self) -> None:
        """Carry out what was decided."""
        self._turn()

    def stream_lost(self, error: TotemdError) -> None:
        """Nothing is quorate until the next `stream_began`; whoever waits is answered."""
        if self._engine.attached:
            self._log.warning("the ring is away, and with it quorum", reason=str(error))
        self._engine.detach("this node's network process went away")

    # -- ipc.server.Handler: the clients

    def admit(self, hello: Hello, credentials: Credentials) -> int:
        """Whoever the `uidgid` rules allow."""
        self._gate.require(credentials, self._loop.time())
        return 0

    def opened(self, session: Session) -> None:
        """A client; it asks or tracks."""

    def received(self, session: Session, message: FromClient, payload: Sequence[bytes | memoryview]) -> None:
        """What a client wants."""
        match message:
            case Ask(request):
                self._send(session, Standing(request, self._engine.count()))
            case TrackRequest(request):
                self._audience.enter(session)
                self._send(session, Standing(request, self._engine.count()))
            case Untrack(request):
                self._audience.leave(session)
                self._send(session, Done(request))
            case Seen(changes):
                if self._audience.seen(session, changes):
                    self._send(session, Changed(self._engine.count()))
            case Expect(votes, request):
                _require_owner(session)
                self._engine.expect(session, request, votes)
            case Grant(node_id, votes, request):
                _require_owner(session)
                self._engine.grant(session, request, node_id, votes)
            case CancelWait(request):
                _require_owner(session)
                self._engine.cancel_wait(session, request)
        self._turn()

    def closed(self, session: Session, why: Closed) -> None:
        """A client is gone."""
        self._audience.leave(session)

    # -- the engine's effects

    def _turn(self) -> None:
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        self._engine.flush()
        self._carry_out()

    def _tick(self) -> None:
        self._clock = None
        self._engine.time_passed(self._loop.time())
        self._turn()

    def _carry_out(self) -> None:
        for effect in self._engine.take_effects():
            self._do(effect)
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
        if self._engine.deadline is not None:
            self._clock = self._loop.call_at(self._engine.deadline, self._tick)
        if self._left is not None and self._engine.has_left:
            self._left.set()

    def _do(self, effect: Effect) -> None:
        match effect:
            case ToRing(message, payload):
                assert self._ring is not None
                self._ring.submit(message, payload)
            case Tell(count):
                for session in self._audience.receivers():
                    self._send(session, Changed(count))
            case Answer(session, request, error):
                if session is not None:
                    self._send(session, Done(request) if error is None else refusal(error, request))
            case Remember(record):
                self._keep(lambda: self._store.remember(record))
            case Track(expected):
                self._keep(lambda: self._store.track(expected))
            case Note(level, text, fields, subsystem):
                getattr(self._logs[subsystem], level)(text, **fields)
            case _:
                assert_never(effect)

    def _keep(self, write: Any) -> None:
        try:
            write()
        except OperationFailed as error:
            self._log.err("what a restart needs could not be kept", reason=str(error))

    def _send(self, session: Any, message: Any) -> None:
        if self._server is not None:
            self._server.send(session, message)

    # -- what others ask

    def _keys(self) -> dict[str, str | int]:
        engine = self._engine
        return keys(engine.tally, engine.record, engine.node_id, engine.tracked)

    def _metrics(self) -> tuple[Metric, ...]:
        engine, count, server = self._engine, self._engine.count(), self._server
        gauges = (
            ("quorate", int(count.quorate), "1 while this node's side of the cluster may go on"),
            ("quorum_votes_needed", count.quorum, "Votes that are needed"),
            ("quorum_votes_total", count.total_votes, "Votes that are present"),
            ("quorum_votes_expected", count.expected_votes, "Votes of the whole cluster"),
            ("quorum_nodes", len(count.nodes), "Nodes that are present and vote"),
            ("quorum_waiting_for_all", int(count.waiting_for_all), "1 while all nodes must be seen at once"),
            ("quorum_synchronised", int(engine.synchronised), "1 while the votes of the whole ring are known"),
            ("quorum_trackers", len(self._audience), "Clients that are told changes"),
        )
        totals = (
            ("quorum_losses", engine.losses, "How often quorum was lost"),
            ("quorum_exchanges", engine.exchanges, "State exchanges completed"),
            ("quorum_malformed", engine.malformed, "Submissions that could not be read"),
            ("quorum_client_malformed", server.malformed if server else 0, "Client messages that could not be read"),
        )
        return listed(gauges, totals)


def _names(configuration: Configuration) -> dict[int, str]:
    return {node.node_id: node.label for node in configuration.nodes}


def _require_owner(session: Session) -> None:
    if not is_owner(session.uid):
        raise AccessDenied(f"user {session.uid} may look, but only root and the node's owner may change votes")
