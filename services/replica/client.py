"""The blocking replica: a shell over `Driver` that follows its group while one of its methods runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from ...ipc.deadline import Deadline
from ...ipc.errors import ConnectionLost, Expelled, NotMember, TotemdError, TryAgain
from ..cpg.batches import BytesLike
from ..cpg.client import Client
from ..cpg.group import Group
from .driver import Driver, OnMembers, Outcome
from .effects import Status
from .machine import StateMachine
from .pending import PROPOSALS_MAX
from .policy import Policy
from .view import ReplicaView

RETRY_SECONDS = 0.05
"""How soon it is tried again to send, where there was no credit."""

EVENTS_BEFORE_THE_CLOCK = 256
"""Events that are taken in although the clock has struck: they may say why nothing need be done.  With no limit a busy
group would stop the clock."""

MOMENT_SECONDS = 0.5
"""How long a method that shall not wait goes on taking in what is there, if that does not end."""


class Replica(ReplicaView):
    """A state machine that is kept the same on all members of a group.

    ```
    with totemd.Client() as client, totemd.replica.Replica(client, "counter", Counter()) as replica:
        total = replica.submit(b"+1")
        while True:
            replica.process(timeout=1.0)
    ```
    There is no thread: it follows its group only while one of its methods runs.  A program that waits for other things
    watches `fileno` and calls `process`; one that does not for long holds up those who need an answer from it, and is
    expelled in the end.
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
        timeout: float | None = None,
    ) -> None:
        """Join the group; `active` waits until the state is here.  *policy* is `Available()` if none is given.

        *on_status* is called with each change of the status, *on_members* with each of the group.

        Raises:
            AlreadyMember, TimeoutError: as `Client.join`.
            InvalidArgument: *machine* is no state machine, or something is `async def`; nothing was joined.
        """
        super().__init__(machine, on_status, on_members)
        self._group: Group = client.join(group, timeout=timeout)
        self._place = self._group
        self._client = client
        self._driver: Driver = Driver(
            self._checked, self._group.address, policy, on_status=on_status, on_members=on_members
        )
        self._outcomes: dict[int, Outcome] = {}
        self._awaited: set[int] = set()
        self._overdue = 0
        """Events taken in since the clock struck."""
        self.is_applying = False
        """The state machine, or somebody whom it tells, is at work: the replica cannot be used from there."""

    def process(self, timeout: float | None = 0.0) -> int:
        """Take in what happens in the group for *timeout* seconds; returns how many events.

        With 0 it is what is there already, for `MOMENT_SECONDS` at most.  When the time is over, the event that is just
        being taken in is the last one.

        Raises:
            IncompatibleState, TransferFailed, Expelled, or whatever else ended the replica, the state machine's
            exceptions included.
        """
        return sum(self._follow(Deadline(timeout)))

    def active(self, timeout: float | None = None) -> None:
        """Wait until this replica has the state and may work.

        Raises:
            TimeoutError: not within *timeout* seconds; the text says where it stands, and what is in its way.
            And as `process`.
        """
        self._until(lambda: self.status is Status.ACTIVE, Deadline(timeout), "the replica did not become active")

    def submit(self, command: BytesLike, timeout: float | None = None) -> Any:
        """Have all replicas apply the command; returns what `apply` returned here, where the command stands.

        Raises:
            Rejected: `apply` did.
            OutcomeUnknown: this member lost its place meanwhile; the command was applied once or never.
            TimeoutError: no answer within *timeout* seconds; the command may still be applied.
            MessageTooLarge: above `COMMAND_BYTES_MAX`; nothing was sent.
            InvalidArgument: not bytes-like; nothing was sent.
            NotMember, or whatever ended the replica: it is closed.
        """
        return self._ordered(lambda now: self._driver.propose(command, now), timeout)

    def barrier(self, timeout: float | None = None) -> None:
        """Wait until everything that was acknowledged to anybody before the call has been applied here."""
        self._ordered(self._driver.barrier, timeout)

    def post(self, command: BytesLike) -> None:
        """Have all replicas apply the command, without waiting; nobody is told what became of it.

        While this replica may not work the command waits, as that of `submit` does.

        Raises:
            TryAgain: so many wait already that no more are taken (`PROPOSALS_MAX`).
            MessageTooLarge, NotMember, or whatever ended the replica: as `submit`.
        """
        self._require_outside()
        if self._driver.core.pending.count >= PROPOSALS_MAX:
            raise TryAgain(f"{PROPOSALS_MAX} commands of this replica are on their way; take in what happens first")
        self._driver.propose(command, time.monotonic())
        self._send()

    def wait(
        self, condition: Callable[[], bool], timeout: float | None = None, what: str = "it did not happen"
    ) -> None:
        """Follow the group until the condition holds.

        Raises:
            TimeoutError: *what*, within *timeout* seconds.
            And as `process`.
        """
        self._until(condition, Deadline(timeout), what)

    def begin(self) -> None:
        """Work with those who are here and what they have: for an operator who knows that the others are gone.

        With `Majority` that is still only possible on more than half of the nodes.
        """
        self._require_outside()
        self._driver.begin()
        self._send()

    def fileno(self) -> int:
        """Readable when `process` may have something to do; call that at least once a second all the same."""
        return self._group.fileno()

    def close(self) -> None:
        """Leave the group.

        Raises:
            RuntimeError: called from what the replica calls; it goes on.
        """
        self._require_outside()
        self._end(None)

    def __enter__(self) -> Replica:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- inside

    def _ordered(self, propose: Callable[[float], int], timeout: float | None) -> Any:
        self._require_outside()
        ticket = propose(time.monotonic())
        self._awaited.add(ticket)
        try:
            self._send()
            self._until(lambda: ticket in self._outcomes, Deadline(timeout), "the command was not answered")
            return self._outcomes.pop(ticket).get()
        finally:
            self._awaited.discard(ticket)
            self._driver.core.pending.forget(ticket)

    def _until(self, condition: Callable[[], bool], deadline: Deadline, otherwise: str) -> None:
        self._collect()
        if condition():
            return
        for _ in self._follow(deadline):
            if condition():
                return
        raise self._late(otherwise, deadline.timeout)

    def _follow(self, deadline: Deadline) -> Iterator[bool]:
        """Step by step until the time is over; each says whether there was an event.

        If it is over at once, these are the steps for what is there, but not for ever: more may come meanwhile than is
        taken in.
        """
        moment = Deadline(MOMENT_SECONDS)
        while deadline.passed and not moment.passed:
            came = self._step(0.0)
            yield came
            if not came:
                return
        while not deadline.passed:
            yield self._step(deadline.left)

    def _require_outside(self) -> None:
        """Before anything is sent: what is refused has no effect."""
        if self.is_applying:
            raise RuntimeError("a replica cannot be used by what it calls: do that once the method has returned")

    def _step(self, timeout: float | None) -> bool:
        """Take in one event; returns whether there was one within *timeout* seconds, or until the clock struck."""
        self._require_outside()
        self._send()
        self._driver.require_open()
        clock = self._clock()
        self._overdue = self._overdue + 1 if clock == 0.0 else 0
        if self._overdue > EVENTS_BEFORE_THE_CLOCK:
            self._tick()
        waits = [timeout, *([RETRY_SECONDS] if self._driver.outgoing else []), clock]
        try:
            event = self._group.receive(timeout=min((each for each in waits if each is not None), default=None))
        except TimeoutError:
            self._tick()
            return False
        except TotemdError as ended:
            self._end(ended)
            raise
        self._guarded(lambda: self._driver.event(event, time.monotonic()))
        self._send()
        return True

    def _tick(self) -> None:
        self._overdue, now = 0, time.monotonic()
        self._guarded(lambda: self._driver.expire(now))
        self._send()

    def _guarded(self, act: Callable[[], None]) -> None:
        """What the state machine raises ends the replica, and is raised."""
        self.is_applying = True
        try:
            act()
        except BaseException as error:
            self._end(error if isinstance(error, Exception) else None)
            raise
        finally:
            self.is_applying = False
            self._collect()
        if self._driver.core.status is Status.CLOSED:
            with contextlib.suppress(TimeoutError, TotemdError):
                self._group.leave(timeout=0.0)

    def _end(self, error: Exception | None) -> None:
        """The callbacks that are told of it cannot use the replica either."""
        self.is_applying = True
        try:
            self._driver.close(error)
        finally:
            self.is_applying = False
            with contextlib.suppress(TimeoutError, TotemdError):
                self._group.__exit__(None, None, None)

    def _clock(self) -> float | None:
        deadline = self._driver.core.next_deadline()
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    def _collect(self) -> None:
        self._outcomes.update(each for each in self._driver.take_outcomes() if each[0] in self._awaited)

    def _send(self) -> None:
        outgoing = self._driver.outgoing
        # That the membership has ended is told by `receive`, after what came before its end.
        with contextlib.suppress(TryAgain, NotMember, Expelled, ConnectionLost), self._client.batch():
            while outgoing:
                self._group.mcast(outgoing[0].payload, outgoing[0].guarantee, wait=False)
                outgoing.popleft()
        self._collect()
