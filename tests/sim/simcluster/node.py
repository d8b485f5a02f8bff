"""A simulated node: the thin shell around one real `Ring`, with a disk, an inbox, a clock, and a life that can end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

from simcluster.chance import Chance
from simcluster.group_stream import StreamServices
from simcluster.history import Event, Failed, Incarnation, Lane
from simcluster.machine import Machine
from simcluster.network import Network
from simcluster.services import Services
from simcluster.standstill import SlowWrites, Standstill
from simcluster.wire import Ended, Namesake, OpenWire, Received, Send, Wire, open_wire
from simcluster.world import Tripwire, World
from totemd.executive.totem.core.context import RingState
from totemd.executive.totem.core.effects import (
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
from totemd.executive.totem.core.parameters import RingParameters
from totemd.executive.totem.core.ring import Ring
from totemd.executive.totem.wire.packets import AnyPacket, CommitToken, Token

CLOCK_OFFSET = 1_000.0
"""Each node's clock starts at its id times this, so that mixing up two clocks cannot go unnoticed."""

RECOVERY_DEPTH_COUNTED = 4
"""Recoveries in a row without an install are told apart up to this many."""


class _Crashed(Exception):
    """The node is no more: nothing of the batch after this effect happens."""


class Node:
    """One processor.  The network calls `arrive`; everything else is scheduled by the node itself."""

    def __init__(self, world: World, network: Network, number: int) -> None:
        self.id = number
        self.disk = 0
        """The durable ring sequence; survives crashes."""
        self.ring: Ring | None = None
        self._emit: Send = partial(network.send, number)
        self._wire: Wire = OpenWire(self._emit, False)
        self.services: Services | StreamServices | None = None
        groups = world.options.groups
        self.machine = None if groups is None else Machine(world, number, world.groups, self.now)
        self.namesakes_met = 0
        """How often it was shown that another process has its id."""
        self.traps: list[Tripwire] = []
        self.paused = False
        self._world = world
        self._scheduler = world.scheduler
        self._trace = world.trace
        self._network = network
        self._life = 0
        """Counts boots, so that what was scheduled for an earlier life is ignored."""
        self._process = Incarnation(number, 0)
        self._inbox: list[tuple[int, object]] = []
        self._standstill = Standstill()
        self._slow_disk = SlowWrites(0, 0)
        self._parameters = replace(world.options.ring, node_id=number)
        self._awake = False
        """A look into the inbox is scheduled."""
        self._reacting = False
        """The services' answer is scheduled."""
        self._timer_at = float("inf")
        skew = Chance(world.options.seed, "clock", number).between(-1, 1)
        self._rate = 1 + world.options.clock_rate * skew
        self._offset = number * CLOCK_OFFSET
        self._state: RingState | None = None
        self._recoveries = 0
        """Recoveries entered since the last install."""
        self._cells: Counter[tuple[RingState, type]] = Counter()

    # -------------------------------------------------------------------- life

    def boot(self, _: object = None) -> None:
        """Start a new incarnation from what is on the disk."""
        if self.ring is not None:
            return
        world = self._world
        self._life += 1
        boot_sequence = self.disk + 1
        self._process = world.boots.claim(self.id, boot_sequence)
        jitter = Chance(world.options.seed, "jitter", self.id, self._life).fraction
        self.ring = Ring(self._parameters, boot_sequence, jitter)
        self.services = self._start_services(self.ring)
        self._state = None
        self._recoveries = 0
        self._inbox.clear()
        self._standstill = Standstill()
        self._awake = self._reacting = False
        self._timer_at = float("inf")
        self._wire.reborn()
        self._wire = open_wire(world.options, self.id, self._life, self._emit, self.now())
        world.trace.say(world.scheduler.now, f"node {self.id} boots as {boot_sequence}")
        if self.machine is not None:
            self.machine.power_on()
        self.ring.start(self.now())
        self._carry_out()

    def reload(self, parameters: RingParameters) -> None:
        """Take over other options, now if this runs, and at the next boot."""
        before, self._parameters = self._parameters, replace(parameters, node_id=self.id)
        if self.ring is not None and self._parameters != before:
            self.ring.reconfigure(self._parameters)

    def slow_disk(self, write_seconds: float, until: float) -> None:
        """Let each write take so long: the process stands still meanwhile."""
        self._slow_disk = SlowWrites(write_seconds, until)

    def _start_services(self, ring: Ring) -> Services | StreamServices:
        if self.machine is None:
            return Services(self._process, ring, self._record, self._world.options.exchange, self._world.boots)
        return StreamServices(self._process, ring, self._record, self.machine, self._carry_out)

    def crash(self, *, machine: bool = True) -> None:
        """End this incarnation, whatever it was doing; of the *machine*, or of the totem process only."""
        if self.ring is None:
            return
        self._world.trace.say(self._world.scheduler.now, f"node {self.id} crashes")
        self._record(Failed())
        self.harvest()
        self.ring = self.services = None
        if self.machine is not None:
            self.machine.totem_is_down()
            if machine:
                self.machine.power_off()
        self.traps.clear()
        self.paused = False

    @property
    def is_up(self) -> bool:
        """Whether its process lives."""
        return self.ring is not None

    @property
    def life(self) -> int:
        """Counts boots."""
        return self._life

    def epitaph(self) -> object:
        """What its executive sends when the process has ended."""
        return self._wire.epitaph(self.now())

    def port_closed(self, about: int) -> None:
        """The network says that nobody listens at another node."""
        if self.ring is None:
            return
        if self.paused:
            self._standstill.reports.append(about)
            return
        self._world.trace.say(self._world.scheduler.now, f"node {self.id} is told that {about} does not listen")
        self.ring.port_closed(about, self.now())
        self._carry_out()

    def leave(self) -> None:
        """Say goodbye and end this incarnation."""
        if self.ring is None or self.paused:
            return
        self.ring.leave(self.now())
        self._carry_out()
        self.crash()

    def pause(self) -> None:
        """Stand still: packets pile up, timers become overdue."""
        if self.ring is not None and not self.paused:
            self.paused = True
            if isinstance(self.services, StreamServices):
                self.services.inbox.stopped = True
            self._standstill.since = self._world.scheduler.now

    def resume(self, _: object = None) -> None:
        """Go on with what was being carried out; then tell the core if it was long, hand in the backlog, and let the
        timers fire."""
        if self.ring is None or not self.paused:
            return
        self.paused = False
        world, ring, now = self._world, self.ring, self._scheduler.now
        seconds = now - self._standstill.since
        long = seconds > self._parameters.token / 2
        world.trace.say(now, f"node {self.id} resumes after {seconds:.3f} s")
        world.coverage["pause.detected" if long else "pause.short"] += 1
        self._carry_out()
        self._hand_in(self._standstill.take_unread())
        if long and self._runs(ring):
            self._standstill.flushes = True
            ring.pause_detected(self.now())
        self._drain()
        if self._standstill.flushes and self._runs(ring):
            self._standstill.flushes = False
            ring.backlog_drained(self.now())
        for about in self._standstill.take_reports():
            self.port_closed(about)
        if self._runs(ring):
            self._expire()
        if self._runs(ring):
            self._react(self._life)
        if self._runs(ring) and isinstance(self.services, StreamServices):
            self.services.inbox.go_on()

    def _runs(self, ring: Ring) -> bool:
        """Whether this is the same life still, and does not stand still again."""
        return self.ring is ring and not self.paused

    def harvest(self) -> None:
        """Add the core's counters, and which cells of the reaction table were used, to the coverage."""
        if self.ring is not None:
            self._world.coverage.update(self.ring.counters)
            self._world.coverage.update({f"frames.{name}": times for name, times in self._wire.counters().items()})
            self.ring.counters.clear()
        for (state, kind), times in self._cells.items():
            self._world.coverage[f"cell.{state.value}.{kind.__name__}"] += times
        self._cells.clear()

    def now(self) -> float:
        """This node's own monotonic clock."""
        return self._offset + self._scheduler.now * self._rate

    # ------------------------------------------------------------------- input

    def arrive(self, sender: int, content: object) -> None:
        """A datagram is readable; it is handed in when the node looks next."""
        if self.ring is None:
            return
        if len(self._inbox) >= self._world.options.inbox_max:
            self._world.coverage["inbox.overflow"] += 1
            return
        self._inbox.append((sender, content))
        if not self._awake and not self.paused:
            self._awake = True
            self._scheduler.at(self._scheduler.now + self._world.options.wake_delay, self._wake, self._life)

    def _wake(self, life: object) -> None:
        if life != self._life or self.ring is None:
            return
        self._awake = False
        if not self.paused:
            self._drain()

    def _drain(self) -> None:
        """Hand in everything readable, tokens last, since the data that they speak of must come first."""
        self._awake = False
        if self.paused:
            return
        inbox, self._inbox = self._inbox, []
        self._hand_in(self._wire.receive(inbox, self.now()))

    def _hand_in(self, received: list[Received]) -> None:
        if len(received) > 1:
            received.sort(key=_is_token)  # stable: otherwise as they came
        for done, (sender, packet) in enumerate(received):
            if self.ring is None:
                return
            if self.paused:
                self._standstill.unread += received[done:]
                return
            if isinstance(packet, Ended):
                self._world.trace.say(self._world.scheduler.now, f"node {self.id} is told that {sender} has ended")
                self.ring.process_ended(sender, self.now())
                self._carry_out()
                continue
            if isinstance(packet, Namesake):
                self._meet_namesake(packet)
                continue
            self._trace.received(self._scheduler.now, self.id, sender, packet)
            self._cells[self.ring.state, type(packet)] += 1
            self.ring.receive(packet, sender, self.now())
            self._carry_out()

    def _meet_namesake(self, other: Namesake) -> None:
        self._trace.say(self._scheduler.now, f"node {self.id} meets another node {self.id}")
        self.namesakes_met += 1
        if other.yields:
            self.crash()

    def _expire(self) -> None:
        if self.ring is None:
            return
        deadline = self._deadline()
        now = self.now()
        if deadline is None:
            return
        if self._at(deadline) <= self._scheduler.now:
            # The way through the global clock may have rounded: never let a deadline that woke us look like the future.
            now = max(now, deadline)
        if deadline <= now:
            self._trace.expired(self._scheduler.now, self.id)
            if received := self._wire.expire(now):
                self._hand_in(received)
            if self.ring is not None and not self.paused:
                self.ring.expire(now)
                self._carry_out()
        else:
            self._arm()

    def submit(self, payload: bytes, *, safe: bool) -> None:
        """An application message."""
        if self.machine is not None:
            self.machine.say(payload, safe=safe)
        elif isinstance(self.services, Services) and not self.paused:
            self.services.submit(payload, Lane.APPLICATION, safe=safe, now=self.now())
            self._carry_out()

    # ------------------------------------------------------------------ output

    def _carry_out(self) -> None:
        """Do what the core decided, in its order, and what the services answer."""
        try:
            while self.ring is not None and (effects := self._standstill.next_effects(self.ring.take_effects())):
                for done, effect in enumerate(effects, 1):
                    self._do(effect)
                    if self.paused:
                        self._standstill.unfinished = effects[done:]
                        return
                self._serve()
            if self.services is not None:
                self.services.flush()
            self._note_state()
            self._arm()
        except _Crashed:
            pass  # what the core still wanted is lost with it

    def _do(self, effect: Effect) -> None:
        self._trace.effect(self._scheduler.now, self.id, effect)
        match effect:
            case Unicast():
                self._send(effect.packet, (effect.to,), directed=True)
            case Multicast():
                receivers = effect.receivers(self.id, self._network.nodes)
                self._send(effect.packet, receivers, repeated=effect.repeated)
            case Deliver() | Originated() | Discarded() | RegularConfiguration() | TransitionalConfiguration():
                assert self.services is not None
                self.services.on_effect(effect)
            case Fact():
                self._note_fact(effect.event)
            case Persist():
                if self.traps:
                    self._spring("Persisting")
                self.disk = effect.ring_sequence
                if self._scheduler.now < self._slow_disk.until:
                    self.pause()
                    self._scheduler.at(self._scheduler.now + self._slow_disk.write_seconds, self.resume)
        if self.traps:
            self._spring(type(effect).__name__)

    def _send(
        self, packet: AnyPacket, receivers: tuple[int, ...], *, directed: bool = False, repeated: bool = False
    ) -> None:
        self._world.watch.sent(self._scheduler.now, self.id, self.disk, packet)
        self._wire.send(packet, receivers, self.now(), directed=directed, repeated=repeated)

    def _serve(self) -> None:
        """Let the services act on what they have seen, now or a little later."""
        services, options = self.services, self._world.options
        if services is None or self._reacting or not services.has_work():
            return
        if options.service_delay:
            self._reacting = True
            even = Chance(options.seed, "service", self.id, services.ring, services.synchronised).fraction()
            self._world.scheduler.at(self._world.scheduler.now + options.service_delay * even, self._react, self._life)
        else:
            services.work(self.now())

    def _react(self, life: object) -> None:
        if life != self._life or self.services is None:
            return
        self._reacting = False
        if not self.paused:
            self.services.work(self.now())
            self._carry_out()

    def _arm(self) -> None:
        """Schedule the next deadline, unless something as early is scheduled already."""
        if self.ring is None:
            return
        deadline = self._deadline()
        if deadline is None:
            return
        when = (deadline - self._offset) / self._rate
        if when < self._scheduler.now:  # noqa: PLR1730  -- `max` costs a call, and this is run for every event
            when = self._scheduler.now
        if when < self._timer_at:
            self._timer_at = when
            self._scheduler.at(when, self._timer, (self._life, when))

    def _timer(self, armed: object) -> None:
        if armed != (self._life, self._timer_at):
            return
        self._timer_at = float("inf")
        if not self.paused:
            self._expire()

    def _deadline(self) -> float | None:
        """When the core, or the frame layer, wants to be called."""
        assert self.ring is not None
        core, wire = self.ring.next_deadline(), self._wire.next_deadline()
        return core if wire is None or (core is not None and core <= wire) else wire

    def _at(self, local: float) -> float:
        return (local - self._offset) / self._rate

    # -------------------------------------------------------------- bookkeeping

    def _record(self, event: Event) -> None:
        self._world.history.record(self._process, event, self._scheduler.now)

    def _note_state(self) -> None:
        if self.ring is not None and self.ring.state is not self._state:
            self._state = self.ring.state
            self._spring(self._state.value)

    def _note_fact(self, event: str) -> None:
        coverage = self._world.coverage
        coverage[f"fact.{event}"] += 1
        if event == "ring.recovery":
            self._recoveries += 1
            coverage[f"recovery.depth.{min(self._recoveries, RECOVERY_DEPTH_COUNTED)}"] += 1
        elif event == "ring.installed":
            self._recoveries = 0

    def _spring(self, event: str) -> None:
        for trap in self.traps:
            if trap.event != event:
                continue
            if trap.skip:
                trap.skip -= 1
                continue
            self.traps.remove(trap)
            life = self._life
            trap.spring()
            if self.ring is None or self._life != life:
                raise _Crashed
            return


def _is_token(received: Received) -> bool:
    return isinstance(received.packet, (Token, CommitToken))
