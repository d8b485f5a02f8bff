"""`Lock` and `Leader` for blocking programs.

There is no thread, so they follow their line while one of their methods runs; a program that waits for other things
watches `fileno` and calls `process`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from ...ipc.deadline import Deadline
from ...ipc.errors import TotemdError
from ..cpg.client import Client
from .client import Replica
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
        timeout: float | None = None,
        on_leader: OnLeader | None = None,
    ) -> None:
        self._posted: set[Entry | None] = set()
        """Entries about which something was said since this replica last became active."""
        super().__init__(fence_above, on_leader)
        deadline = Deadline(timeout)
        self.replica = Replica(client, group, self._turns, policy, on_status=self._became, timeout=timeout)
        try:
            self.replica.active(deadline.left)
        except BaseException:
            self.replica.close()
            raise

    def process(self, timeout: float | None = 0.0) -> int:
        """Take in what happens for *timeout* seconds, or what is there already; returns how many events.

        Raises as `Replica.process` does.
        """
        count = self.replica.process(timeout)
        self._tidy()
        return count

    def fileno(self) -> int:
        """Readable when `process` may have something to do; call that at least once a second all the same."""
        return self.replica.fileno()

    def close(self) -> None:
        """Leave the group, and the line with it."""
        self.replica.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- inside

    def _became(self, status: Status) -> None:
        if status is not Status.ACTIVE:
            self._posted.clear()  # It may be lost; said again, it does no harm.
        super()._became(status)

    def _look(self) -> None:
        """Take in what is there; what ended the replica is told by who waits for something."""
        if not self.replica.is_applying:
            with contextlib.suppress(TotemdError):
                self.process()

    def _tidy(self) -> None:
        """Give up the places of this process that it does not want."""
        if not self._may_work():
            return
        self._posted &= {*self._turns.line, self._wanted()}
        for entry in strays(self._turns, self.replica.address, self._wanted()):
            if entry not in self._posted:
                self._posted.add(entry)
                self.replica.post(encode(Yield(entry)))

    def _wait_for_turn(self, entry: Entry, timeout: float | None) -> int:
        """Stand in line until it is this entry's turn, for certain; returns the fence."""
        deadline = Deadline(timeout)
        while True:
            with contextlib.suppress(OutcomeUnknown):  # Asking twice is asking once.
                match self._next_step(entry):
                    case Step.VERIFY:
                        self.replica.barrier(deadline.left)
                        if self._has_turn(entry):
                            return self.fence
                    case Step.ASK:
                        self.replica.submit(encode(Ask(entry, self._seen)), deadline.left)
                    case Step.WAIT:
                        # Not for any change: in a busy line there always is one.
                        self.replica.wait(
                            lambda: self._next_step(entry) is not Step.WAIT,
                            deadline.left,
                            "it was not this process's turn",
                        )

    def _next_step(self, entry: Entry) -> Step:
        return next_step(self._turns, entry, self._may_work())


class Lock(_Line, LockView):
    """A lock for all processes of the cluster; fair: first come, first served.

    ```
    with totemd.Client() as client, totemd.replica.Lock(client, "backup", Majority(3)) as lock:
        with lock.held() as fence:
            ...
    ```
    As the asyncio one; but what happens to it is learnt only while one of its methods runs.
    """

    def __init__(
        self,
        client: Client,
        group: str | bytes,
        policy: Policy,
        *,
        fence_above: int = 0,
        timeout: float | None = None,
    ) -> None:
        """Join, and wait until this process may take part; raises TimeoutError if not within *timeout* seconds.

        *fence_above*: the highest fence that the protected thing has seen, if it remembers; those to come are higher,
        even if everybody who had the lock's state is gone.
        """
        super().__init__(client, group, policy, fence_above=fence_above, timeout=timeout)

    def acquire(self, timeout: float | None = None) -> int:
        """Wait until this process holds it; returns the fence.

        Raises:
            TimeoutError: not within *timeout* seconds; it does not wait any longer.
            RuntimeError: this object holds it already.
            And as `Replica.submit`.
        """
        entry = self._want()
        try:
            return self._wait_for_turn(entry, timeout)
        except BaseException:
            self._withdraw(self._want_no_more())
            raise

    def try_acquire(self, timeout: float | None = None) -> int | None:
        """Hold it if nobody else does; returns the fence, or None: somebody does, or nothing is certain.

        Waits while this replica may not work, and raises, as `acquire` does.
        """
        entry, deadline, held = self._want(), Deadline(timeout), False
        try:
            with contextlib.suppress(OutcomeUnknown):
                self.replica.submit(encode(Ask(entry, self._seen)), deadline.left)
                if self._has_turn(entry):
                    self.replica.barrier(deadline.left)
                    held = self._has_turn(entry)
        finally:
            if not held:
                self._withdraw(self._want_no_more())
        return self.fence if held else None

    def release(self, timeout: float | None = None) -> None:
        """Give it to the next; done once that is certain.

        Raises:
            TimeoutError: it was not certain within *timeout* seconds; it will be released all the same.
            RuntimeError: it was not acquired.
        """
        entry, deadline = self._want_no_more(), Deadline(timeout)
        try:
            while True:
                with contextlib.suppress(OutcomeUnknown):
                    self.replica.submit(encode(Yield(entry)), deadline.left)
                    return
        except TimeoutError:
            self._withdraw(entry)
            raise

    @contextlib.contextmanager
    def held(self, timeout: float | None = None) -> Iterator[int]:
        """`with lock.held() as fence`: acquire within *timeout* seconds, and release at the end.

        That it is released is waited for as long again at most; it will be, in any case.
        """
        fence = self.acquire(timeout)
        try:
            yield fence
        finally:
            with contextlib.suppress(TimeoutError):
                self.release(timeout)

    def _withdraw(self, entry: Entry) -> None:
        """Leave the line without waiting for it; if the replica has ended, it has left already."""
        if self._may_work():
            self._posted.add(entry)
            self.replica.post(encode(Yield(entry)))


class Leader(_Line, LeaderView):
    """The leader of a group: the member that has been there for longest.

    ```
    with totemd.Client() as client, totemd.replica.Leader(client, "scheduler", Majority(3)) as leader:
        term = leader.elected()
        while leader.is_leader:
            ...
    ```
    As the asyncio one; but what happens to it is learnt only while one of its methods runs.
    """

    def __init__(
        self,
        client: Client,
        group: str | bytes,
        policy: Policy,
        *,
        on_change: OnLeader | None = None,
        fence_above: int = 0,
        timeout: float | None = None,
    ) -> None:
        """Join, wait until this process may take part, and stand.

        *on_change* is called with the leader, or None while that is unknown, and the fence; all else as `Lock`.
        """
        super().__init__(client, group, policy, fence_above=fence_above, timeout=timeout, on_leader=on_change)
        self._tidy()

    def elected(self, timeout: float | None = None) -> int:
        """Wait until this process leads; returns the fence.

        Raises:
            TimeoutError: not within *timeout* seconds; it is still in the line.
            And as `Replica.submit`.
        """
        return self._wait_for_turn(self._wanted(), timeout)

    def _tidy(self) -> None:
        """Be in the line, again after each time that this member was away."""
        entry = self._wanted()
        if entry not in self._posted and self._next_step(entry) is Step.ASK:
            self._posted.add(entry)
            self.replica.post(encode(Ask(entry, self._seen)))
        super()._tidy()
