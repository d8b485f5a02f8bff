"""A simulated machine: what runs on a node besides its totem process, with the connections between."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from simcluster.chance import Chance
from simcluster.group_client import GroupClient
from simcluster.group_history import GroupHistory, Place, Seen
from simcluster.group_ipc import Post
from simcluster.group_service import CpgProcess
from simcluster.history import RingKey
from simcluster.options import GroupOptions
from simcluster.world import World
from totemd.ipc.ids import Guarantee

if TYPE_CHECKING:
    from simcluster.group_stream import Link, StreamServices


class Machine:
    """The cpg process and the clients of one node."""

    def __init__(self, world: World, node_id: int, groups: GroupHistory, clock: Callable[[], float]) -> None:
        """*clock*: the node's own monotonic one."""
        assert world.options.groups is not None
        self.node_id = node_id
        self.options: GroupOptions = world.options.groups
        self.groups = groups
        self.clock = clock
        self.cpg: CpgProcess | None = None
        self.clients: list[GroupClient] = []
        self.on = False
        self._world = world
        self._totem: StreamServices | None = None
        self._lives = 0
        self._posts: list[Post] = []
        self._news: dict[tuple[RingKey, int], int] = {}
        """A ring's first, second … start or end of a service -> sequence number of the frame that told of it here."""

    # -- power

    def power_on(self) -> None:
        """Start cpg and the clients, which join their first groups."""
        if self.on:
            return
        self.on = True
        self._lives += 1
        self.cpg = CpgProcess(self, self._lives)
        self.clients = [self._start_client(index) for index in range(self.options.clients)]

    def power_off(self) -> None:
        """Everything ends at once."""
        if not self.on:
            return
        self.on = False
        for post in self._posts:
            post.cut = True
        self._posts.clear()
        for client in self.clients:
            client.die()
        if self.cpg is not None:
            self.cpg.die()
        self.clients, self.cpg = [], None

    def _start_client(self, index: int) -> GroupClient:
        self._lives += 1
        client = GroupClient(self, index, self._lives)
        client.connect()
        chance = Chance(self._world.options.seed, "first groups", self.node_id, index, self._lives)
        for group in self.options.names():
            if chance.happens(self.options.joins):
                client.join(group)
        return client

    # -- the totem process

    def totem_is_up(self, services: StreamServices) -> None:
        """It serves from now on."""
        self._totem = services

    def totem_is_down(self) -> None:
        """It is gone."""
        if self._totem is not None:
            self._totem.down()
            self._totem = None

    def open_link(self, cpg: CpgProcess, serial: int) -> Link | None:
        """Connect cpg to totem, if that is there."""
        return self._totem.accept(cpg, serial) if self._totem is not None else None

    # -- faults and load

    def kill_service(self, downtime: float) -> None:
        """The cpg process dies, and is started again."""
        if self.cpg is None:
            return
        self.cpg.die()
        self.cpg = None
        self.later(downtime, self._start_service)

    def kill_client(self, index: int, downtime: float) -> None:
        """A client dies; another with the same process id takes its place."""
        if not self.on or index >= len(self.clients) or not self.clients[index].alive:
            return
        self.clients[index].die()
        self.later(downtime, self._restart_client, self.clients[index])

    def stop_client(self, index: int, seconds: float) -> None:
        """A client stands still, and reads nothing."""
        if self.on and index < len(self.clients):
            client = self.clients[index]
            client.inbox.stopped = True
            self.later(seconds, lambda _: client.inbox.go_on())

    def stop_service(self, seconds: float) -> None:
        """The cpg process stands still."""
        if self.cpg is not None:
            cpg = self.cpg
            cpg.inbox.stopped = True
            self.later(seconds, lambda _: cpg.inbox.go_on())

    def join(self, index: int, group: int) -> None:
        """A client asks to be in a group."""
        if index < len(self.clients):
            self.clients[index].join(self.options.names()[group % self.options.groups])

    def leave(self, index: int, group: int) -> None:
        """A client asks to be out of a group."""
        if index < len(self.clients):
            self.clients[index].leave(self.options.names()[group % self.options.groups])

    def say(self, payload: bytes, *, safe: bool) -> None:
        """Some client multicasts to some group that it is in."""
        guarantee = Guarantee.SAFE if safe else Guarantee.AGREED
        names = self.options.names()
        start = zlib.crc32(payload)
        for draw in range(len(self.clients) * len(names)):
            number = (start + draw) % (len(self.clients) * len(names))
            if self.clients[number // len(names)].say(names[number % len(names)], payload, guarantee):
                return

    def last_words(self) -> None:
        """Every member says something, so that nothing can be missing at an end unnoticed."""
        for client in self.clients:
            for group in self.options.names():
                client.say(group, b"last", Guarantee.AGREED)

    def make_peace(self) -> None:
        """Everything runs again."""
        if self.cpg is None:
            self._start_service(None)
        if self.cpg is not None:
            self.cpg.inbox.go_on()
        for client in self.clients:
            client.inbox.go_on()
            if not client.alive:
                self._restart_client(client)

    def _start_service(self, _: object) -> None:
        if self.on and self.cpg is None:
            self._lives += 1
            self.cpg = CpgProcess(self, self._lives)

    def _restart_client(self, dead: Any) -> None:
        if self.on and dead in self.clients:
            self.clients[dead.index] = self._start_client(dead.index)

    # -- for the parts

    def time(self) -> float:
        """Seconds since the start of the run."""
        return self._world.scheduler.now

    def later(self, delay: float, action: Callable[[Any], None], argument: object = None) -> None:
        """Do something after a while."""
        self._world.scheduler.at(self._world.scheduler.now + delay, action, argument)

    def post(self, name: tuple[object, ...], receive: Callable[[Any], None]) -> Post:
        """A new connection, one direction of it."""
        latency = (self.options.latency_low, self.options.latency_high)
        post = Post(self._world.scheduler, latency, (self._world.options.seed, self.node_id, *name), receive)
        self._posts = [each for each in self._posts if each.under_way or not each.cut]
        self._posts.append(post)
        return post

    def posts(self) -> Iterator[Post]:
        """All connections that may carry something."""
        return (post for post in self._posts if not post.cut)

    def new_life(self) -> int:
        """A number that no stream of this node had."""
        self._lives += 1
        return Chance(self._world.options.seed, "life", self.node_id, self._lives).bits() >> 1

    def complain(self, prop: str, what: str) -> None:
        """Something is wrong at once."""
        self.groups.complain(prop, self.time(), f"node {self.node_id}: {what}")

    def completed(self, ring: RingKey, position: int, place: Place | None) -> None:
        """cpg here has completed an exchange, at this place."""
        self.groups.completions.setdefault((ring, position), {}).setdefault(place, self.node_id)
        self.count("group.exchange" if position == 0 else "group.exchange_of_a_service")

    def news_at(self, ring: RingKey, number: int, position: int, *, in_transitional: bool) -> None:
        """The ring's start or end of a service with this *number* is in this frame here."""
        self._news[ring, number] = position
        # After a ring's end each part of it may count on from what its members have.
        known = position if in_transitional else self.groups.news.setdefault((ring, number), position)
        if known != position:
            self.complain("G8", f"start or end {number} of a service on {ring} is at {position}, elsewhere at {known}")

    def news_position(self, ring: RingKey, number: int) -> int:
        """Where that was here."""
        return self._news[ring, number]

    def saw(self, pid: int, group: str, seen: Seen) -> None:
        """A client read an event."""
        self._world.trace.seen(seen.time, self.node_id, pid, group, seen.event)
        self.count(f"group.{type(seen.event).__name__}")

    def noted(self, level: str, text: str, fields: dict[str, Any]) -> None:
        """The engine had something for the log."""
        self.count(f"group.note.{text[:24]}")

    def count(self, name: str) -> None:
        """One more for the coverage."""
        self._world.coverage[name] += 1
