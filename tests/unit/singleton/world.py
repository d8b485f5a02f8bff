"""Machines with a sam process, a sam-run, its guardian and an application, on the bus; everything at seeded times.

True time is the world's; each machine has a clock of its own, whose rate is wrong within the bound.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

from order import Bus, Membership, NewRing, Port, Told
from totemd.ipc.ids import Address
from totemd.sam.cluster.council import Council
from totemd.sam.cluster.effects import (
    AskRenewal,
    BeginTerm,
    CouncilEffect,
    Extend,
    Keep,
    Leash,
    Promote,
    Send,
    TellYielded,
    TenureEffect,
    Unleash,
    Yield,
)
from totemd.sam.cluster.messages import decode, encode
from totemd.sam.cluster.promises import Record
from totemd.sam.cluster.tenure import Phase, Tenure
from totemd.sam.cluster.timing import DRIFT_MAX, KILL_SECONDS, Timing

NAME = "db"
YIELD_SECONDS = 0.5
TOKEN, CONSENSUS = 0.4, 0.48


@dataclass
class Stay:
    """An application on a machine: from when to when in true time."""

    fence: int
    node_id: int
    began: float
    ended: float | None = None
    handed: bytes = b""


class World:
    """All of it."""

    def __init__(
        self, nodes: int, seed: int, *, drift: float = DRIFT_MAX, starts: tuple[int, ...] | None = None
    ) -> None:
        """*starts*: the order in which sam-runs are started, two seconds apart; without it all start at once."""
        self.rng = random.Random(seed)
        self.time = 0.0
        self.timing = Timing.of_ring(TOKEN, CONSENSUS)
        self.stays: list[Stay] = []
        self.story: list[str] = []
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.bus = Bus(self.later, self.rng)
        self.bus.forming_seconds = (0.1, TOKEN + CONSENSUS)
        self.machines = {node: Machine(self, node, drift) for node in range(1, nodes + 1)}
        self.bus.cut([set(self.machines)])
        for number, node in enumerate(starts or self.machines):
            self.later(2.0 * number if starts else 0.0, self.machines[node].start_runner)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.time + seconds, next(self._numbers), action))

    def run(self, seconds: float) -> None:
        until = self.time + seconds
        while self._heap and self._heap[0][0] <= until:
            self.time, _, action = heapq.heappop(self._heap)
            action()
        self.time = until

    def note(self, text: str) -> None:
        self.story.append(f"{self.time:9.4f} {text}")

    @property
    def running(self) -> list[Stay]:
        return [stay for stay in self.stays if stay.ended is None]


class Machine:
    """One node, with everything on it."""

    def __init__(self, world: World, node_id: int, drift: float) -> None:
        self.world = world
        self.rng = world.rng
        self.node_id = node_id
        self.rate = 1 + self.rng.uniform(-drift, drift)
        self.offset = self.rng.uniform(0, 1000)
        self.disk = Record()
        self.port = Port(node_id, self.read)
        world.bus.ports[node_id] = self.port
        self.pids = itertools.count(node_id * 100 + 1)
        self.candidates = itertools.count(1)
        self.up = True
        self.life = 0
        """How often it was switched off."""
        self.is_paused = False
        self.sam_pauses = self.runner_pauses = 0
        self.lag = 0.0
        """Everything of the bus comes so much later; the votes only when it is over."""
        self.council: Council | None = None
        self.candidate = 0
        self.tenure: Tenure | None = None
        self.stay: Stay | None = None
        self.leash: float | None = None
        self._ticket = 0
        self.start_sam()

    @property
    def now(self) -> float:
        """By this machine's clock."""
        return self.offset + self.world.time * self.rate

    def at(self, local: float, action: Callable[[], None]) -> None:
        """When this machine's clock shows *local*."""
        self.world.later(max(0.0, (local - self.now) / self.rate) + 1e-6, action)

    # -- the sam process

    @property
    def sam_works(self) -> bool:
        return self.up and not self.is_paused and not self.sam_pauses and self.council is not None

    def start_sam(self) -> None:
        if not self.up or self.council is not None:
            return
        address = Address(self.node_id, next(self.pids))
        self.council = Council(address, self.world.timing, self.disk, self.now)
        self.world.bus.join(self.port, address)
        if self.tenure is not None:
            self.world.later(self.rng.uniform(0.001, 0.2), self.register)

    def kill_sam(self) -> None:
        if self.council is not None:
            self.council = None
            self.world.bus.leave(self.port)

    def read(self) -> None:
        """The bus has something for the sam process."""
        if self.lag:
            self.world.later(self.lag, lambda: self.read_now(1))
        else:
            self.read_now(len(self.port.inbox))

    def read_now(self, most: int) -> None:
        """Take it in; there is one call for each item, so that those that come late come one by one."""
        if not self.sam_works:
            return
        assert self.council is not None
        council, inbox = self.council, self.port.inbox
        for _ in range(min(most, len(inbox))):
            match inbox.popleft():
                case Told(sender, payload):
                    council.deliver(sender, decode(payload), self.now)
                case Membership(members):
                    if council.here in members:
                        council.members(members, self.now)
                case NewRing(ring):
                    council.ring(ring, self.now)
            self.carry_out()
        if council._count is not self.port.count and not self.lag:
            council.count(self.port.count, self.now)
        self.carry_out()

    def tick(self, ticket: int) -> None:
        if ticket == self._ticket and self.sam_works:
            assert self.council is not None
            self.council.expire(self.now)
            self.carry_out()

    def carry_out(self) -> None:
        assert self.council is not None
        while effects := self.council.take_effects():
            for effect in effects:
                self.do(effect)
        self._ticket += 1
        ticket, deadline = self._ticket, self.council.next_deadline()
        if deadline is not None:
            self.at(deadline, lambda: self.tick(ticket))

    def do(self, effect: CouncilEffect) -> None:
        match effect:
            case Send(message):
                self.world.bus.submit(self.port, encode(message))
            case Keep(record, message):
                self.disk = record
                if message is not None:
                    self.world.bus.submit(self.port, encode(message))
            case Promote() | Extend():
                self.to_runner(effect)

    # -- between sam process and sam-run

    def to_runner(self, order: Promote | Extend) -> None:
        tenure, candidate = self.tenure, self.candidate

        def arrive() -> None:
            if self.tenure is not tenure or order.candidate != candidate or tenure is None:
                return
            if not self.runner_works:
                self.world.later(0.02, arrive)
                return
            if isinstance(order, Promote):
                tenure.promoted(order.fence, order.ends_at, self.world.timing.renew_every, order.stored, self.now)
            else:
                tenure.extended(order.fence, order.ends_at, self.now)
            self.settle_runner()

        self.world.later(self.rng.uniform(0.0005, 0.02), arrive)

    def to_sam(self, tell: Callable[[Council], None]) -> None:
        council = self.council

        def arrive() -> None:
            if self.council is not council or council is None:
                return
            if not self.sam_works:
                self.world.later(0.02, arrive)
                return
            tell(council)
            self.carry_out()

        self.world.later(self.rng.uniform(0.0005, 0.02), arrive)

    def register(self) -> None:
        if self.tenure is None or not self.up:
            return
        self.candidate = candidate = next(self.candidates)
        term = self.tenure.term
        self.to_sam(lambda council: council.enlist(candidate, NAME, YIELD_SECONDS, self.now, term))

    # -- the sam-run, its guardian, the application

    @property
    def runner_works(self) -> bool:
        return self.up and not self.is_paused and not self.runner_pauses and self.tenure is not None

    def start_runner(self) -> None:
        if self.up and not self.is_paused and self.tenure is None and self.stay is None:
            self.tenure = Tenure(YIELD_SECONDS)
            self.register()

    def settle_runner(self) -> None:
        if not self.runner_works:
            return
        assert self.tenure is not None
        tenure = self.tenure
        tenure.expire(self.now)
        while effects := tenure.take_effects():
            for effect in effects:
                self.do_runner(effect, tenure)
        deadline = tenure.next_deadline()
        if deadline is not None:
            self.at(deadline, self.settle_runner)

    def do_runner(self, effect: TenureEffect, tenure: Tenure) -> None:
        candidate = self.candidate
        match effect:
            case BeginTerm(fence, stored):
                self.begin_app(fence, stored)
                data = b"%d" % fence
                self.to_sam(lambda council: council.store(candidate, data, self.now))
            case Leash(kill_at):
                self.leash = kill_at
                self.at(kill_at, self.guard)
            case Unleash():
                self.leash = None
            case AskRenewal(fence):
                self.to_sam(lambda council: council.renew(candidate, fence, self.now))
            case TellYielded(fence):
                self.to_sam(lambda council: council.yielded(candidate, fence, self.now))
            case Yield(kill_at):
                self.end_app_by(kill_at, tenure)

    def begin_app(self, fence: int, stored: bytes) -> None:
        assert self.stay is None
        self.stay = Stay(fence, self.node_id, self.world.time, handed=stored)
        self.world.stays.append(self.stay)
        self.world.note(f"{self.node_id}: runs as {fence}")

    def end_app(self) -> None:
        if self.stay is not None:
            self.stay.ended = self.world.time
            self.world.note(f"{self.node_id}: over {self.stay.fence}")
            self.stay = None

    def end_app_by(self, kill_at: float, tenure: Tenure) -> None:
        """It may end as it is asked to, or only when it is killed; the killer is sam-run."""
        stubborn = self.rng.random() < 0.5
        local = kill_at + self.rng.uniform(0, KILL_SECONDS / 4) if stubborn else self.rng.uniform(self.now, kill_at)

        def ended() -> None:
            if self.tenure is not tenure or tenure.phase is Phase.STANDBY:
                return
            if not self.runner_works:
                self.world.later(0.02, ended)
                return
            self.end_app()
            tenure.over()
            self.settle_runner()

        self.at(local, ended)

    def guard(self) -> None:
        """The guardian looks at the clock: also the first thing that happens when a machine goes on."""
        if self.up and not self.is_paused and self.leash is not None and self.now >= self.leash:
            self.end_app()
            self.leash = None
            tenure = self.tenure
            if tenure is not None:
                self.world.later(0.01, lambda: self.reaped(tenure))

    def reaped(self, tenure: Tenure) -> None:
        """sam-run learns that its application is gone, once it goes on."""
        if self.tenure is tenure and tenure.phase is not Phase.STANDBY and self.stay is None and self.up:
            if not self.runner_works:
                self.world.later(0.02, lambda: self.reaped(tenure))
                return
            tenure.over()
            self.settle_runner()

    # -- what can happen to it

    def app_fails(self) -> None:
        """Beyond its intensity: sam-run ends."""
        if self.runner_works and self.stay is not None:
            self.end_app()
            self.leash, self.tenure, candidate = None, None, self.candidate
            self.to_sam(lambda council: council.withdraw(candidate, self.now, clean=True))

    def kill_runner(self) -> None:
        """The guardian reads the end of its pipe, and kills what is left."""
        if self.tenure is None:
            return
        self.tenure, candidate = None, self.candidate
        life = self.life

        def orphaned() -> None:
            if self.is_paused:
                self.world.later(0.02, orphaned)
            elif self.life == life and self.tenure is None:
                self.end_app()
                self.leash = None

        self.world.later(self.rng.uniform(0.001, 0.3), orphaned)
        self.to_sam(lambda council: council.withdraw(candidate, self.now, clean=False))

    def pause(self, seconds: float) -> None:
        """The whole machine stands still; its clock does not."""
        if not self.up or self.is_paused:
            return
        self.is_paused = True
        fence, handed = (self.stay.fence, self.stay.handed) if self.stay is not None else (0, b"")
        self.end_app()
        lost = seconds > TOKEN
        if lost:
            self.port.up = False
            self.world.bus.changed()
        life = self.life
        self.world.later(seconds, lambda: self.resume(fence, handed, lost) if self.life == life else None)

    def resume(self, fence: int, handed: bytes, lost: bool) -> None:
        self.is_paused = False
        if lost:
            self.port.up = True
            self.world.bus.changed()
        # What the guardian does before the application gets to run again, and what it does not: docs/singleton.md.
        if fence and self.leash is not None and self.now < self.leash:
            self.stay = Stay(fence, self.node_id, self.world.time, handed=handed)
            self.world.stays.append(self.stay)
        self.guard()
        self.settle_runner()
        self.read()
        if self.sam_works:
            assert self.council is not None
            self.council.expire(self.now)
            self.carry_out()

    def pause_process(self, which: str, seconds: float) -> None:
        """SIGSTOP for the sam process, or sam-run."""
        name = f"{which}_pauses"
        setattr(self, name, getattr(self, name) + 1)

        def go_on() -> None:
            setattr(self, name, getattr(self, name) - 1)
            self.settle_runner()
            self.read()
            self.tick(self._ticket)

        self.world.later(seconds, go_on)

    def crash(self) -> None:
        """Power off."""
        if not self.up:
            return
        self.up = self.port.up = self.is_paused = False
        self.life += 1
        self.end_app()
        self.council = self.tenure = self.leash = None
        self.port.member = self.port.ring = self.port.count = None
        self.port.inbox.clear()
        self.port.unsent.clear()
        self.world.bus.changed()

    def boot(self) -> None:
        if not self.up:
            self.up = self.port.up = True
            self.start_sam()
            self.world.bus.changed()
            self.world.later(self.rng.uniform(0.01, 0.5), self.start_runner)
