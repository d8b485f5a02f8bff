"""The blocking client: a shell that waits, over the pure `Channel`.

Nothing happens between calls, since there is no thread: a client takes what arrives, notices that the service died,
and joins its groups again only while one of its methods runs.  That is also why `Group.mcast` sends at once: nobody
would be there to send the rest of a half-full batch.  `Client.batch` and `Group.mcast_many` gather many messages into
one send, which is several times faster.
"""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from ...ipc import forks
from ...ipc.blocking import BlockingConnection, Lost
from ...ipc.channel import Arrived, Opened, Rejected
from ...ipc.deadline import Deadline
from ...ipc.errors import ConnectionLost, TryAgain
from ...ipc.ids import Guarantee, Member, group_name, group_text
from ...ipc.messages.cpg import TO_CLIENT
from .batches import BytesLike
from .events import Event, RingChange
from .group import Group
from .readiness import Readiness
from .subscription import Stage, Subscription
from .view import CONNECT_SECONDS, ROLE, SERVICE_NAME, ClientView, socket_path

LOOK_EVERY = 256
"""A program that only sends takes what arrives after so many messages: credit, and the news that it is away."""

ENOUGH_BYTES = 1024 * 1024
"""A program that reads event by event takes so much of what has arrived at a time.  The rest stays with libzmq, so that
a long backlog is not in memory twice."""

LOOKS_MAX = 2
"""Looks at what has arrived when the time is over: at some of it, which is enough for most, and at all of it."""


class Client(ClientView):
    """A connection to the groups of this node's cluster.

    ```
    with totemd.Client() as client, client.join("chat") as group:
        group.mcast(b"hello")
        for event in group:
            ...
    ```
    For one thread at a time.  In a forked child it raises; make a new one there.
    """

    def __init__(
        self, run_dir: str | os.PathLike[str] | None = None, *, timeout: float | None = CONNECT_SECONDS
    ) -> None:
        """Connect to the node whose run directory this is (default: see `COROSYNC_RUN_DIR` in the manual).

        Raises:
            ConnectionLost: no node runs there, or it does not answer within *timeout* seconds.
            AccessDenied: this user may not; see `uidgid` in the configuration reference.
            ProtocolError: the service speaks another major version of the protocol.
            TryAgain: the service has 4,096 connections, which is its limit.
        """
        super().__init__()
        path = socket_path(run_dir)
        self._connection: BlockingConnection[Any] = BlockingConnection(path, ROLE, TO_CLIENT, service=SERVICE_NAME)
        self._batching = 0
        self._unlooked = 0
        """Messages sent one by one since what arrived was last looked at."""
        self._readiness: dict[Subscription, Readiness] = {}
        deadline = Deadline(timeout)
        self._channel.welcomed(self._connection.open(timeout))
        while not self._channel.introduced:
            if deadline.passed:
                self._connection.close()
                raise ConnectionLost(f"{SERVICE_NAME} at {path} did not introduce itself within {timeout} s")
            self._pump(deadline.left)

    @property
    def ring(self) -> RingChange | None:
        """The ring as last told; None while this node has none."""
        self._look()
        return self._channel.ring

    def join(self, name: str | bytes, *, initial_ring: bool = False, timeout: float | None = None) -> Group:
        """Enter the closed group *name*; return once this process is in its delivered membership.

        The group's first event is the `ConfigChange` with this member in `joined`; with *initial_ring* the second is
        the `RingChange` that tells the present ring.  While the ring is being formed, and while this node's processes
        restart, joining waits.

        Raises:
            TimeoutError: not within *timeout* seconds; the attempt is given up.
            AlreadyMember: this process is in the group already, through this client or another.
            GroupNameTooLong: *name* needs more than 128 bytes once encoded.
            InvalidArgument: *name* is empty, neither `str` nor `bytes`, or cannot be written as UTF-8.
            AccessDenied: *name* begins with `totemd:`, and this is neither root nor the user as whom the node runs.
            OperationFailed: this node has 8,192 memberships, which is its limit; or the client is used after fork().
            ConnectionLost: the client was closed.
        """
        self._check_process()
        group, deadline = group_name(name), Deadline(timeout)
        while self._channel.is_leaving(group):
            self._wait(deadline, f"the group {name!r} was not left before it could be joined again")
        subscription = self._channel.join(group, initial_ring)
        try:
            while subscription.stage is Stage.JOINING:
                self._wait(deadline, f"the group {name!r} was not joined; is the ring forming? (`totemctl status`)")
        except BaseException:
            self._channel.leave(subscription)
            self._transmit()
            raise
        if subscription.stage is Stage.CLOSED:
            raise subscription.error
        return Group(self, subscription)

    def groups(self, *, timeout: float | None = None) -> dict[str, tuple[Member, ...]]:
        """All groups of the cluster and their members, as this node knows them; both sorted.

        Waits while the node is away or has no ring; raises TimeoutError if that takes longer than *timeout* seconds,
        ConnectionLost if the client was closed.
        """
        answer = self._inquire(None, Deadline(timeout))
        return {group_text(name): members for name, members in answer.items()}

    def membership(self, name: str | bytes, *, timeout: float | None = None) -> tuple[Member, ...]:
        """The members of any group, sorted; this process need not be one.  Empty for a group that has none.

        Waits and raises as `groups` does; GroupNameTooLong and InvalidArgument as `join` does.
        """
        group = group_name(name)
        return self._inquire(group, Deadline(timeout)).get(group, ())

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Within this block messages are gathered and sent in large batches.

        What is left goes out at the end of the block, and before anything that waits (`receive`, `join`, `leave`).
        """
        self._batching += 1
        try:
            yield
        finally:
            self._batching -= 1
            if not self._batching:
                self._send()

    def close(self) -> None:
        """Hang up, when the service has taken what was sent, or after two seconds in which it has not.

        Groups that were not left see this member go with reason PROCESS_DOWN, after its messages.
        """
        if forks.generation() != self._process:
            return
        if self._connection.is_open:
            self._send()
        self._channel.close(ConnectionLost("the client was closed"))
        self._channel.lost()
        self._connection.finish()
        for readiness in self._readiness.values():
            readiness.close()
        self._readiness.clear()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        connection = getattr(self, "_connection", None)
        if connection is not None and connection.is_open:
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def _inquire(self, group: bytes | None, deadline: Deadline) -> dict[bytes, tuple[Member, ...]]:
        self._check_process()
        inquiry = self._channel.inquire(group)
        try:
            while inquiry.answer is None:
                self._wait(deadline, "this node did not tell the groups; is the ring forming? (`totemctl status`)")
        finally:
            self._channel.forget(inquiry)
        return inquiry.answer

    # -- for Group

    def _receive(self, subscription: Subscription, timeout: float | None) -> Event:
        event = subscription.take()
        if event is None:
            self._check_process()
            deadline = Deadline(timeout)
            while (event := subscription.take()) is None:
                self._wait(deadline, f"nothing happened in the group {subscription.name!r}")
        self._settle(subscription)
        return event

    def _settle(self, subscription: Subscription) -> None:
        if subscription.consumed_messages:
            self._channel.settle(subscription)
            if self._channel.outgoing:
                self._transmit()
        if self._readiness:
            self._update_readiness()

    def _mcast(
        self, subscription: Subscription, payload: BytesLike, guarantee: Guarantee, wait: bool, timeout: float | None
    ) -> None:
        if not self._batching and (frames := self._channel.alone(subscription, payload, guarantee)) is not None:
            self._connection.send_encoded(frames)
            if self._readiness:
                self._update_readiness()
            self._unlooked += 1
            if self._unlooked >= LOOK_EVERY:
                self._pump(0.0)
            return
        self._append(subscription, lambda: self._channel.append(subscription, payload, guarantee), wait, timeout)

    def _append(
        self, subscription: Subscription, append: Callable[[], bool], wait: bool, timeout: float | None
    ) -> None:
        if not append():
            self._send()
            self._look()
            deadline = Deadline(timeout)
            while not append():
                if not wait:
                    raise TryAgain(f"the group {subscription.name!r} takes nothing at the moment; nothing was sent")
                self._wait(deadline, f"the group {subscription.name!r} took nothing")
        if not self._batching:
            self._send()

    def _leave(self, subscription: Subscription, timeout: float | None) -> None:
        self._check_process()
        if subscription.stage in (Stage.LEAVING, Stage.CLOSED):
            return
        deadline, member = Deadline(timeout), subscription.stage is Stage.JOINED
        self._channel.leave(subscription)
        self._transmit()
        while member and self._channel.is_leaving(subscription.group):
            self._wait(deadline, f"the group {subscription.name!r} was not left; it will be")
        if subscription.gap:
            raise subscription.error

    def _fileno(self, subscription: Subscription) -> int:
        self._check_process()
        if subscription.stage is Stage.CLOSED and subscription not in self._readiness:
            raise subscription.error
        if subscription not in self._readiness:
            self._readiness[subscription] = Readiness()
            self._update_readiness()
        return self._readiness[subscription].fileno()

    # -- the connection

    def _send(self) -> None:
        """Send the open batch, and everything else that waits."""
        self._channel.flush()
        self._transmit()

    def _transmit(self) -> None:
        outgoing = self._channel.outgoing
        if outgoing and self._connection.is_open:
            for frames in outgoing:
                self._connection.send_encoded(frames)
            outgoing.clear()
        if self._readiness:
            self._update_readiness()

    def _wait(self, deadline: Deadline, otherwise: str) -> None:
        """Take some of what arrives before the deadline.  Once that has passed, look at some more, and then at all that
        is there; then raise TimeoutError.
        """
        if deadline.passed:
            if deadline.looks == LOOKS_MAX:
                raise TimeoutError(f"{otherwise} within {deadline.timeout} s")
            deadline.looks += 1
        self._send()
        self._pump(deadline.left, math.inf if deadline.looks == LOOKS_MAX else ENOUGH_BYTES)

    def _look(self) -> None:
        """Take what has arrived."""
        self._check_process()
        if self._connection.has_input():
            self._pump(0.0)

    def _pump(self, timeout: float | None, enough: float = math.inf) -> int:
        self._unlooked = 0
        if self._connection.in_hand:
            self._connection.start_over()
        happenings = self._connection.pump(timeout, enough)
        for happening in happenings:
            match happening:
                case Arrived(message, payload):
                    self._channel.arrived(message, payload)
                case Opened(welcome):
                    self._channel.welcomed(welcome)
                case Lost():
                    self._channel.lost()
                case Rejected(error):
                    if not self._connection.is_open:
                        self._channel.rejected(error)
        self._channel.touched.clear()
        self._connection.in_hand = False
        self._transmit()
        return len(happenings)

    def _update_readiness(self) -> None:
        connection = self._connection
        unseen, descriptors = connection.has_input(), connection.descriptors()
        for subscription, readiness in self._readiness.items():
            readiness.update(connection.generation, descriptors, unseen or subscription.has_events)
