"""The blocking client: a shell that waits, over the pure `Channel`.

Nothing happens between calls, since there is no thread: a client takes what arrives, notices that the service died,
and joins its groups again only while one of its methods runs.  That is also why `Group.mcast` sends at once: nobody
would be there to send the rest of a half-full batch.  `Client.batch` and `Group.mcast_many` gather many messages into
one send, which is several times faster.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

from ...ipc import forks
from ...ipc.blocking import BlockingConnection, Lost
from ...ipc.channel import Arrived, Opened, Rejected
from ...ipc.deadline import Deadline
from ...ipc.errors import ConnectionLost, NotMember, TryAgain
from ...ipc.ids import Guarantee, Member, group_name
from ...ipc.messages.cpg import TO_CLIENT
from .batches import BytesLike, checked_guarantee
from .events import Event, RingChange
from .readiness import Readiness
from .subscription import Stage, Subscription
from .view import CONNECT_SECONDS, LEAVE_SECONDS, ROLE, SERVICE_NAME, ClientView, GroupView, socket_path

LOOK_EVERY = 256
"""A program that only sends takes what arrives after so many messages: credit, and the news that it is away."""


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

    def join(self, name: str | bytes, *, timeout: float | None = None) -> Group:
        """Enter the closed group *name*; return once this process is in its delivered membership.

        The group's first event is the `ConfigChange` with this member in `joined`.  While the ring is being formed,
        and while this node's processes restart, joining waits.

        Raises:
            TimeoutError: not within *timeout* seconds; the attempt is given up.
            AlreadyMember: this process is in the group already, through this client or another.
            GroupNameTooLong: *name* needs more than 128 bytes once encoded.
            InvalidArgument: *name* is empty.
        """
        self._check_process()
        group, deadline = group_name(name), Deadline(timeout)
        while self._channel.is_leaving(group):
            self._wait(deadline, f"the group {name!r} was not left before it could be joined again")
        subscription = self._channel.join(group)
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
        """Hang up.  Groups that were not left see this member go with reason PROCESS_DOWN."""
        if forks.generation() != self._process:
            return
        if self._connection.is_open:
            self._send()
        self._channel.close(ConnectionLost("the client was closed"))
        self._channel.lost()
        self._connection.close()
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

    # -- for Group

    def _receive(self, subscription: Subscription, timeout: float | None) -> Event:
        event = subscription.take()
        if event is None:
            self._check_process()
            deadline = Deadline(timeout)
            while (event := subscription.take()) is None:
                self._wait(deadline, f"nothing happened in the group {subscription.name!r}")
        if subscription.consumed_messages:
            self._channel.settle(subscription)
            if self._channel.outgoing:
                self._transmit()
        if self._readiness:
            self._update_readiness()
        return event

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
        if not self._channel.append(subscription, payload, guarantee):
            self._send()
            self._look()
            deadline = Deadline(timeout)
            while not self._channel.append(subscription, payload, guarantee):
                if not wait:
                    raise TryAgain(f"the group {subscription.name!r} takes nothing at the moment; nothing was sent")
                self._wait(deadline, f"the group {subscription.name!r} took nothing")
        if not self._batching:
            self._send()

    def _leave(self, subscription: Subscription, timeout: float | None) -> None:
        self._check_process()
        if subscription.stage is Stage.CLOSED:
            return
        deadline, member = Deadline(timeout), subscription.stage is Stage.JOINED
        self._channel.leave(subscription)
        self._transmit()
        while member and subscription.stage is Stage.LEAVING:
            self._wait(deadline, f"the group {subscription.name!r} was not left; it will be")

    def _fileno(self, subscription: Subscription) -> int:
        self._check_process()
        if subscription.stage is Stage.CLOSED and subscription not in self._readiness:
            raise NotMember(f"not a member of the group {subscription.name!r} any more")
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
        """Take what arrives before the deadline.  Once that has passed, look once more; then raise TimeoutError."""
        if deadline.passed:
            if deadline.looked:
                raise TimeoutError(f"{otherwise} within {deadline.timeout} s")
            deadline.looked = True
        self._send()
        self._pump(deadline.left)

    def _look(self) -> None:
        """Take what has arrived."""
        self._check_process()
        if self._connection.has_input():
            self._pump(0.0)

    def _pump(self, timeout: float | None) -> int:
        self._unlooked = 0
        happenings = self._connection.pump(timeout)
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
        self._transmit()
        return len(happenings)

    def _update_readiness(self) -> None:
        connection = self._connection
        unseen, descriptors = connection.has_input(), connection.descriptors()
        for subscription, readiness in self._readiness.items():
            readiness.update(connection.generation, descriptors, unseen or subscription.has_events)


class Group(GroupView):
    """Membership in a closed process group; made by `Client.join`."""

    def __init__(self, client: Client, subscription: Subscription) -> None:
        super().__init__(client._channel, subscription)
        self._client = client

    @property
    def members(self) -> tuple[Member, ...]:
        """The membership as last told, sorted; it may be ahead of the events that were read.  Empty once left."""
        self._client._look()
        return self._subscription.members

    def mcast(
        self,
        payload: BytesLike,
        guarantee: Guarantee = Guarantee.AGREED,
        *,
        wait: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Send a message of at most 1 MiB to all members, this one included, in one total order.

        It is on its way when this returns, and delivered when it comes back as an event.  Without credit, and while
        this node is away, it blocks; or raises, with `wait=False`.

        Raises:
            TryAgain: `wait=False`, and it would have blocked.  Nothing was sent.
            TimeoutError: it was not taken within *timeout* seconds.  Nothing was sent.
            MessageTooLarge: more than 1 MiB.
            NotMember: the group was left.
            Expelled: this member did not read for too long, and is out.
        """
        if guarantee.__class__ is not Guarantee:
            guarantee = checked_guarantee(guarantee)
        self._client._mcast(self._subscription, payload, guarantee, wait, timeout)

    def mcast_many(self, payloads: Iterable[BytesLike], guarantee: Guarantee = Guarantee.AGREED) -> int:
        """Send messages in large batches, in this order; returns how many.  Blocks and raises as `mcast` does."""
        client, subscription, count = self._client, self._subscription, 0
        guarantee, append = checked_guarantee(guarantee), client._channel.append
        with client.batch():
            for payload in payloads:
                if not append(subscription, payload, guarantee):
                    client._mcast(subscription, payload, guarantee, True, None)
                if client._channel.outgoing:
                    client._transmit()
                    client._pump(0.0)
                count += 1
        return count

    def receive(self, timeout: float | None = None) -> Event:
        """The next event: a `Message`, `ConfigChange`, `RingChange` or `Rejoined`.

        Raises:
            TimeoutError: nothing came within *timeout* seconds (0: nothing is there).
            NotMember: the group was left, and everything has been read.
            Expelled: this member did not read for too long, and everything that it still got has been read.
            ConnectionLost: the client was closed.
        """
        return self._client._receive(self._subscription, timeout)

    def fileno(self) -> int:
        """A descriptor that is readable when `receive(timeout=0)` may have something, for select and event loops.

        Read until `receive(timeout=0)` raises TimeoutError.  A wake-up may turn out to be for another group, or for
        the connection itself.
        """
        return self._client._fileno(self._subscription)

    def leave(self, timeout: float | None = None) -> None:
        """Leave; returns when the others have seen it.  The last event, still to be read, is the own leave.

        Raises:
            TimeoutError: not within *timeout* seconds; it will happen all the same.
        """
        self._client._leave(self._subscription, timeout)

    def __iter__(self) -> Iterator[Event]:
        """All events, until the group is left."""
        while True:
            try:
                yield self._client._receive(self._subscription, None)
            except NotMember:
                return

    def __enter__(self) -> Group:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(TimeoutError, ConnectionLost):
            self.leave(timeout=LEAVE_SECONDS)
