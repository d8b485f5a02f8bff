"""The blocking client of an application that sam-run keeps.

Nothing happens between calls, since there is no thread: a thread that says *I am well* shows that the thread is, not
the program.  A program without a loop of its own calls `health_check` where it makes progress, or `dispatch`.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from ..ipc.blocking import BlockingConnection, Lost
from ..ipc.channel import Arrived, Opened
from ..ipc.deadline import Deadline
from ..ipc.errors import ConnectionLost, TotemdError
from ..ipc.messages.sam_app import (
    ROLE,
    TO_APP,
    AskMe,
    Beat,
    Check,
    Enrolled,
    MarkFailed,
    Restore,
    StartWatch,
    StopWatch,
    Store,
    Stored,
)
from ..services.cpg.readiness import Readiness
from .conduct import ANSWER_SECONDS, CONNECT_SECONDS, SERVICE_NAME, Conduct, Healthy, Said, address, storable


class Application:
    """This process, as it speaks to the sam-run that keeps it.

    ```
    app = sam.Application()
    app.start()
    while work():
        app.health_check()
    app.stop()
    ```
    For one thread at a time.  In a forked child it raises; only the process that has registered is spoken for.
    """

    def __init__(
        self,
        *,
        interval: float | None = None,
        policy: str | None = None,
        timeout: float | None = CONNECT_SECONDS,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Register (corosync: sam_initialize and sam_register).  None: as sam-run was told.

        *interval* is how many seconds may pass without a sign of life; 0: only its end is a failure.  *policy* is
        `restart` or `quit`, then any of `+quorum` and `+cmap`.

        Raises:
            NotFound: this program does not run under sam-run; the text names the command.
            InvalidArgument: that is no interval, or no policy.
            ConnectionLost: sam-run does not answer within *timeout* seconds.
            WrongState: another process has registered for this instance.
        """
        self._conduct = Conduct()
        enrol = self._conduct.enrol(interval, policy)
        environ = os.environ if variables is None else variables
        path = Path(address(environ, shlex.join(sys.orig_argv)))
        self._readiness: Readiness | None = None
        self._checks: list[Check] = []
        self._connection: BlockingConnection[Any] = BlockingConnection(path, ROLE, TO_APP, service=SERVICE_NAME)
        self._connection.open(timeout)
        try:
            reply = self._connection.request(enrol, timeout=timeout)
        except BaseException:
            self._connection.close()
            raise
        assert isinstance(reply, Enrolled)
        self._conduct.said, self._conduct.instance = Said.REGISTERED, reply.instance

    @property
    def instance(self) -> int:
        """1 for the first instance, one more after each restart."""
        return self._conduct.instance

    def start(self, timeout: float | None = None) -> None:
        """Be watched from now on; under a quorum policy, return when the node is quorate (sam_start).

        Raises:
            WrongState: it has been started already.
            TimeoutError: the node was not quorate within *timeout* seconds; it is not watched then.
            InvalidArgument: nobody counts votes on this node.
            ConnectionLost: its sam-run has died.
        """
        self._conduct.require(Said.REGISTERED)
        try:
            self._request(StartWatch(), timeout)
        except TimeoutError:
            with contextlib.suppress(TotemdError, TimeoutError):
                self._request(StopWatch(), ANSWER_SECONDS)
            raise
        self._conduct.said = Said.STARTED

    def stop(self) -> None:
        """Be watched no more: from now on, ending is this program's own will (sam_stop)."""
        self._conduct.require(Said.STARTED)
        self._request(StopWatch())
        self._conduct.said = Said.REGISTERED

    def health_check(self) -> bool:
        """Give a sign of life (sam_hc_send).  Returns whether a sam-run is there to hear it."""
        self._conduct.require(Said.STARTED)
        self._pump(0.0)
        return self._beat()

    def on_health_check(self, check: Healthy | None) -> None:
        """Have sam-run ask, four times in an interval (sam_hc_callback_register); call it before `start`.

        `dispatch` answers, and calls *check* before every fourth answer.  If that returns False, or raises, nothing is
        answered any more, so that this process is warned and then killed.  Later calls put another check in its place.
        """
        if self._conduct.watch_for(check):
            try:
                self._request(AskMe())
            except BaseException:
                self._conduct.check = None
                raise

    def dispatch(self, timeout: float | None = None) -> bool:
        """Wait at most *timeout* seconds until sam-run asks, and answer; returns whether it has asked."""
        self._conduct.require(Said.REGISTERED, Said.STARTED)
        deadline = Deadline(timeout)
        self._pump(0.0)
        while not self._checks:
            if deadline.passed:
                return False
            self._pump(deadline.left)
        while self._checks:
            self._answer(self._checks.pop(0))
        self._update_readiness()
        return True

    def fileno(self) -> int:
        """A descriptor for select and event loops: readable when `dispatch(timeout=0)` may have something to do."""
        if self._readiness is None:
            self._readiness = Readiness()
        self._update_readiness()
        return self._readiness.fileno()

    def store(self, data: bytes | bytearray | memoryview | None) -> None:
        """Leave *data* to later instances, instead of what was stored before; None or nothing: forget that.

        sam-run keeps it, at most `STORED_BYTES_MAX` bytes, until it ends itself (sam_data_store).
        """
        self._conduct.require(Said.REGISTERED, Said.STARTED)
        self._request(Store(storable(data)))

    def restore(self) -> bytes:
        """What was stored last, by this instance or an earlier one; no bytes if nothing was (sam_data_restore)."""
        self._conduct.require(Said.REGISTERED, Said.STARTED)
        reply = self._request(Restore())
        assert isinstance(reply, Stored)
        return reply.data

    def warn_signal(self, number: int) -> None:
        """The signal by which this application is warned, instead of SIGTERM (sam_warn_signal_set)."""
        self._request(self._conduct.warn_by(number))

    def mark_failed(self) -> None:
        """Be killed at once, and not started again; `failed` remains to be seen in cmap (sam_mark_failed).

        Raises:
            InvalidArgument: the policy lacks `+cmap`.
        """
        self._conduct.require(Said.REGISTERED, Said.STARTED)
        self._request(MarkFailed())

    def finalize(self) -> None:
        """Stop, if started, and hang up; nothing can be called after that (sam_finalize)."""
        self._conduct.require(Said.REGISTERED, Said.STARTED)
        if self._conduct.said is Said.STARTED:
            with contextlib.suppress(ConnectionLost, TimeoutError):
                self.stop()
        self._conduct.said = Said.FINALIZED
        self._connection.close()
        if self._readiness is not None:
            self._readiness.close()
            self._readiness = None

    def __enter__(self) -> Application:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and finalize; not after an exception, so that the end of the program is the failure that it is."""
        if kind is None and self._conduct.said is not Said.FINALIZED:
            self.finalize()

    # -- the connection

    def _request(self, message: msgspec.Struct, timeout: float | None = ANSWER_SECONDS) -> Any:
        self._pump(0.0)
        reply = self._connection.request(message, timeout=timeout)
        self._update_readiness()
        return reply

    def _answer(self, check: Check) -> None:
        conduct = self._conduct
        if not conduct.is_well:
            return
        if check.full and conduct.check is not None:
            conduct.is_well = False
            conduct.is_well = conduct.check() is not False
        if conduct.is_well:
            self._beat()

    def _beat(self) -> bool:
        with contextlib.suppress(ConnectionLost):
            self._connection.send(Beat())
            return True
        return False

    def _pump(self, timeout: float | None) -> None:
        for happening in self._connection.pump(timeout):
            match happening:
                case Arrived(Check() as check, _):
                    self._checks.append(check)
                case Opened():
                    self._tell_once_more()
                case Lost():
                    self._checks.clear()
        self._update_readiness()

    def _tell_once_more(self) -> None:
        """Another keeper has taken over where this one's had died."""
        with contextlib.suppress(TotemdError, TimeoutError):
            for message in self._conduct.once_more():
                self._connection.request(message, timeout=ANSWER_SECONDS)

    def _update_readiness(self) -> None:
        if self._readiness is not None:
            ready = bool(self._checks) or self._connection.has_input()
            self._readiness.update(self._connection.generation, self._connection.descriptors(), ready)
