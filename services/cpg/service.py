"""The cpg process: the engine with its two sockets.

totem.sock gives it the ordered stream, cpg.sock its clients.  No rule about groups is here.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any, assert_never

from ...executive.config.model import Configuration
from ...executive.runtime.access import Gate, is_owner
from ...executive.runtime.child import Answer, ChildContext, Question
from ...executive.runtime.logging import Logger, RateLimited
from ...executive.runtime.metrics import listed
from ...ipc.channel import Session
from ...ipc.endpoints import SHARED_SOCKET_MODE, Credentials
from ...ipc.errors import AccessDenied, NotFound, TotemdError, TryAgain
from ...ipc.messages.common import Hello
from ...ipc.messages.control import GroupInfo, GroupsAnswer, GroupsQuestion, Metric, MetricsAnswer, MetricsQuestion
from ...ipc.messages.cpg import FROM_CLIENT, Join
from ...ipc.messages.stream import Attached, StreamEvent
from ...ipc.paths import CPG_SOCKET
from ...ipc.server import Closed, Server
from ..ring_end import RingEnd
from .audience import PROBE, ClientLimits
from .effects import Dismiss, Effect, Frames, Note, ToClients, ToRing
from .engine import SERVICE, Engine, FromClient
from .memberships import LocalClient
from .wire import LIFE_BITS

STOP_SECONDS = 0.4
"""How long a clean stop waits until the others have seen this node's members leave."""

NOTES_SECONDS = 10.0
NOTES_BURST = 20
"""At most so many equal log lines in so many seconds."""


CLOCK_SECONDS = 0.5
"""How often it is looked at who has stopped reading."""


RESERVED_PREFIX = b"totemd:"
"""Groups of totemd's own processes; of a node's users only root and the one as whom it runs may join them."""


class CpgProcess:
    """The child program `cpg`."""

    def __init__(self, context: ChildContext) -> None:
        self._context = context
        self._log: Logger = context.log
        self._loop = asyncio.get_running_loop()
        self._gate = Gate(context.configuration.access, context.log)
        self._engine = Engine()
        self._server: Server[Any] | None = None
        self._ring: RingEnd | None = None
        self._flush_scheduled = False
        self._notes: dict[str, RateLimited] = {}
        self._all_left: asyncio.Event | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._engine.limit(_limits(context.configuration))

    # -- executive.runtime.child.ChildProgram

    async def start(self) -> None:
        """Serve.  Clients may connect at once; their joins wait until the node has a place in a ring."""
        run_dir, node_id = self._context.run_dir, self._context.configuration.local_node_id
        self._server = Server(run_dir / CPG_SOCKET, FROM_CLIENT, self, node_id=node_id, mode=SHARED_SOCKET_MODE)
        self._ring = RingEnd(run_dir, SERVICE, self, self._log)
        self._clock = self._loop.call_later(CLOCK_SECONDS, self._tick)

    def reconfigure(self, configuration: Configuration) -> None:
        """Take over who may connect, and what clients may do; who is connected stays."""
        self._gate.rules = configuration.access
        self._engine.limit(_limits(configuration))
        self._turn()

    def answer(self, question: Question) -> Answer:
        """The groups of the cluster as this node knows them, or this process's numbers."""
        match question:
            case GroupsQuestion(request=request):
                if not self._engine.attached:
                    raise TryAgain("this node has no ring at the moment")
                state = self._engine.state
                return GroupsAnswer(request, tuple(GroupInfo(group, state.members(group)) for group in state.groups()))
            case MetricsQuestion(request=request):
                return MetricsAnswer(request, self._metrics())
            case _:
                raise NotFound("the cpg process knows groups only")

    async def stop(self) -> None:
        """Let the members of this node leave, so that others see processes end and not a node fail."""
        if self._server is None or self._ring is None:
            return
        if self._clock is not None:
            self._clock.cancel()
        self._all_left = asyncio.Event()
        waits = self._engine.stop()
        self._server.close()
        self._carry_out()
        if waits:
            try:
                await asyncio.wait_for(self._all_left.wait(), STOP_SECONDS)
            except TimeoutError:
                self._log.info("the ring did not take the leaves of this node in time")
        self._ring.close()

    # -- ring_end.StreamHandler

    def stream_began(self, attached: Attached, credit: int) -> None:
        """This node has a place in the order."""
        self._engine.attach(attached, credit, secrets.randbits(LIFE_BITS))

    def stream_event(self, event: StreamEvent, payload: bytes | memoryview) -> None:
        """The next event."""
        self._engine.event(event, payload)

    def stream_credited(self, payload_bytes: int) -> None:
        """The ring has taken so many bytes."""
        self._engine.credited(payload_bytes)

    def stream_paused(self) -> None:
        """Carry out what was decided."""
        self._turn()

    def stream_lost(self, error: TotemdError) -> None:
        """The node has no place in the order until the next `stream_began`."""
        if self._engine.attached:
            self._log.warning("the ring is away; members of this node will join again", reason=str(error))
        self._engine.detach("this node's network process went away; it is being restarted")

    # -- ipc.server.Handler: the clients

    def admit(self, hello: Hello, credentials: Credentials) -> int:
        """Whoever the `uidgid` rules allow."""
        self._gate.require(credentials, self._loop.time())
        return self._engine.audience.limits.credit_bytes

    def opened(self, session: Session) -> None:
        """A client."""
        session.state = self._engine.opened(session, session.pid)
        self._turn()

    def received(self, session: Session, message: FromClient, payload: Sequence[bytes | memoryview]) -> None:
        """What a client says."""
        if isinstance(message, Join):
            if message.group.startswith(RESERVED_PREFIX) and not is_owner(session.uid):
                text = f"groups whose names begin with {RESERVED_PREFIX.decode()!r} are for totemd's own processes"
                self._engine.refuse_join(session.state, message.group, AccessDenied(text))
                self._turn()
                return
            if (holder := self._engine.holder(session.state, message.group)) is not None:
                self._send(holder, PROBE)
        self._engine.received(session.state, message, payload)
        self._turn()

    def closed(self, session: Session, why: Closed) -> None:
        """A client is gone."""
        self._log.debug("client gone", pid=session.pid, because=why.value)
        self._engine.closed(session.state)
        self._turn()

    # -- the engine's effects

    def _tick(self) -> None:
        self._clock = self._loop.call_later(CLOCK_SECONDS, self._tick)
        self._engine.time_passed(CLOCK_SECONDS)
        self._turn()

    def _turn(self) -> None:
        if not self._flush_scheduled:
            # Not now: what the rest of this drain brings travels in the same submission.
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self._ring is not None:
            self._ring.hold(self._engine.audience.ring_waits)
        self._engine.flush()
        self._carry_out()

    def _carry_out(self) -> None:
        """Carry out all effects in their order; what an effect causes (a dismissal closes a session) comes after."""
        while effects := self._engine.take_effects():
            for effect in effects:
                self._do(effect)
        if self._all_left is not None and not self._engine.own_members():
            self._all_left.set()

    def _do(self, effect: Effect) -> None:
        assert self._server is not None
        match effect:
            case ToClients(clients, frames):
                for client in clients:
                    self._send(client, frames)
            case ToRing(message, payload):
                assert self._ring is not None
                self._ring.submit(message, payload)
            case Dismiss(client):
                self._server.dismiss(client.handle)
            case Note():
                self._say(effect)
            case _:
                assert_never(effect)

    def _send(self, client: LocalClient, frames: Frames) -> None:
        assert self._server is not None
        if not self._server.send_encoded(client.handle, frames):
            self._engine.departs(client)
            self._server.hang_up(client.handle)

    def _say(self, note: Note) -> None:
        limit = self._notes.setdefault(note.text, RateLimited(NOTES_SECONDS, NOTES_BURST))
        unsaid = limit.admit(self._loop.time())
        if unsaid is not None:
            more = {"unsaid": unsaid} if unsaid else {}
            getattr(self._log, note.level)(note.text, **note.fields, **more)

    def _metrics(self) -> tuple[Metric, ...]:
        engine, counters, server = self._engine, self._engine.counters, self._server
        gauges = (
            ("cpg_clients", len(engine.audience.clients), "Connected clients"),
            ("cpg_groups", len(engine.state.groups()), "Groups of the cluster, as known here"),
            ("cpg_members_local", engine.own_members(), "Memberships of this node's processes"),
            ("cpg_unread_bytes", engine.audience.unread, "Bytes sent to clients that they have not consumed"),
            ("cpg_synchronised", int(engine.synchronised), "1 while messages flow"),
        )
        totals = (
            ("cpg_batches_delivered", counters.batches_delivered, "Batches delivered by the ring"),
            ("cpg_messages_delivered", counters.messages_delivered, "Messages delivered to members of this node"),
            ("cpg_delivered_bytes", counters.bytes_delivered, "Batch bytes delivered to members of this node"),
            ("cpg_submissions", counters.batches_submitted, "Submissions to the ring"),
            ("cpg_messages_submitted", counters.messages_submitted, "Messages taken from clients"),
            ("cpg_dropped", counters.dropped, "Batches of senders that are no member here"),
            ("cpg_malformed", counters.malformed, "Submissions that could not be read"),
            ("cpg_expelled", counters.expelled, "Clients expelled since they did not read"),
            ("cpg_exchanges", counters.exchanges, "State exchanges completed"),
            ("cpg_client_malformed", server.malformed if server else 0, "Client messages that could not be read"),
        )
        return listed(gauges, totals)


def _limits(configuration: Configuration) -> ClientLimits:
    options = configuration.cpg
    return ClientLimits(options.max_message_size, options.backlog, options.unread_timeout / 1000)
