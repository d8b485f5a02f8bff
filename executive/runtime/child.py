"""A child's life: connect to the executive, be configured, say ready, answer, stop.

The executive alone decides when a child ends.  A Ctrl-C in a terminal, and some service managers' SIGTERM, reach
every process of a node; a child that followed them would break the order in which the node leaves its ring.  So
children let SIGINT, SIGTERM, SIGQUIT and SIGHUP pass, and stop when the executive says so (`Stop`), or when it is
gone (the lifeline, a pipe that it holds open, reads end-of-file).  SIGUSR2 prints where the program is on stderr.

A bug ends the process: the exception is logged with its traceback, and the executive starts a new one.  So does what
keeps a child from its start; the executive is told in a line what it was (`last_words`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import fcntl
import os
import select
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from ...ipc.connection import Connection
from ...ipc.errors import ConfigurationError, ConnectionLost, ProtocolError, TotemdError, TryAgain
from ...ipc.messages.common import Welcome, refusal
from ...ipc.messages.control import (
    TO_CHILD,
    AppsAnswer,
    AppsQuestion,
    BlackboxAnswer,
    BlackboxQuestion,
    Configure,
    Fatal,
    GroupsAnswer,
    GroupsQuestion,
    MetricsAnswer,
    MetricsQuestion,
    Obituary,
    Ping,
    Pong,
    QuorumAnswer,
    QuorumQuestion,
    Ready,
    Reconfigure,
    ResourcesAnswer,
    ResourcesQuestion,
    RingAnswer,
    RingQuestion,
    StillStopping,
    Stop,
)
from ...ipc.paths import EXECUTIVE_SOCKET
from ..config.model import Configuration, LoggingOptions
from . import descriptors, logging, memory
from .last_words import LastWords
from .logging import Logger
from .version import VERSION

LIFELINE_VARIABLE = "TOTEMD_LIFELINE_FD"
"""Environment variable with the number of the lifeline's read end."""

ORPHAN_SECONDS = 0.8
"""How long a child may take to stop once its executive is gone; the kernel ends it then."""

FATAL_ACKNOWLEDGE_SECONDS = 1.0
"""How long a child waits until the executive has taken note of its `Fatal`."""

EXIT_DONE = 0
EXIT_FAILED = 1

Question = (
    RingQuestion
    | GroupsQuestion
    | AppsQuestion
    | QuorumQuestion
    | ResourcesQuestion
    | MetricsQuestion
    | BlackboxQuestion
)
Answer = RingAnswer | GroupsAnswer | AppsAnswer | QuorumAnswer | ResourcesAnswer | MetricsAnswer | BlackboxAnswer

_LEFT_TO_THE_EXECUTIVE = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)


def _nobody_listens(reason: str) -> None:
    raise SystemExit(reason)


@dataclass(frozen=True)
class ChildContext:
    """What the executive gives a child to start with."""

    name: str
    run_dir: Path
    configuration: Configuration
    key: bytes = b""
    """The cluster key; empty except for totem."""
    log: Logger = field(default_factory=logging.get_logger)
    """Bound to the child's subsystem."""
    report_fatal: Callable[[str], None] = field(default=_nobody_listens, repr=False)
    leave_obituary: Callable[[Obituary], None] = field(default=lambda _: None, repr=False)
    """Have the executive send something once this process has ended."""

    node_stops: Callable[[], bool] = field(default=lambda: False, repr=False)
    """Whether somebody has stopped the node; not if this process ends because it, or the node, has failed."""
    still_stopping: Callable[[], None] = field(default=lambda: None, repr=False)
    """Tell the executive, during `stop`, that this takes its time: it waits as long again as for the stop itself."""

    at_bug: list[Callable[[BaseException], None]] = field(default_factory=list, repr=False)
    """What the program wants called, besides the log line, with the exception that ends its process."""

    def fatal(self, reason: str) -> None:
        """Tell the executive that a restart will not help, then exit 1.

        Returns: the process ends when the loop turns; the caller should return too.
        """
        self.report_fatal(reason)


class ChildProgram(Protocol):
    """A child's main object, constructed inside the running loop."""

    def __init__(self, context: ChildContext) -> None: ...

    async def start(self) -> None:
        """Return when the child serves; it is reported ready then.

        A `ConfigurationError` is fatal; any other `TotemdError` or an `OSError` ends the process, to be restarted.
        """

    def reconfigure(self, configuration: Configuration) -> None:
        """Take over what a reload changed; only reloadable options differ."""

    def answer(self, question: Question) -> Answer:
        """Answer for totemctl; raise a `TotemdError` for what this child does not know."""

    async def stop(self) -> None:
        """End cleanly, within `ORPHAN_SECONDS` if possible."""


Factory = Callable[[ChildContext], ChildProgram]


def run_child(name: str, program: Factory, arguments: Sequence[str] | None = None) -> int:
    """The whole main of a child: `sys.exit(run_child("cpg", CpgProcess))`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"totemd {name}", description="A process of totemd; started by the executive."
    )
    parser.add_argument("--run-dir", type=Path, required=True, metavar="DIR")
    run_dir = parser.parse_args(arguments).run_dir
    lifeline, last_words = os.environ.pop(LIFELINE_VARIABLE, ""), LastWords(os.environ)
    if not lifeline.isdecimal():
        parser.error(f"only the executive starts this process ({LIFELINE_VARIABLE} is not set); start `totemd` instead")
    memory.keep_what_is_freed()
    descriptors.raise_limit()
    for number in _LEFT_TO_THE_EXECUTIVE:
        # A handler, not SIG_IGN: what is ignored stays ignored in programs that this process starts.
        signal.signal(number, lambda *_: None)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR2)
    _watch_lifeline(int(lifeline))
    logging.configure(LoggingOptions(to_syslog=False), name.upper())
    return asyncio.run(_live(name, program, run_dir, int(lifeline), last_words))


def _watch_lifeline(fd: int) -> None:
    """Have the kernel say when the lifeline closes (SIGIO), so that a process whose loop hangs ends too."""

    def closed(*_: object) -> None:
        with contextlib.suppress(ValueError, OSError):  # the loop has seen it first, and closed it
            if select.select([fd], [], [], 0)[0]:
                _let_the_kernel_end_this()

    os.set_inheritable(fd, False)
    signal.signal(signal.SIGIO, closed)
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    closed()  # it may have closed before anybody looked


def _let_the_kernel_end_this() -> None:
    """`ORPHAN_SECONDS` from now, whatever the program does until then: SIGALRM's default action."""
    if signal.getitimer(signal.ITIMER_REAL)[0] == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, ORPHAN_SECONDS)


async def _live(name: str, program: Factory, run_dir: Path, lifeline: int, last_words: LastWords) -> int:
    child = _Child(name, program, run_dir, lifeline, last_words)
    code = await child.finished
    await child.end()
    return code


class _Child:
    """The shell between the executive's messages and a `ChildProgram`."""

    def __init__(self, name: str, factory: Factory, run_dir: Path, lifeline: int, last_words: LastWords) -> None:
        self._name = name
        self._last_words = last_words
        self._factory = factory
        self._run_dir = run_dir
        self._loop = asyncio.get_running_loop()
        self._log = logging.get_logger(name)
        self._program: ChildProgram | None = None
        self._starting: asyncio.Task[None] | None = None
        self._ready = False
        self._reloaded: msgspec.Raw | None = None
        self._doomed = False
        self._node_stops = False
        self._at_bug: list[Callable[[BaseException], None]] = []
        self.finished: asyncio.Future[int] = self._loop.create_future()
        self._loop.set_exception_handler(self._mishap)
        self._lifeline = lifeline
        self._loop.add_reader(lifeline, self._orphaned, "its end of the lifeline is closed")
        self._executive: Connection[Any] = Connection(
            run_dir / EXECUTIVE_SOCKET, name, TO_CHILD, self, f"totemd {VERSION}"
        )

    # -- what happens on the connection

    def connected(self, welcome: Welcome) -> None:
        """The executive knows this process; `Configure` follows."""

    def lost(self, error: TotemdError) -> None:
        """The executive died or refuses this process: there is nobody to serve for.  A refused message is only that."""
        if isinstance(error, ProtocolError) and self._executive.is_open:
            self._log.err("the executive could not read a message", reason=str(error))
        else:
            self._orphaned(str(error))

    def arrived(self, message: Any, payload: Sequence[bytes | memoryview]) -> None:
        """What the executive wants."""
        match message:
            case Ping(sequence):
                self._send(Pong(sequence))
            case Configure():
                self._configure(message, payload)
            case Reconfigure(raw):
                self._reconfigure(raw)
            case Stop(failed):
                self._node_stops = not failed
                self._finish(EXIT_DONE)
            case RingQuestion() | GroupsQuestion() | AppsQuestion() | QuorumQuestion():
                self._answer(message)
            case ResourcesQuestion() | MetricsQuestion() | BlackboxQuestion():
                self._answer(message)

    def _send(self, message: msgspec.Struct) -> None:
        try:
            self._executive.send(message)
        except ConnectionLost as error:
            self._orphaned(str(error))

    # -- life

    def _configure(self, message: Configure, payload: Sequence[bytes | memoryview]) -> None:
        if self._starting is not None:
            return
        try:
            configuration = msgspec.msgpack.decode(message.configuration, type=Configuration)
            logging.configure(configuration.logging, self._name.upper())
        except (msgspec.MsgspecError, TotemdError) as error:
            self._fatal(f"{self._name}: the configuration cannot be used here: {error}")
            return
        key = bytes(payload[0]) if payload else b""
        context = ChildContext(
            self._name,
            Path(message.run_dir),
            configuration,
            key,
            logging.get_logger(self._name),
            self._fatal,
            self._send,
            lambda: self._node_stops,
            lambda: self._send(StillStopping()),
        )
        self._at_bug = context.at_bug
        self._starting = self._loop.create_task(self._start(context))
        self._starting.add_done_callback(self._started)

    async def _start(self, context: ChildContext) -> None:
        self._program = self._factory(context)
        await self._program.start()

    def _started(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        match error:
            case None:
                if not (self._doomed or self.finished.done()):
                    self._send(Ready())
                    self._ready = True
                    if self._reloaded is not None:
                        self._reconfigure(self._reloaded)
            case ConfigurationError():
                self._fatal(f"{self._name}: {error}")
            case TotemdError() | OSError():
                self._log.crit("cannot start", reason=str(error))
                self._last_words.say(str(error))
                self._finish(EXIT_FAILED)
            case _:
                self._end_by_bug("the start", error)

    def _reconfigure(self, raw: msgspec.Raw) -> None:
        try:
            configuration = msgspec.msgpack.decode(raw, type=Configuration)
            if self._program is None or not self._ready:
                self._reloaded = raw  # after the start, which goes on with what it began with
                return
            logging.configure(configuration.logging, self._name.upper())
            self._program.reconfigure(configuration)
        except (msgspec.MsgspecError, TotemdError) as error:
            self._log.err("the new configuration was not taken over", reason=str(error))

    def _answer(self, question: Question) -> None:
        try:
            if self._program is None or not self._ready:
                raise TryAgain(f"{self._name} is still starting")
            answer: msgspec.Struct = self._program.answer(question)
        except TotemdError as error:
            answer = refusal(error, question.request)
        self._send(answer)

    def _fatal(self, reason: str) -> None:
        if self._doomed or self.finished.done():
            return
        self._doomed = True
        self._log.crit(reason)
        self._send(Fatal(reason))
        # The executive answers with Stop.  Exiting before it has read the reason would leave it with an exit code.
        self._loop.call_later(FATAL_ACKNOWLEDGE_SECONDS, self._finish, EXIT_FAILED)

    def _finish(self, code: int) -> None:
        if not self.finished.done():
            self.finished.set_result(EXIT_FAILED if self._doomed else code)

    def _orphaned(self, why: str) -> None:
        """Nobody watches over this process any more: stop, and be gone within `ORPHAN_SECONDS` whatever happens."""
        self._close_lifeline()
        if not self.finished.done():
            self._log.err("the executive is gone, or refuses this process", reason=why)
        _let_the_kernel_end_this()
        self._finish(EXIT_FAILED)

    def _mishap(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nobody handled.  One that is no bug is noted; after a bug nothing can be relied on."""
        error = context.get("exception")
        if error is None or isinstance(error, TotemdError | OSError):
            self._log.warning(context.get("message", "a mishap in the loop"), reason=repr(error))
            return
        self._end_by_bug(context.get("message", ""), error)

    def _end_by_bug(self, where: str, error: BaseException) -> None:
        self._log.crit("a bug: the process ends", where=where, exc_info=error)
        self._last_words.say(f"a bug: {error!r}")
        self._finish(EXIT_FAILED)  # first, so that it ends also if a notification fails
        notifications, self._at_bug = self._at_bug, []
        for notify in notifications:
            notify(error)

    def _close_lifeline(self) -> None:
        if self._lifeline >= 0:
            self._loop.remove_reader(self._lifeline)
            os.close(self._lifeline)
            self._lifeline = -1

    async def end(self) -> None:
        """Stop the program and hang up."""
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._program is not None:
            try:
                await self._program.stop()
            except (TotemdError, OSError) as error:
                self._log.err("did not stop cleanly", reason=str(error))
        self._executive.close()
