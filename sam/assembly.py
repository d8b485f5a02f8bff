"""The sam process among those of the other nodes: a client of its own node's groups and quorum service.

It carries out what the council decides, and tells it what happens.  While the group or quorum service is away the
council knows it, and the leases of this node run out unless they are back in time.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol, assert_never

from ..executive.config.model import Configuration, TotemOptions
from ..executive.runtime.logging import Logger
from ..executive.runtime.rate import RateLimited
from ..ipc.errors import ConnectionLost, Expelled, MalformedMessage, NotMember, OperationFailed, TotemdError
from ..ipc.ids import Address
from ..ipc.messages.control import AppInfo
from ..services.cpg import aio as groups
from ..services.cpg.aio_group import Group
from ..services.cpg.events import ConfigChange, Event, Message, Rejoined, RingChange
from ..services.quorum import aio as quorum
from .ballots import Ballots
from .clock import lease_clock
from .cluster.council import Council
from .cluster.effects import Extend, Keep, Promote, Send
from .cluster.messages import GROUP, Apps, decode, encode
from .cluster.messages import Message as Telling
from .cluster.promises import Record
from .cluster.roll import Roll, by_name
from .cluster.timing import Timing

LOOK_SECONDS = 0.5
"""How often a service of this node that is not there is looked for."""

TELL_SECONDS = 0.25
"""The others are told of this node's applications at most so often."""

UNSENT_MAX = 1_000
"""Messages that wait for the group; above it nothing but the latest is of use, and the oldest are dropped."""

NOTES_SECONDS, NOTES_BURST = 60.0, 5


class Leader(Protocol):
    """Who hands the council's orders to the sam-runs of this node."""

    def promote(self, order: Promote) -> None: ...

    def extend(self, order: Extend) -> None: ...

    def considered(self) -> None:
        """Something has happened: why candidates wait may have changed."""


def timing_of(totem: TotemOptions) -> Timing:
    """From the configuration's timeouts."""
    return Timing.of_ring(totem.token / 1000, totem.consensus / 1000)


class Assembly:
    """This node's place in the group of the sam processes."""

    def __init__(
        self,
        configuration: Configuration,
        run_dir: Path,
        log: Logger,
        *,
        apps: Callable[[], tuple[AppInfo, ...]],
        leader: Leader,
    ) -> None:
        """*apps* tells the applications of this node."""
        self._node_id = configuration.local_node_id
        self._run_dir = run_dir
        self._log = log
        self._apps = apps
        self._leader = leader
        self._loop = asyncio.get_running_loop()
        self._ballots = Ballots(Path(configuration.system.state_dir), self._node_id)
        self.council = Council(
            Address(self._node_id, os.getpid()), timing_of(configuration.totem), self._kept(), lease_clock()
        )
        self.has_quorum_provider = bool(configuration.quorum.provider)
        self._roll = Roll()
        self._joined = False
        self._outgoing: deque[bytes] = deque()
        self._has_outgoing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._teller: asyncio.TimerHandle | None = None
        self._told_at = -TELL_SECONDS
        self._notes = RateLimited(NOTES_SECONDS, NOTES_BURST)

    def start(self) -> None:
        """Join the others as soon as this node's services are there."""
        self._run(self._take_part())
        if self.has_quorum_provider:
            self._run(self._follow_votes())

    def close(self) -> None:
        """Leave.  Leases that have been given run on."""
        for task in self._tasks:
            task.cancel()
        for timer in (self._timer, self._teller):
            if timer is not None:
                timer.cancel()

    def retime(self, totem: TotemOptions) -> None:
        """The timeouts were changed by a reload; leases that are held keep theirs until they are renewed."""
        self.council.timing = timing_of(totem)

    def apps_of_cluster(self) -> tuple[AppInfo, ...]:
        """The applications of all nodes, by name."""
        return by_name([*self._apps(), *self._roll.of_others(self._node_id)])

    def apps_changed(self) -> None:
        """Tell the others, soon."""
        if self._teller is None and self._joined:
            due = max(self._told_at + TELL_SECONDS, self._loop.time())
            self._teller = self._loop.call_at(due, self._tell)

    def consider(self, happened: Callable[[Council, float], None]) -> None:
        """Let the council know of something, and carry out what follows."""
        happened(self.council, lease_clock())
        self._carry_out()

    # -- the group

    async def _take_part(self) -> None:
        while True:
            try:
                async with groups.Client(self._run_dir) as client:
                    group = await client.join(GROUP, initial_ring=True)
                    sender = self._loop.create_task(self._send(group))
                    try:
                        await self._follow(group)
                    finally:
                        sender.cancel()
                        self._lost()
            except (TotemdError, OSError) as error:
                if not isinstance(error, ConnectionLost):
                    self._note("no member of the sam processes' group", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def _follow(self, group: Group) -> None:
        while True:
            self._happened(await group.receive())

    def _happened(self, event: Event) -> None:
        match event:
            case Message(sender, payload):
                self._heard(sender, payload)
            case ConfigChange(members):
                addresses = tuple(member.address for member in members)
                self._joined = self.council.here in addresses
                self._roll.become(addresses)
                self.consider(lambda council, now: council.members(addresses, now))
                self.apps_changed()
            case RingChange(ring):
                self.consider(lambda council, now: council.ring(ring, now))
            case Rejoined():
                self._lost()

    def _heard(self, sender: Address, payload: bytes) -> None:
        try:
            message = decode(payload)
        except MalformedMessage as error:
            self._note(f"node {sender.node_id} says what cannot be read", error)
            return
        if isinstance(message, Apps):
            self._roll.deliver(sender, message)
        else:
            self.consider(lambda council, now: council.deliver(sender, message, now))

    def _lost(self) -> None:
        self._joined = False
        self._outgoing.clear()
        self._roll.become(())
        self.consider(lambda council, now: council.away(now))

    async def _send(self, group: Group) -> None:
        while await self._has_outgoing.wait():
            try:
                while self._outgoing:
                    await group.mcast(self._outgoing.popleft())
            except (NotMember, Expelled, ConnectionLost):
                return  # who follows the group learns it as well
            self._has_outgoing.clear()

    def _say(self, message: Telling) -> None:
        if not self._joined:
            return  # who joins is told everything anew, and what is not claimed now is claimed later
        self._outgoing.append(encode(message))
        while len(self._outgoing) > UNSENT_MAX:
            self._outgoing.popleft()
        self._has_outgoing.set()

    def _tell(self) -> None:
        self._teller, self._told_at = None, self._loop.time()
        if self._joined:
            fences = {own.name: own.fence for own in self.council.own.values()}
            for message in self._roll.tell(self._apps(), fences):
                self._say(message)

    # -- the votes

    async def _follow_votes(self) -> None:
        while True:
            try:
                async with quorum.Client(self._run_dir) as client:
                    self._counted(client)
                    async for _ in client:
                        self._counted(client)
            except (TotemdError, OSError) as error:
                if not isinstance(error, ConnectionLost):
                    self._note("nobody counts votes", error)
            self.consider(lambda council, now: council.count(None, now))
            await asyncio.sleep(LOOK_SECONDS)

    def _counted(self, client: quorum.Client) -> None:
        status = client.status
        self.consider(lambda council, now: council.count(status, now))

    # -- the council's effects

    def _carry_out(self) -> None:
        while effects := self.council.take_effects():
            for effect in effects:
                match effect:
                    case Send(message):
                        self._say(message)
                    case Keep():
                        self._keep(effect)
                    case Promote():
                        self._log.notice("singleton: runs here", app=self._name(effect), fence=effect.fence)
                        self._leader.promote(effect)
                    case Extend():
                        self._leader.extend(effect)
                    case _:
                        assert_never(effect)
        self._rearm()
        self._leader.considered()

    def _keep(self, effect: Keep) -> None:
        try:
            self._ballots.write(effect.record)
        except OperationFailed as error:
            self._note("this node cannot vote on singletons", error)
            return
        if effect.then is not None:
            self._say(effect.then)

    def _name(self, order: Promote) -> str:
        own = self.council.own.get(order.candidate)
        return "" if own is None else own.name

    def _rearm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self.council.next_deadline()
        self._timer = None
        if deadline is not None:
            self._timer = self._loop.call_later(max(0.0, deadline - lease_clock()), self._expire)

    def _expire(self) -> None:
        self.consider(lambda council, now: council.expire(now))

    # -- inside

    def _kept(self) -> Record | None:
        try:
            return self._ballots.read()
        except OperationFailed as error:
            self._log.crit("this node does not vote on singletons", reason=str(error))
            return None

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """These tasks end by being cancelled, or by a bug."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._loop.call_exception_handler({"message": "sam among other nodes", "exception": error})

    def _note(self, text: str, error: Exception) -> None:
        if self._notes.admit(self._loop.time()) is not None:
            self._log.warning(text, reason=str(error))
