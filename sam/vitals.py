"""The signs of life of the instance that runs: whether it is ready, how its health checks go, what it notifies.

Decides nothing: `health.py` judges, the machine reacts to what is called *failed* here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import checks, notify
from .health import Abandon, Ask, Health, Healthy, Kind, Unhealthy
from .helper import Helper
from .notify import Notice, NotifySocket
from .orphans import Orphan
from .spec import ReadyBy, Spec

STATUS_SECONDS = 0.5
"""What an application says of itself is published so often at the most."""

READY_BYTES_MAX = 256
"""A line by which an application says that it is ready is not longer than it takes."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where signs of life go.  An instance is named by its number: one that is gone meanwhile is nobody's concern."""

    belongs: Callable[[int], bool]
    """Whether a process is one of the application."""
    ready: Callable[[], None]
    """The instance that runs is ready now."""
    failed: Callable[[int, str], None]
    """An instance has failed, and why."""
    status: Callable[[str], None]
    """What it says of itself."""


class Vitals:
    """Watches one instance after the other."""

    def __init__(self, spec: Spec, helper: Helper, outlet: Outlet, orphan: Orphan | None = None) -> None:
        """*orphan* is an application that is taken over, and goes on with the socket that it knows.

        Raises:
            OSError: no socket can be had.
        """
        self._spec = spec
        self._helper = helper
        self._outlet = outlet
        self._loop = asyncio.get_running_loop()
        self._health = Health(spec.health)
        self._instance = 0
        self._environment: Mapping[bytes, bytes] = {}
        self._is_ready = spec.ready is None
        self._is_watched = False
        self._timer: asyncio.TimerHandle | None = None
        self._ready_timer: asyncio.TimerHandle | None = None
        self._status_timer: asyncio.TimerHandle | None = None
        self._status = ""
        self._pipe = -1
        self._inherited = -1
        self._asking: dict[tuple[int, int], asyncio.Task[None]] = {}
        beats = any(check.kind is Kind.HEARTBEAT for check in spec.health.checks)
        notifies = spec.ready is not None and spec.ready.by is ReadyBy.NOTIFY
        address = "" if orphan is None else orphan.variables.get(notify.SOCKET_VARIABLE, "")
        address = address if address.startswith(notify.ADDRESS_PREFIX) else ""
        self._socket = NotifySocket(outlet.belongs, self._noticed, address) if beats or notifies else None
        self._watchdog_seconds = spec.health.interval if beats else 0.0

    @property
    def is_ready(self) -> bool:
        """Whether the instance that runs is ready."""
        return self._is_ready

    # -- around the start of an instance

    def variables(self) -> dict[str, str]:
        """What the application needs to know, in place of what meant this process itself."""
        if self._socket is None:
            return {}
        found = {notify.SOCKET_VARIABLE: self._socket.address}
        if self._watchdog_seconds:
            found[notify.WATCHDOG_VARIABLE] = str(round(self._watchdog_seconds * 1_000_000))
        return found

    def descriptors(self) -> dict[int, int]:
        """What the next instance, which is about to be started, is given."""
        ready = self._spec.ready
        if ready is None or ready.by is not ReadyBy.FD:
            return {}
        self._close_pipe()
        self._pipe, self._inherited = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self._inherited, True)
        return {ready.fd: self._inherited}

    def started(self, instance: int, environment: Mapping[bytes, bytes], *, is_ready: bool = False) -> None:
        """An instance has been started, with this environment; *is_ready*: it had been before."""
        self._instance, self._environment = instance, environment
        self._is_ready = is_ready or self._spec.ready is None
        self._is_watched = True
        self._health.begin(self._loop.time())
        if self._inherited >= 0:
            os.close(self._inherited)
            self._inherited = -1
            self._loop.add_reader(self._pipe, self._read_pipe)
        self._expect_readiness(0.0 if self._spec.ready is None else self._spec.ready.timeout)
        self._carry_out()

    def watch(self, instance: int, is_well: bool) -> None:
        """How the machine sees it: whether this instance runs, and nothing has been done about it."""
        if is_well == self._is_watched or instance != self._instance:
            return
        self._is_watched = is_well
        if is_well:
            self._health.resume(self._loop.time())
        else:
            self._health.pause()
        self._carry_out()

    def ended(self) -> None:
        """No instance runs."""
        self._is_watched = False
        self._is_ready = self._spec.ready is None
        self._health.pause()
        self._expect_readiness(0.0)
        self._close_pipe()
        self._carry_out()

    def close(self) -> None:
        """Watch no more."""
        self.ended()
        for timer in (self._timer, self._status_timer):
            if timer is not None:
                timer.cancel()
        if self._socket is not None:
            self._socket.close()

    # -- what is heard

    def beat(self) -> None:
        """The application says that it is well."""
        self._health.beat(self._loop.time())
        self._carry_out()

    def _noticed(self, notice: Notice) -> None:
        if notice.status is not None:
            self._status = notice.status
            if self._status_timer is None:
                self._status_timer = self._loop.call_later(STATUS_SECONDS, self._publish)
        if notice.extend_seconds and not self._is_ready and self._ready_timer is not None:
            self._expect_readiness(notice.extend_seconds)
        if notice.ready and self._spec.ready is not None and self._spec.ready.by is ReadyBy.NOTIFY:
            self._become_ready()
        if notice.failed:
            self._outlet.failed(self._instance, "it says so (WATCHDOG=trigger)")
        elif notice.beat:
            self.beat()

    def _publish(self) -> None:
        self._status_timer = None
        self._outlet.status(self._status)

    def _read_pipe(self) -> None:
        try:
            data = os.read(self._pipe, READY_BYTES_MAX)
        except BlockingIOError:
            return
        if b"\n" in data:
            self._become_ready()
        if b"\n" in data or not data:
            self._close_pipe()

    def _close_pipe(self) -> None:
        if self._inherited >= 0:
            os.close(self._inherited)
        if self._pipe >= 0:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
        self._pipe = self._inherited = -1

    def _become_ready(self) -> None:
        if not self._is_ready and self._is_watched:
            self._is_ready = True
            self._expect_readiness(0.0)
            self._outlet.ready()

    def _expect_readiness(self, seconds: float) -> None:
        if self._ready_timer is not None:
            self._ready_timer.cancel()
            self._ready_timer = None
        if seconds > 0 and not self._is_ready:
            self._ready_timer = self._loop.call_later(seconds, self._not_ready, self._instance)

    def _not_ready(self, instance: int) -> None:
        assert self._spec.ready is not None
        self._outlet.failed(instance, f"it has not become ready in time ({self._spec.ready.timeout:g} s)")

    # -- health

    def _expire(self) -> None:
        self._health.expire(self._loop.time())
        self._carry_out()

    def _carry_out(self) -> None:
        for effect in self._health.take_effects():
            match effect:
                case Ask(index, number):
                    self._asking[index, number] = self._loop.create_task(self._ask(index, number))
                case Abandon(index, number):
                    if (task := self._asking.pop((index, number), None)) is not None:
                        task.cancel()
                case Healthy():
                    if self._spec.ready is not None and self._spec.ready.by is ReadyBy.PROBE:
                        self._become_ready()
                case Unhealthy(why):
                    self._outlet.failed(self._instance, why)
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._health.next_deadline()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._expire)

    async def _ask(self, index: int, number: int) -> None:
        check = self._spec.health.checks[index]
        try:
            problem = await checks.ask(check, self._helper, self._environment, self._spec.health.timeout)
        finally:
            self._asking.pop((index, number), None)
        self._health.answered(index, number, problem, self._loop.time())
        self._carry_out()
