"""The blocking client: a shell that waits, over the pure `Tracker`.

Nothing happens between calls, since there is no thread; `status` and `quorate` look at what has arrived first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import msgspec

from ...ipc.blocking import BlockingConnection, Lost
from ...ipc.channel import Arrived, Opened
from ...ipc.deadline import Deadline
from ...ipc.errors import ConnectionLost
from ...ipc.messages.quorum import TO_CLIENT, CancelWait, Count, Expect, Grant
from ..cpg.readiness import Readiness
from .view import ANSWER_SECONDS, CONNECT_SECONDS, ROLE, SERVICE_NAME, ClientView, socket_path


class Client(ClientView):
    """A connection to the quorum service of this node.

    ```
    with totemd.quorum.Client() as client:
        if client.quorate:
            ...
        for status in client:      # every change
            print(status.quorate, status.members)
    ```
    For one thread at a time.  In a forked child it raises; make a new one there.
    """

    def __init__(
        self, run_dir: str | os.PathLike[str] | None = None, *, timeout: float | None = CONNECT_SECONDS
    ) -> None:
        """Connect to the node whose run directory this is (default: see `COROSYNC_RUN_DIR` in the manual).

        Raises:
            ConnectionLost: no node runs there, or it does not answer within *timeout* seconds.
            NotFound: it runs without a quorum provider.
            AccessDenied: this user may not; see `uidgid` in the configuration reference.
        """
        super().__init__()
        path, deadline = socket_path(run_dir), Deadline(timeout)
        self._readiness: Readiness | None = None
        self._connection: BlockingConnection[Any] = BlockingConnection(path, ROLE, TO_CLIENT, service=SERVICE_NAME)
        self._connection.open(timeout)
        self._tracker.welcomed()
        while not self._tracker.introduced:
            if deadline.passed:
                self._connection.close()
                raise ConnectionLost(f"{SERVICE_NAME} at {path} did not tell how it stands within {timeout} s")
            self._pump(deadline.left)

    @property
    def status(self) -> Count:
        """How it stands."""
        self._pump(0.0)
        return self._known()

    @property
    def quorate(self) -> bool:
        """Whether this node is quorate now; not while the service is away."""
        return self.status.quorate

    def receive(self, timeout: float | None = None) -> Count:
        """The next change: how it stands after it.

        Raises:
            TimeoutError: nothing changed within *timeout* seconds; 0 looks only.
        """
        deadline = Deadline(timeout)
        self._pump(0.0)
        while (status := self._tracker.take()) is None:
            if deadline.passed:
                raise TimeoutError(f"the votes did not change within {timeout} s")
            self._pump(deadline.left)
        self._update_readiness()
        return status

    def fileno(self) -> int:
        """A descriptor for select, poll and event loops: readable when `receive(timeout=0)` may return a change.

        It stays the same.  It may also be readable when there is none: then `receive` raises TimeoutError.
        """
        if self._readiness is None:
            self._readiness = Readiness()
        self._update_readiness()
        return self._readiness.fileno()

    def __iter__(self) -> Iterator[Count]:
        while True:
            yield self.receive()

    def wait_until_quorate(self, timeout: float | None = None) -> Count:
        """Return as soon as this node is quorate; changes stay to be received.

        Raises:
            TimeoutError: it is not within *timeout* seconds.
        """
        deadline = Deadline(timeout)
        self._pump(0.0)
        while not self._tracker.quorate:
            if deadline.passed:
                raise TimeoutError(f"this node was not quorate within {timeout} s")
            self._pump(deadline.left)
        return self._known()

    def set_expected_votes(self, votes: int, *, timeout: float | None = ANSWER_SECONDS) -> None:
        """Tell the cluster how many votes there are in all; it has taken effect on this node when this returns.

        Raises:
            InvalidArgument: fewer than are present, or so many that quorum would be lost.
            AccessDenied: only root and the node's owner may.
            TryAgain: the node has no ring, or lost it meanwhile.
            TimeoutError: no answer within *timeout* seconds.
        """
        self._request(Expect(votes), timeout)

    def set_votes(self, votes: int, node_id: int | None = None, *, timeout: float | None = ANSWER_SECONDS) -> None:
        """Give a node (default: this one) so many votes, until it is started again.

        Raises as `set_expected_votes`, and NotFound: no such node is present.
        """
        self._request(Grant(self._known().node_id if node_id is None else node_id, votes), timeout)

    def cancel_wait_for_all(self, *, timeout: float | None = ANSWER_SECONDS) -> None:
        """Do not wait for all nodes, on every node of the ring.  Raises as `set_expected_votes`."""
        self._request(CancelWait(), timeout)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
        self._tracker.lost()
        if self._readiness is not None:
            self._readiness.close()
            self._readiness = None

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _request(self, message: msgspec.Struct, timeout: float | None) -> None:
        self._pump(0.0)
        self._connection.request(message, timeout=timeout)
        self._pump(0.0)

    def _pump(self, timeout: float | None) -> None:
        self._transmit()
        for happening in self._connection.pump(timeout):
            match happening:
                case Arrived(message, _):
                    self._tracker.arrived(message)
                case Opened():
                    self._tracker.welcomed()
                case Lost():
                    self._tracker.lost()
        self._transmit()

    def _transmit(self) -> None:
        if self._connection.is_open:
            for message in self._tracker.outgoing:
                self._connection.send(message)
            self._tracker.outgoing.clear()
        self._update_readiness()

    def _update_readiness(self) -> None:
        if self._readiness is not None:
            ready = self._tracker.has_events or self._connection.has_input()
            self._readiness.update(self._connection.generation, self._connection.descriptors(), ready)
