"""`Lock` and `Leader` for asyncio programs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from ...ipc.errors import NotMember
from ..cpg.aio import Client
from .aio import Replica
from .aio_blocks import entered
from .effects import Status
from .errors import OutcomeUnknown
from .line_view import LeaderView, LineView, LockView, OnLeader
from .policy import Policy
from .turns import Ask, Entry, Step, Yield, encode, next_step, strays


class _Line(LineView):
    """What the two have in common: waiting for the turn, and standing only where one wants to stand."""

    replica: Replica

    def __init__(
        self,
        client: Client,
        group: str | bytes,
        policy: Policy,
        *,
        fence_above: int = 0,
        on_leader: OnLeader | None = None,
    ) -> None:
        self._moves, self._changed = asyncio.Event(), asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        super().__init__(fence_above, on_leader)
        self.replica = Replica(client, group, self._turns, policy, on_status=self._became)

    def _moved(self) -> None:
        super()._moved()
        self._moves.set()
        self._changed.set()

    def _correction(self) -> Ask | Yield | None:
        """What makes the line as this process wants it."""
        if not self._may_work():
            return None
        return next((Yield(entry) for entry in strays(self._turns, self.replica.address, self._wanted())), None)

    async def _keep(self) -> None:
        while self.replica.status is not Status.CLOSED:
            self._changed.clear()
            if (correction := self._correction()) is None:
                await self._changed.wait()
                continue
            with contextlib.suppress(OutcomeUnknown):  # It is tried again if it is still wanted.
                await self.replica.submit(encode(correction))

    async def _wait_for_turn(self, entry: Entry) -> int:
        """Stand in line until it is this entry's turn, for certain; returns the fence."""
        while True:
            self._moves.clear()
            if self.replica.status is Status.CLOSED:
                await self.replica.closed()
                raise NotMember("the replica is closed")
            try:
                match next_step(self._turns, entry, self._may_work()):
                    case Step.VERIFY:
                        await self.replica.barrier()
                        if self._has_turn(entry):
                            return self.fence
                    case Step.ASK:
                        await self.replica.submit(encode(Ask(entry, self._seen)))
                    case Step.WAIT:
                        await self._moves.wait()
            except OutcomeUnknown:
                continue  # Asking twice is asking once.

    async def _give_up_turn(self, entry: Entry) -> None:
        while True:
            try:
                await self.replica.submit(encode(Yield(entry)))
                return
            except OutcomeUnknown:
                continue

    async def __aenter__(self) -> Self:
        await entered(self.replica)
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            # What ended the replica also ended this task; whoever uses the replica is told.
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self.replica.close()


class Lock(_Line, LockView):
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

    def __init__(self, client: Client, group: str | bytes, policy: Policy, *, fence_above: int = 0) -> None:
        """Nothing is sent yet; `async with` joins, and waits until this process may take part.

        *fence_above*: the highest fence that the protected thing has seen, if it remembers; those to come are higher,
        even if everybody who had the lock's state is gone.
        """
        super().__init__(client, group, policy, fence_above=fence_above)

    async def acquire(self) -> int:
        """Wait until this process holds it; returns the fence.  Use `asyncio.timeout` to wait for some time only.

        Raises:
            RuntimeError: this object holds it, or waits for it.
        """
        entry = self._want()
        try:
            return await self._wait_for_turn(entry)
        except BaseException:
            self._give_up()
            raise

    async def try_acquire(self) -> int | None:
        """Hold it if nobody else does; returns the fence, or None: somebody does, or nothing is certain.

        Waits while this replica may not work, and raises, as `acquire` does.
        """
        entry = self._want()
        try:
            with contextlib.suppress(OutcomeUnknown):
                await self.replica.submit(encode(Ask(entry, self._seen)))
                if self._has_turn(entry):
                    await self.replica.barrier()
                    if self._has_turn(entry):
                        return self.fence
        except BaseException:
            self._give_up()
            raise
        await self.release()
        return None

    async def release(self) -> None:
        """Give it to the next; done once that is certain."""
        try:
            await self._give_up_turn(self._want_no_more())
        finally:
            self._changed.set()  # If that was given up, the keeper does it.

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[int]:
        """`async with lock.held() as fence`: acquire, and release at the end."""
        fence = await self.acquire()
        try:
            yield fence
        finally:
            await self.release()

    def _give_up(self) -> None:
        """Want the place no more; the keeper takes it out of the line."""
        self._want_no_more()
        self._changed.set()


class Leader(_Line, LeaderView):
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
        on_change: OnLeader | None = None,
        fence_above: int = 0,
    ) -> None:
        """*on_change* is called with the leader, or None while that is unknown, and the fence; all else as `Lock`."""
        super().__init__(client, group, policy, fence_above=fence_above, on_leader=on_change)

    async def elected(self) -> int:
        """Wait until this process leads; returns the fence."""
        return await self._wait_for_turn(self._wanted())

    def _correction(self) -> Ask | Yield | None:
        """Be in the line, again after each time that this member was away."""
        if next_step(self._turns, self._wanted(), self._may_work()) is Step.ASK:
            return Ask(self._wanted(), self._seen)
        return super()._correction()
