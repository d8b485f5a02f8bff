"""The Totem process: its link, clock and services on one side, the sans-I/O ring on the other.

It takes in what arrives, carries out what the ring decides, in the ring's order, and keeps one timer.  No rule of the
protocol is here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from pathlib import Path
from typing import assert_never

from ...ipc.errors import MalformedMessage, NotFound, OperationFailed
from ...ipc.messages.control import (
    BlackboxQuestion,
    MetricsAnswer,
    MetricsQuestion,
    Obituary,
    RingAnswer,
    RingQuestion,
)
from ...ipc.paths import TOTEM_SOCKET
from ..config.model import Configuration
from ..runtime import realtime
from ..runtime.child import Answer, ChildContext, Question
from .core.effects import (
    Deliver,
    Discarded,
    Effect,
    Fact,
    Multicast,
    Originated,
    Persist,
    RegularConfiguration,
    TransitionalConfiguration,
    Unicast,
)
from .core.submission import Submission
from .links.base import Link, PortClosed, Received
from .links.complaints import Complaints
from .links.factory import create_link
from .links.settings import LinkSettings
from .log_words import say, say_dropped
from .metrics import totem_metrics
from .options import frame_bytes_per_datagram, frame_settings, ring_parameters
from .pause import PauseWatch
from .recorder.recorder import FlightRecorder
from .state_file import RingSequenceFile
from .stream import OrderedStream
from .wire.codec import decode, encode
from .wire.events import Dropped, DuplicateNode, PacketReceived, PeerEnded, PeerProven, SendControl
from .wire.frames import FrameLayer
from .wire.packets import AnyPacket, Mcast, Token
from .wire.seal import BOOT_BYTES

LAST_WORDS_SECONDS = 0.4
"""How long a leaving node waits for its last messages (that its services are gone) to reach everybody."""

_NEVER = float("inf")

DUPLICATE_FATAL = "another process with node id {node} runs at {address}; node ids must be unique"


def clock() -> float:
    """Seconds of the clock that all deadlines use; it goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class TotemProcess:
    """The child program `totem`."""

    def __init__(self, context: ChildContext) -> None:
        self._context = context
        self._configuration = context.configuration
        self._log = context.log
        self._me = context.configuration.local_node_id
        self._loop = asyncio.get_running_loop()
        self._sequence_file = RingSequenceFile(Path(context.configuration.system.state_dir), self._me)
        boot = os.urandom(BOOT_BYTES)
        size = LinkSettings.of(context.configuration).datagram_bytes
        self._frames = FrameLayer(frame_settings(context.configuration, context.key, size), boot, os.urandom)
        self._peers = tuple(node for node in context.configuration.node_ids if node != self._me)
        boot_sequence = self._sequence_file.read() + 1
        parameters = self._parameters = ring_parameters(context.configuration, frame_bytes_per_datagram(size))
        self._recorder = FlightRecorder(context, clock)
        self._ring = self._recorder.ring(parameters, boot_sequence, random.SystemRandom().random)
        self._stream = OrderedStream(context.run_dir / TOTEM_SOCKET, self._me, self, os.geteuid(), self._log)
        self._link: Link | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = _NEVER
        self._ticker: asyncio.TimerHandle | None = None
        self._quiet: asyncio.Event | None = None
        """From `stop` on: set when everything that services submitted has its place, and everybody has it."""
        self._parked: list[tuple[Token, int]] = []
        """Tokens that wait because a service here is behind; they slow the ring down to its pace."""
        self._pumping = self._pump_scheduled = False
        self._complaints = Complaints()
        self._obituary = b""
        self._pause = PauseWatch(parameters.token)

    # -- executive.runtime.child.ChildProgram

    async def start(self) -> None:
        """Open the link and join the ring."""
        explicit = "system.sched_rr" in self._configuration.cmap
        realtime.request(self._configuration.system, self._log, explicit=explicit)
        link, _ = create_link(self._configuration, self._arrived, self._log, self._port_closed)
        link.open()
        self._link = link  # from here on there is a ring to leave
        self._set_parameters()
        now = clock()
        self._obituary = self._frames.obituary(now)
        self._leave_obituary()
        self._pause.seen(now)
        self._frames.greet(now)
        self._handle_frame_events(now)
        self._ring.start(now)
        self._pump(now)
        self._tick()
        realtime.freeze_collector()

    def reconfigure(self, configuration: Configuration) -> None:
        """Take over reloadable options: timeouts and counts hold from the next time they are used."""
        removed = set(self._configuration.node_ids) - set(configuration.node_ids)
        self._configuration = configuration
        self._set_parameters()
        self._recorder.reconfigure(configuration)
        now = clock()
        for node in sorted(removed):
            self._ring.node_removed(node, now)
        self._pump(now)
        self._peers = tuple(node for node in configuration.node_ids if node != self._me)
        self._frames.set_nodes(configuration.node_ids)
        if self._link is not None:
            self._link.set_peers(LinkSettings.of(configuration).peers)
            self._leave_obituary()
        self._pause.token = self._parameters.token
        self._log.notice("ring options taken over", token_ms=configuration.totem.token)

    def _set_parameters(self) -> None:
        assert self._link is not None
        unit = frame_bytes_per_datagram(LinkSettings.of(self._configuration).datagram_bytes)
        self._parameters = ring_parameters(self._configuration, unit, self._link.receive_buffer_bytes)
        self._ring.reconfigure(self._parameters)

    def answer(self, question: Question) -> Answer:
        """Where the ring stands, the numbers, and a dump of the flight recorder."""
        match question:
            case RingQuestion(request=request):
                totem = self._configuration.totem
                cipher = "integrity only" if totem.integrity and totem.cipher == "none" else totem.cipher
                return RingAnswer(request, self._ring.state.value, self._ring.installed, self._ring.members, cipher)
            case MetricsQuestion(request=request):
                link = self._link.counters() if self._link is not None else {}
                return MetricsAnswer(request, totem_metrics(self._ring, self._frames.counters(), link))
            case BlackboxQuestion(request=request):
                return self._recorder.answer(request)
            case _:
                raise NotFound("the totem process knows the ring only")

    async def stop(self) -> None:
        """Leave the ring, so that the others need not wait for a timeout."""
        if self._link is None:
            return
        self._quiet = asyncio.Event()
        self._pump(clock())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self._quiet.wait()
        now = clock()
        self._ring.leave(now)
        self._pump(now)
        for timer in (self._timer, self._ticker):
            if timer is not None:
                timer.cancel()
        self._stream.feed.close()
        self._link.close()
        self._link = None
        self._recorder.close()

    # -- stream.RingPort

    def submit(self, submission: Submission) -> int:
        """Hand a service's message to the ring."""
        now = clock()
        number = self._ring.submit(submission, now)
        self._pump_soon()
        return number

    def services_synchronised(self) -> None:
        """The ring may carry application messages."""
        now = clock()
        self._ring.services_synchronised(now)
        self._pump_soon()

    def services_consumed(self) -> None:
        """A service caught up: a parked token may go on, and credit go back."""
        if self._stream.feed.congested:
            return
        if self._parked:
            self._release_parked()
        else:
            self._stream.feed.flush()

    # -- the world comes in

    def _arrived(self, batch: list[Received]) -> None:
        """Datagrams arrived: everything that can be read is handed in, data before tokens."""
        now = clock()
        paused = self._pause.gap(now)
        if paused is not None:
            self._begin_flush(paused, now)
        self._take_in(batch, now, complete=self._link is not None and self._link.drained)
        if paused is not None:
            self._end_flush(now)
        self._pump(now)

    def _take_in(self, batch: list[Received], now: float, *, complete: bool) -> None:
        """Hand *batch* in, and what else can be read by now; *complete*: there is nothing else."""
        receive = self._frames.receive_run
        for run, source in batch:
            receive(run, source, now)
        if self._link is not None and not complete:
            # The token must not overtake data that is here already.
            for run, source in self._link.drain():
                receive(run, source, now)
        self._frames.ask_for_missing(now)
        self._handle_frame_events(now)

    def _handle_frame_events(self, now: float) -> None:
        tokens: list[tuple[Token, int]] = []
        for event in self._frames.take_events():
            match event:
                case PacketReceived(sender=sender, payload=payload):
                    packet = self._decoded(payload, sender, now)
                    if isinstance(packet, Token):
                        tokens.append((packet, sender))
                    elif packet is not None:
                        self._ring.receive(packet, sender, now)
                case SendControl(to=to, datagrams=datagrams):
                    if self._link is not None:
                        self._link.send(to, datagrams)
                case PeerEnded(sender=sender):
                    self._ring.process_ended(sender, now)
                case PeerProven(sender=sender, restarted=restarted):
                    self._log.debug("peer proven", node=sender, restarted=restarted)
                case DuplicateNode():
                    self._duplicate(event)
                case Dropped():
                    say_dropped(self._log, self._complaints, event, now)
                case _:
                    assert_never(event)
        for token, sender in tokens:
            self._take_token(token, sender, now)

    def _decoded(self, payload: bytes, sender: int, now: float) -> AnyPacket | None:
        try:
            return decode(payload)
        except MalformedMessage as error:
            if (unsaid := self._complaints.admit((MalformedMessage, sender), now)) is not None:
                more = {"unsaid": unsaid} if unsaid else {}
                self._log.warning("packet dropped", node=sender, reason=str(error), **more)
            return None

    def _take_token(self, token: Token, sender: int, now: float) -> None:
        if self._stream.feed.congested:
            if not self._parked:
                self._loop.call_later(self._parameters.park_seconds(len(self._ring.members)), self._release_parked)
            self._parked = [*self._parked, (token, sender)][-2:]
            return
        self._ring.receive(token, sender, now)

    def _release_parked(self) -> None:
        parked, self._parked = self._parked, []
        now = clock()
        for token, sender in parked:
            self._ring.receive(token, sender, now)
        self._pump(now)

    def _duplicate(self, event: DuplicateNode) -> None:
        host, port = event.source
        self._log.crit(f"node id {event.node_id} is used twice", other=f"{host}:{port}", this_one_stops=event.yields)
        if event.yields:
            self._context.fatal(DUPLICATE_FATAL.format(node=event.node_id, address=f"{host}:{port}"))

    def _port_closed(self, reports: list[PortClosed]) -> None:
        """Nobody seems to listen at some nodes: for the ring to find out, if the report quotes what we have sent."""
        now = clock()
        self._look_for_pause(now)
        for node, quoted in reports:
            if self._frames.has_sent(quoted, now):
                self._ring.port_closed(node, now)
        self._pump(now)

    def _leave_obituary(self) -> None:
        settings = LinkSettings.of(self._configuration)
        receivers = tuple(settings.peers.values())
        self._context.leave_obituary(Obituary(settings.address, settings.port, receivers, self._obituary))

    # -- time

    def _tick(self) -> None:
        """Stamp the time often enough that a pause of this process is told from a quiet network."""
        self._look_for_pause(clock())
        self._ticker = self._loop.call_later(self._parameters.token / 5, self._tick)

    def _look_for_pause(self, now: float) -> None:
        if (paused := self._pause.gap(now)) is not None:
            # What lies in the socket is older than the deadlines that are due: read it first.
            self._begin_flush(paused, now)
            self._take_in([], now, complete=False)
            self._end_flush(now)
            self._pump(now)

    def _begin_flush(self, seconds: float, now: float) -> None:
        self._log.notice(f"Process pause detected for {1000 * seconds:.0f} ms, flushing membership messages.")
        self._ring.pause_detected(now)

    def _end_flush(self, now: float) -> None:
        self._ring.backlog_drained(now)
        self._ring.expire(now)

    def _fire(self) -> None:
        self._timer, self._timer_at = None, _NEVER
        now = clock()
        self._look_for_pause(now)
        self._frames.expire(now)
        self._handle_frame_events(now)
        self._ring.expire(now)
        self._pump(now)

    def _rearm(self, now: float) -> None:
        ring, frames = self._ring.next_deadline(), self._frames.next_deadline()
        at = min(_NEVER if ring is None else ring, _NEVER if frames is None else frames)
        # A timer that is too early costs one look; moving it at every token visit would cost more.
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(max(0.0, at - now), self._fire)
            self._timer_at = at

    # -- effects go out

    def _pump_soon(self) -> None:
        """Once for all that services say in this turn of the loop; a pump that runs already will see it."""
        if not self._pumping and not self._pump_scheduled:
            self._pump_scheduled = True
            self._loop.call_soon(self._pump_scheduled_now)

    def _pump_scheduled_now(self) -> None:
        self._pump_scheduled = False
        now = clock()
        # It was asked for before a pause, maybe: then what lies in the socket comes first, as for every timer.
        self._look_for_pause(now)
        self._ring.expire(now)  # a token that is held goes out with all that was submitted in this turn
        self._pump(now)

    def _pump(self, now: float) -> None:
        """Carry out everything that the ring decided, in its order."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while effects := self._ring.take_effects():
                for effect in effects:
                    self._carry_out(effect, now)
        finally:
            self._pumping = False
        self._stream.feed.flush()
        self._rearm(now)
        if self._quiet is not None and self._ring.quiet:
            self._quiet.set()

    def _carry_out(self, effect: Effect, now: float) -> None:
        match effect:
            case Multicast():
                self._multicast(effect, now)
            case Unicast(to, packet):
                if self._link is not None:
                    self._link.send(to, self._frames.seal(encode(packet), now, to))
            case Deliver():
                self._stream.deliver(effect)
            case Originated() | Discarded():
                self._stream.settled(effect)
            case Persist(ring_sequence):
                self._persist(ring_sequence)
            case RegularConfiguration():
                self._stream.regular(effect)
            case TransitionalConfiguration():
                self._stream.transitional(effect)
            case Fact():
                say(self._log, self._complaints, effect, now)
            case _:
                assert_never(effect)

    def _multicast(self, effect: Multicast, now: float) -> None:
        packet, targets = effect.packet, effect.receivers(self._me, self._peers)
        if not targets or self._link is None:
            return
        if effect.repeated and isinstance(packet, Mcast):
            datagrams = self._frames.seal_repeated((packet.ring, packet.seq), encode(packet), now)
        else:
            datagrams = self._frames.seal(encode(packet), now)
        self._link.multicast(targets, datagrams)

    def _persist(self, ring_sequence: int) -> None:
        try:
            self._sequence_file.write(ring_sequence)
        except OperationFailed as error:
            # Going on could use a ring's name twice; nothing after this point may leave the machine.
            if self._link is not None:
                self._link.close()
                self._link = None
            self._context.fatal(str(error))
