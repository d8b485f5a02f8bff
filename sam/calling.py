"""SAM as corosync's users know it: functions for the one application that this process is.

`register`, `start`, `health_check`, `stop` … speak for the process; `supervise` starts it again under sam-run where it
is not; `supervised` is all of it in one line.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar

from ..ipc.errors import InvalidArgument, WrongState
from .application import Application
from .client import is_supervised
from .conduct import CONNECT_SECONDS, Healthy
from .policy import Words

Function = TypeVar("Function", bound=Callable[..., Any])


class _Process:
    """This process's one application."""

    application: Application | None = None


def register(
    *, interval: float | None = None, policy: str | None = None, timeout: float | None = CONNECT_SECONDS
) -> int:
    """Say to sam-run that this program will tell itself how it is; returns the number of this instance.

    What is None is as sam-run was told.  Errors: see `Application`.
    """
    if _Process.application is not None:
        raise WrongState("this process has registered already")
    _Process.application = Application(interval=interval, policy=policy, timeout=timeout)
    return _Process.application.instance


def start(timeout: float | None = None) -> None:
    """Be watched from now on; see `Application.start`."""
    _own().start(timeout)


def stop() -> None:
    """Be watched no more; see `Application.stop`."""
    _own().stop()


def health_check() -> bool:
    """Give a sign of life; see `Application.health_check`."""
    return _own().health_check()


def on_health_check(check: Healthy | None) -> None:
    """Have sam-run ask, and `dispatch` answer; see `Application.on_health_check`."""
    _own().on_health_check(check)


def dispatch(timeout: float | None = None) -> bool:
    """Answer sam-run; see `Application.dispatch`."""
    return _own().dispatch(timeout)


def fileno() -> int:
    """Readable when `dispatch` has work; see `Application.fileno`."""
    return _own().fileno()


def store(data: bytes | bytearray | memoryview | None) -> None:
    """Leave *data* to later instances; see `Application.store`."""
    _own().store(data)


def restore() -> bytes:
    """What was stored last; see `Application.restore`."""
    return _own().restore()


def warn_signal(number: int) -> None:
    """The signal by which this program is warned; see `Application.warn_signal`."""
    _own().warn_signal(number)


def mark_failed() -> None:
    """Be killed, and not started again; see `Application.mark_failed`."""
    _own().mark_failed()


def finalize() -> None:
    """Stop and hang up, for good; see `Application.finalize`."""
    _own().finalize()


def supervise(
    *, interval: float | None = None, policy: str | None = None, name: str | None = None, options: Sequence[str] = ()
) -> None:
    """Make sure that this program runs under sam-run.  Call it first: what was done before is done twice.

    As sam_register does, this process becomes the supervisor (it keeps its pid) and the program runs in a child of it;
    but not by a fork: the program is started once more, from its beginning.  Under sam-run already nothing happens.
    *options* are more of sam-run's.

    Raises:
        InvalidArgument: that is no policy.
    """
    if is_supervised():
        return
    words = ["--policy", str(Words.parse(policy))] if policy is not None else []
    words += ["--interval", str(round(interval * 1000))] if interval is not None else []
    words += ["--name", name] if name is not None else []
    command = [sys.executable, "-m", "totemd.sam.run", *words, *options, "--", sys.executable, *sys.orig_argv[1:]]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, command)


def supervised(
    *,
    interval: float | None = None,
    policy: str | None = None,
    check: Healthy | None = None,
    timeout: float | None = None,
) -> Supervised:
    """Be watched while the block, or the function that this decorates, runs.

    ```
    with sam.supervised(interval=2.0) as app:
        while work():
            app.health_check()

    @sam.supervised(interval=0)
    def main() -> None: ...
    ```
    Leaving it by an exception is a failure, and sam-run starts the next instance; otherwise the program has ended well.
    *timeout* is how long a quorate node is waited for.
    """
    return Supervised(interval, policy, check, timeout)


class Supervised(contextlib.ContextDecorator):
    """What `supervised` returns."""

    def __init__(
        self, interval: float | None, policy: str | None, check: Healthy | None, timeout: float | None
    ) -> None:
        self._interval = interval
        self._policy = policy
        self._check = check
        self._timeout = timeout

    def __call__(self, function: Function) -> Function:
        """Decorate a function.

        Raises:
            InvalidArgument: it is a coroutine function, which would be left before it has begun.
        """
        if inspect.iscoroutinefunction(function):
            raise InvalidArgument("a coroutine function is watched by `async with sam.aio.Application()` in it")
        return super().__call__(function)

    def __enter__(self) -> Application:
        """Register, and start."""
        register(interval=self._interval, policy=self._policy)
        application = _own()
        if self._check is not None:
            application.on_health_check(self._check)
        application.start(self._timeout)
        return application

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and finalize; not after an exception, so that the end of the program is the failure that it is."""
        _own().__exit__(kind, error, trace)


def _own() -> Application:
    if _Process.application is None:
        raise WrongState("`register` comes first; this process has not registered")
    return _Process.application


__all__ = [
    "dispatch",
    "fileno",
    "finalize",
    "health_check",
    "mark_failed",
    "on_health_check",
    "register",
    "restore",
    "start",
    "stop",
    "store",
    "supervise",
    "supervised",
    "warn_signal",
]
