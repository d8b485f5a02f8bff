"""The asyncio replica: a shell over `Driver` with two tasks, one that follows the group and one that sends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ...ipc.deadline import within
from ...ipc.errors import ConnectionLost, Expelled, NotMember, TotemdError
from ..cpg.aio import Client
from ..cpg.aio_group import Group
from ..cpg.batches import BytesLike
from .driver import Driver, OnMembers
from .effects import Status
from .machine import StateMachine
from .pending import PROPOSALS_MAX
from .policy import Policy
from .view import ReplicaView

EVENTS_PER_TURN = 256
"""Events that are taken in before other tasks of the loop get their turn."""


class Replica(ReplicaView):
    """A state machine that is kept the same on all members of a group.

    ```
    async with totemd.aio.Client() as client, totemd.replica.aio.Replica(client, "counter", Counter()) as replica:
        total = await replica.submit(b"+1")
    ```
    From `async with` to its end it follows the group by itself; the state machine is called in the loop.  The end of
    the block leaves the group.
    """

    def __init__(
        self,
        client: Client,
        group: str | bytes,
        machine: StateMachine,
        policy: Policy | None = None,
        *,
        on_status: Callable[[Status], None] | None = None,
        on_members: OnMembers | None = None,
    ) -> None:
        """Nothing is sent yet.  *policy* is `Available()` if none is given.

        *on_status* is called with each change of the status, *on_members* with each of the group.

        Raises:
            InvalidArgument: *machine* is no state machine, or something is `async def`.
        """
        super().__init__(machine, on_status, on_members)
        self._client = client
        self._name = group
        self._policy = policy
        self._on_status = on_status
        self._on_members = on_members
        self._group: Group | None = None
        self._follower: asyncio.Task[None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        """Leaves the group after the replica ended by itself."""
        self._waiters: dict[int, asyncio.Future[Any]] = {}
        self._room = asyncio.Semaphore(PROPOSALS_MAX)
        self._outgoing = asyncio.Event()
        self._settled = asyncio.Event()
        """Set while active, and once closed."""
        self._timer: asyncio.TimerHandle | None = None

    async def start(self, timeout: float | None = None) -> Replica:
        """Join the group and follow it; `active` tells when the state is here.

        Raises:
            AlreadyMember, TimeoutError: as `Client.join`.
        """
        if self._driver is None:
            self._group = self._place = group = await self._client.join(self._name, timeout=timeout)
            self._driver = Driver(
                self._checked, group.address, self._policy, on_status=self._became, on_members=self._on_members
            )
            self._follower = asyncio.create_task(self._follow(group))
            self._follower.add_done_callback(self._followed)
            self._sender = asyncio.create_task(self._send(group))
        return self

    async def active(self, timeout: float | None = None) -> None:
        """Wait until this replica has the state and may work.

        Raises:
            TimeoutError: not within *timeout* seconds; the text says where it stands, and what is in its way.
            IncompatibleState, TransferFailed, or whatever ended the replica.
        """
        driver = self._require_driver()
        try:
            async with within(timeout):
                await self._settled.wait()
        except TimeoutError:
            raise self._late("the replica did not become active", timeout) from None
        driver.require_open()

    async def closed(self) -> None:
        """Wait until the replica is closed; raises what ended it, if that was not `close`."""
        driver, follower = self._require_driver(), self._follower
        if follower is not None:
            await asyncio.wait([follower])
        if driver.error is not None:
            raise driver.error

    async def submit(self, command: BytesLike) -> Any:
        """Have all replicas apply the command; returns what `apply` returned here, where the command stands.

        What is read here afterwards shows the command.  While this replica has no state, or may not work, this waits
        (use `asyncio.timeout`); given up, a command that was sent may still be applied.

        Raises:
            Rejected: `apply` did.
            OutcomeUnknown: this member lost its place meanwhile; the command was applied once or never.
            MessageTooLarge: above `COMMAND_BYTES_MAX`; nothing was sent.
            InvalidArgument: not bytes-like; nothing was sent.
            NotMember, or whatever ended the replica: it is closed.
        """
        driver = self._require_driver()
        return await self._ordered(lambda now: driver.propose(command, now))

    async def barrier(self) -> None:
        """Wait until everything that was acknowledged to anybody before the call has been applied here.

        What is read then is as fresh as the answer to a `submit`, and costs as much.  Raises as that.
        """
        await self._ordered(self._require_driver().barrier)

    async def begin(self) -> None:
        """Work with those who are here and what they have: for an operator who knows that the others are gone.

        With `Majority` that is still only possible on more than half of the nodes.
        """
        self._require_driver().begin()
        self._after()

    async def close(self) -> None:
        """Leave the group.  Commands that wait end with NotMember."""
        group, self._group = self._group, None
        if group is None:
            if self._closing is not None and self._closing is not asyncio.current_task():
                await asyncio.wait([self._closing])
            return
        with contextlib.suppress(TimeoutError, TotemdError):
            await group.__aexit__(None, None, None)
        for task in (self._sender, self._follower):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.wait([task])

    async def __aenter__(self) -> Replica:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- inside

    async def _ordered(self, propose: Callable[[float], int]) -> Any:
        driver = self._require_driver()
        async with self._room:
            ticket = propose(asyncio.get_running_loop().time())
            waiter = self._waiters[ticket] = asyncio.get_running_loop().create_future()
            self._after()
            try:
                return await waiter
            finally:
                del self._waiters[ticket]
                driver.core.pending.forget(ticket)

    async def _follow(self, group: Group) -> None:
        driver, loop = self._require_driver(), asyncio.get_running_loop()
        with contextlib.suppress(NotMember):
            for count in range(1, 2**63):
                driver.event(await group.receive(), loop.time())
                self._after()
                if driver.core.status is Status.CLOSED:
                    break
                if count % EVENTS_PER_TURN == 0:
                    await asyncio.sleep(0)

    def _followed(self, task: asyncio.Task[None]) -> None:
        """The group was left, or the replica cannot go on; what the state machine raised is told to all who wait."""
        driver = self._require_driver()
        error = None if task.cancelled() else task.exception()
        driver.close(error if isinstance(error, Exception) else None)
        self._after()
        if self._group is not None:
            self._closing = asyncio.create_task(self.close())

    async def _send(self, group: Group) -> None:
        outgoing = self._require_driver().outgoing
        with contextlib.suppress(NotMember, Expelled, ConnectionLost):
            while await self._outgoing.wait():
                while outgoing:
                    send = outgoing.popleft()
                    await group.mcast(send.payload, send.guarantee)
                self._outgoing.clear()

    def _became(self, status: Status) -> None:
        if status in (Status.ACTIVE, Status.CLOSED):
            self._settled.set()
        else:
            self._settled.clear()
        if self._on_status is not None:
            self._on_status(status)

    def _after(self) -> None:
        """Something has happened: wake who waits, send what is to be sent, set the clock."""
        driver = self._require_driver()
        if driver.outgoing:
            self._outgoing.set()
        for ticket, outcome in driver.take_outcomes():
            waiter = self._waiters.get(ticket)
            if waiter is not None and not waiter.done():
                if outcome.error is None:
                    waiter.set_result(outcome.value)
                else:
                    waiter.set_exception(outcome.error)
        if driver.core.status is Status.CLOSED:
            for waiter in self._waiters.values():
                if not waiter.done():
                    waiter.set_exception(driver.error or NotMember("the replica is closed"))
        self._set_clock(driver.core.next_deadline())

    def _set_clock(self, deadline: float | None) -> None:
        if self._timer is not None and self._timer.when() != deadline:
            self._timer.cancel()
            self._timer = None
        if deadline is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        driver = self._require_driver()
        driver.expire(asyncio.get_running_loop().time())
        self._after()
        if driver.core.status is Status.CLOSED and self._follower is not None:
            self._follower.cancel()  # it waits for an event that may never come; `_followed` leaves the group
