"""Building blocks for asyncio programs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ...ipc.errors import NotMember
from ...ipc.ids import Address
from ..cpg.aio import Client
from .aio import Replica
from .blocks import replacement
from .effects import Status
from .errors import OutcomeUnknown
from .mapping import MISSING, Clear, Delete, DictMachine, DictView, Key, OnChange, Set, encode, raw
from .policy import Policy
from .turns import Ask, Entry, Turns, Yield
from .turns import encode as encode_turn


class ReplicatedDict(DictView):
    """A dictionary that all members of a group share: read locally, written through the group.

    ```
    async with totemd.aio.Client() as client, totemd.replica.aio.ReplicatedDict(client, "settings") as settings:
        await settings.set("colour", "blue")
        print(settings["colour"])
    ```
    As the blocking one, except that what writes is awaited.
    """

    def __init__(
        self, client: Client, group: str | bytes, policy: Policy | None = None, *, on_change: OnChange | None = None
    ) -> None:
        """Nothing is sent yet; `async with` joins, and waits until the content is here."""
        self._machine = DictMachine(on_change)
        self.replica = Replica(client, group, self._machine, policy)

    async def set(self, key: Key, value: Any) -> None:
        """Give the key a value."""
        await self.replica.submit(encode(Set({key: raw(value)})))

    async def update(self, *others: Any, **more: Any) -> None:
        """Set several keys in one step."""
        await self.replica.submit(encode(Set({key: raw(value) for key, value in dict(*others, **more).items()})))

    async def delete(self, key: Key) -> None:
        """Take the key out.

        Raises:
            KeyError: it was not there.
        """
        await self.pop(key)

    async def pop(self, key: Key, default: Any = MISSING) -> Any:
        """Take the key out; of several who do so, one gets the value."""
        value = await self.replica.submit(encode(Delete(key)))
        if value is not MISSING:
            return value
        if default is MISSING:
            raise KeyError(key)
        return default

    async def compare_and_set(self, key: Key, expected: Any, value: Any) -> bool:
        """Set the key if its value is the expected one (MISSING: it has none); returns whether it was."""
        return bool(await self.replica.submit(replacement(key, expected, value)))

    async def clear(self) -> None:
        """Take all keys out."""
        await self.replica.submit(encode(Clear()))

    async def sync(self) -> None:
        """Wait until everything that was acknowledged to anybody before is here."""
        await self.replica.barrier()

    async def __aenter__(self) -> ReplicatedDict:
        await _entered(self.replica)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.replica.close()


async def _entered(replica: Replica) -> None:
    await replica.start()
    try:
        await replica.active()
    except BaseException:
        await replica.close()
        raise


class _Line:
    """What `Lock` and `Leader` have in common: a place in a line."""

    def __init__(self, client: Client, group: str | bytes, policy: Policy) -> None:
        self._turns = Turns(self._moved)
        self._moves = asyncio.Event()
        self.replica = Replica(client, group, self._turns, policy, on_status=lambda status: self._moved())

    @property
    def fence(self) -> int:
        """How often the turn has passed to somebody: give it to what is protected, which refuses smaller ones."""
        return self._turns.fence

    def _moved(self) -> None:
        self._moves.set()

    def _has_turn(self, entry: Entry) -> bool:
        return self.replica.status is Status.ACTIVE and self._turns.first == entry

    async def _wait_for_turn(self, entry: Entry) -> int:
        """Stand in line until it is this entry's turn, for certain; returns the fence."""
        while True:
            self._moves.clear()
            if self.replica.status is Status.CLOSED:
                await self.replica.closed()
                raise NotMember("the replica is closed")
            try:
                if self._has_turn(entry):
                    await self.replica.barrier()
                    if self._has_turn(entry):
                        return self.fence
                elif self.replica.status is Status.ACTIVE and entry not in self._turns.line:
                    await self.replica.submit(encode_turn(Ask(entry)))
                else:
                    await self._moves.wait()
            except OutcomeUnknown:
                continue  # Asking twice is asking once.

    async def _give_up_turn(self, entry: Entry) -> None:
        while True:
            try:
                await self.replica.submit(encode_turn(Yield(entry)))
                return
            except OutcomeUnknown:
                continue

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.replica.close()


class Lock(_Line):
    """A lock for all processes of the cluster; fair: first come, first served.

    ```
    async with totemd.aio.Client() as client, totemd.replica.aio.Lock(client, "backup", Majority(3)) as lock:
        async with lock.held() as fence:
            ...
    ```
    A holder that leaves, dies or is cut off loses it: then `is_held` is false *here* as soon as this process has been
    told.  Between being cut off and being told there is no way to know, so whatever must not be done twice has to check
    the fence, a number that grows with each holder.  With `Available` each part of a split group has a holder.
    """

    def __init__(self, client: Client, group: str | bytes, policy: Policy) -> None:
        """Nothing is sent yet; `async with` joins, and waits until this process may take part."""
        super().__init__(client, group, policy)
        self._numbers = itertools.count(1)
        self._entry: Entry | None = None
        self._giving_up: asyncio.Task[None] | None = None
        """Only so that it is not forgotten."""

    @property
    def is_held(self) -> bool:
        """Whether this process holds it, as far as it has been told."""
        return self._entry is not None and self._has_turn(self._entry)

    @property
    def holder(self) -> Address | None:
        """Who holds it, as far as this process has been told."""
        first = self._turns.first
        return None if first is None else Address(*first[:2])

    async def acquire(self) -> int:
        """Wait until this process holds it; returns the fence.  Use `asyncio.timeout` to wait for some time only.

        Raises:
            RuntimeError: this object holds it, or waits for it.
        """
        if self._entry is not None:
            raise RuntimeError("a Lock is acquired by one task at a time: release it first")
        self._entry = entry = (*self.replica.address, next(self._numbers))
        try:
            return await self._wait_for_turn(entry)
        except BaseException:
            self._entry = None
            if self.replica.status is not Status.CLOSED:
                self._giving_up = asyncio.create_task(self._give_up_turn(entry))
                # It fails only if the replica ends meanwhile: who has left the group has left the line.
                self._giving_up.add_done_callback(lambda task: task.cancelled() or task.exception())
            raise

    async def release(self) -> None:
        """Give it to the next; done once that is certain."""
        entry, self._entry = self._entry, None
        if entry is None:
            raise RuntimeError("the lock is not held")
        await self._give_up_turn(entry)

    def held(self) -> _Held:
        """`async with lock.held() as fence`: acquire, and release at the end."""
        return _Held(self)

    async def __aenter__(self) -> Lock:
        await _entered(self.replica)
        return self


class _Held:
    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    async def __aenter__(self) -> int:
        return await self._lock.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._lock.release()


class Leader(_Line):
    """The leader of a group: the member that has been there for longest.

    ```
    async with totemd.aio.Client() as client, totemd.replica.aio.Leader(client, "scheduler", Majority(3)) as leader:
        term = await leader.elected()
        while leader.is_leader:
            ...
    ```
    Every member is a candidate.  `fence` counts the changes; see `Lock` for what it is good for.
    """

    def __init__(
        self,
        client: Client,
        group: str | bytes,
        policy: Policy,
        *,
        on_change: Callable[[Address | None, int], None] | None = None,
    ) -> None:
        """*on_change* is called with the leader, or None while that is unknown, and the fence."""
        self._on_change = on_change
        self._told: tuple[Address | None, int] = (None, 0)
        self._standing: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        super().__init__(client, group, policy)

    @property
    def leader(self) -> Address | None:
        """Who leads; None while this process cannot know."""
        first = self._turns.first
        return None if first is None or self.replica.status is not Status.ACTIVE else Address(*first[:2])

    @property
    def is_leader(self) -> bool:
        """Whether this process leads, as far as it has been told."""
        return self._has_turn(self._entry)

    async def elected(self) -> int:
        """Wait until this process leads; returns the fence."""
        return await self._wait_for_turn(self._entry)

    async def __aenter__(self) -> Leader:
        await _entered(self.replica)
        self._standing = asyncio.create_task(self._stand())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._standing is not None:
            self._standing.cancel()
            # What ended the replica also ended this task; whoever uses the replica is told.
            await asyncio.gather(self._standing, return_exceptions=True)
        await super().__aexit__(kind, error, trace)

    @property
    def _entry(self) -> Entry:
        return (*self.replica.address, 0)

    async def _stand(self) -> None:
        """Be in the line, again after each time that this member was away."""
        while self.replica.status is not Status.CLOSED:
            self._changed.clear()
            if self.replica.status is Status.ACTIVE and self._entry not in self._turns.line:
                try:
                    await self.replica.submit(encode_turn(Ask(self._entry)))
                except OutcomeUnknown:
                    continue
            else:
                await self._changed.wait()

    def _moved(self) -> None:
        super()._moved()
        self._changed.set()
        if self._on_change is not None:
            now = (self.leader, self.fence)
            if now != self._told:
                self._told = now
                self._on_change(*now)
