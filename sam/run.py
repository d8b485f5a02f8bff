"""`sam-run`: the parent of one application, which it starts, watches, restarts and ends.

Who decides is `machine.py`, here, in the process that the kernel tells first of an application's end; `supervision.py`
carries that out; the sam process watches from outside and may say that the application has failed, no more.  Without
it everything goes on.  This module owns what only one application can have: terminal, signals, exit code.

**Terminal and job control.**  The application stays in sam-run's process group.  A group of its own would have to be
made the terminal's foreground group by sam-run (tcsetpgrp), which takes the terminal away from the rest of a
pipeline (`sam-run -- app | less`) and means playing half a shell.  In one group, the kernel and the shell treat
sam-run and application as the one job that they are: Ctrl-C, Ctrl-Z, fg, bg, window sizes, reads from the background
work as without sam-run.  The price: sam-run gets the terminal's signals too, and must tell them from those that are
meant for it (`signals.py`; the kernel names the sender); and the family cannot be killed by its group, so it is
found by descent instead, which also finds those that left the group.  When the application stops for
job control, sam-run stops itself by the same signal, so that the shell sees the whole job stop.  What somebody sends
to the whole group by kill(2) reaches the application twice.

Exit codes: the application's (128 + N if signal N killed it); 124 given up; 125 sam-run itself failed; 126 the
command cannot be run; 127 there is no such command.
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ..executive.runtime.version import VERSION
from ..ipc.errors import TotemdError
from ..ipc.messages.sam import AppState, Progress, Register, WhenOrphaned
from ..ipc.paths import SAM_SOCKET
from .children import Children
from .detach import Background, detach
from .events import EXIT_SIGNAL_BASE, Event, Parting, StopAsked, SuspendAsked
from .help_screen import SectionedCommand
from .launch import EXIT_FAILED
from .limits import is_limited
from .link import Link, refused_for_good
from .linux import SignalReader, become_subreaper, suspend_by
from .options import OPTIONS, RunOptions, run_options
from .orphans import Orphan, predecessor
from .probe import PsutilProbe
from .quorum import QuorumWatch
from .reception import Reception, abstract_address
from .signals import JOB_CONTROL, MEANINGFUL, meaning
from .supervision import Shared, Supervised
from .terminal import Terminal

if TYPE_CHECKING:
    from .guardian import Leash
    from .singleton import Singleton


def say(text: str) -> None:
    """A line on standard error; dropped if nobody takes it, because an application must not wait for a reader."""
    try:
        if select.select([], [2], [], 0)[1]:
            os.write(2, f"sam-run: {text}\n".encode(errors="replace"))
    except (OSError, ValueError):
        pass


def registration(options: RunOptions, progress: Progress, *, adopts: bool) -> Register:
    """What the sam process is told of an application when it is put on the list."""
    return Register(
        0,
        options.name,
        options.name_is_explicit,
        str(options.policy.words),
        options.interval_ms,
        progress,
        adopts=adopts,
        limits=options.limits,
        when_orphaned=WhenOrphaned.END if options.singleton else options.orphan,
        stop_signal=options.policy.stop_signal,
        stop_timeout_ms=round(options.policy.stop_timeout * 1000),
    )


class SamRun:
    """The owner of one supervised application: terminal, signals, the sam process, the exit code."""

    def __init__(
        self,
        options: RunOptions,
        reader: SignalReader,
        leash: Leash | None,
        background: Background | None,
        orphan: Orphan | None,
    ) -> None:
        """*leash* holds the guardian of an application that runs on one node at a time; *orphan* is taken over."""
        self._background = background
        self._orphan = orphan
        """None once it has been taken over."""
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._reader = reader
        self._terminal = Terminal()
        self._finished: asyncio.Future[int] = self._loop.create_future()
        probe = PsutilProbe()
        self._children = Children(probe)
        self._reception = Reception(abstract_address() if orphan is None else orphan.reception, probe)
        quorum = QuorumWatch(options.run_dir)
        shared = Shared(options.run_dir, self._children, probe, self._reception, quorum, random.random)
        self._app = Supervised(options.spec(os.environ, reader.mask_before), shared, self, orphan=orphan)
        self._leaving = False
        self._exit_code: int | None = None
        """Instead of the application's."""
        self._singleton = None if leash is None else self._stand_in_line(leash)
        self._link = Link(
            options.run_dir / SAM_SOCKET,
            registration(options, self._progress(), adopts=orphan is not None),
            self._progress,
            lambda order: self._app.failed(order.instance, order.why),
            self.say,
        )
        self._loop.set_exception_handler(self._mishap)

    def _stand_in_line(self, leash: Leash) -> Singleton:
        from .singleton import Singleton  # few need it; the others shall not carry its modules  # noqa: PLC0415

        options = self._options
        made = Singleton(options.run_dir / SAM_SOCKET, options.name, options.yield_timeout, leash, self)
        self._app.may_start = made.may_start
        return made

    async def live(self) -> int:
        """Run the application until it is over; return the exit code."""
        try:
            if not await self._enlist():
                return EXIT_FAILED
            self._app.name, self._orphan = self._link.name, None
            self._loop.add_reader(self._reader.fileno(), self._take_signals)
            if self._singleton is None:
                self._app.begin()
            else:
                self._singleton.start()
            code = await self._finished
            await self._app.settle()
            return code
        finally:
            self._loop.remove_reader(self._reader.fileno())
            is_gone = not self._app.exists
            self._app.close()
            self._reception.close()
            if self._singleton is not None:
                await self._singleton.close(clean=is_gone)
            await self._link.close()

    async def _enlist(self) -> bool:
        try:
            await self._link.enlist()
        except TotemdError as error:
            if self._options.require_sam or refused_for_good(error):
                say(str(error))
                return False
            unwatched = "; nobody watches its limits meanwhile" if is_limited(self._options.limits) else ""
            self.say(f"{error}; supervising alone{unwatched}")
        return True

    def _take_signals(self) -> None:
        if self._singleton is not None:
            self._singleton.look_at_the_clock()
        for info in self._reader.read():
            if info.number == signal.SIGCHLD:
                self._children.reap()
            elif (meant := meaning(info)) is not None:
                self._signalled(meant)

    def _signalled(self, meant: Event) -> None:
        self._leaving |= isinstance(meant, StopAsked)
        if self._singleton is None or not self._singleton.stands_by:
            self._app.happen(meant)
        elif isinstance(meant, StopAsked) or (isinstance(meant, Parting) and not meant.only_if_killed):
            self.finished(EXIT_SIGNAL_BASE + meant.signal)  # nothing runs that could have an opinion
        elif isinstance(meant, SuspendAsked):
            suspend_by(meant.signal)

    def _progress(self) -> Progress:
        if self._orphan is not None:
            return Progress(AppState.RUNNING, self._orphan.instance, self._orphan.pid)
        progress = self._app.progress
        if self._singleton is not None and self._singleton.stands_by:
            return msgspec.structs.replace(progress, state=AppState.STANDBY, detail=self._singleton.why)
        return progress

    # -- singleton.Host

    def begin_term(self, fence: int, stored: bytes) -> None:
        """This node is the one."""
        self.say(f"runs here, with the fencing token {fence}")
        self._app.fence, self._app.stored = fence, stored
        self._app.begin()

    def yield_within(self, seconds: float) -> None:
        """This node may not be the one any more."""
        self._app.stop(signal.SIGTERM, seconds)

    def waits(self) -> None:
        """Say why."""
        if self._singleton is not None and self._singleton.stands_by:
            self.say(f"stands by: {self._singleton.why}")
        self._link.tell()

    def cannot_go_on(self, reason: str) -> None:
        """End, and the application too."""
        say(reason)
        self._leaving, self._exit_code = True, EXIT_FAILED
        if self._singleton is None or self._singleton.stands_by:
            self.finished(EXIT_FAILED)
        else:
            self._app.stop(signal.SIGTERM)

    # -- supervised.Host

    def say(self, text: str) -> None:
        """A line on standard error."""
        if not self._options.quiet:
            say(f"{self._options.name}: {text}")

    def turned(self) -> None:
        """Tell the sam process, and whoever waits until it is up."""
        self._link.tell()
        if self._background is not None and self._app.progress.state is AppState.RUNNING:
            self._background.is_up(self._app.name)
        if self._singleton is not None:
            self._singleton.store(self._app.stored)

    def before_restart(self) -> None:
        """Give the next instance the terminal as the first one found it, and the name that is listed now."""
        self._app.name = self._link.name
        self._terminal.restore()

    def may_continue(self) -> bool:
        """A job that was continued may have been stopped again meanwhile; the kernel drops SIGCONT then."""
        return not signal.sigpending() & JOB_CONTROL

    def suspend(self, number: int) -> bool:
        """Stop, so that the shell sees the whole job stop."""
        suspend_by(number)
        return not signal.sigpending() & {signal.SIGCONT, *JOB_CONTROL}  # else what is read next says how it goes on

    def finished(self, code: int) -> None:
        """End with this code; or stand by again, if it was ended for want of a lease."""
        if self._singleton is not None and not self._app.exists:  # else only the guardian can help
            if self._singleton.yields and not self._leaving:
                self._singleton.over()
                self._link.tell()
                return
            self._singleton.leave()
        if not self._finished.done():
            self._finished.set_result(code if self._exit_code is None else self._exit_code)

    def _mishap(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A bug: nothing can be relied on any more, so end loudly rather than watch badly."""
        error = context.get("exception")
        say(f"a bug; please report it: {context.get('message', '')}")
        if error is not None:
            say("".join(traceback.format_exception(error)))
        self.finished(EXIT_FAILED)


async def _live(options: RunOptions, reader: SignalReader, leash: Leash | None, background: Background | None) -> int:
    orphan = await predecessor(options, PsutilProbe(), say)
    return await SamRun(options, reader, leash, background, orphan).live()


def run(options: RunOptions) -> int:
    """Run an application under supervision; return sam-run's exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a parent that ignores it would make the kernel reap for us
    background = None
    if options.detach:
        background = detach(options)
        options = options if options.name_is_explicit else options.renamed_for(os.getpid())
    leash = None
    if options.singleton:
        from .guardian import Leash  # noqa: PLC0415

        leash = Leash(options.name)  # before this process becomes a subreaper: nobody's child shall the guardian be
    ignored = {number for number in MEANINGFUL if signal.getsignal(number) is signal.SIG_IGN}
    reader = SignalReader({*MEANINGFUL, signal.SIGCHLD} - ignored)
    if not become_subreaper():
        say("this kernel has no subreapers: processes that leave the application's tree cannot be ended")
    return asyncio.run(_live(options, reader, leash, background))


@click.command(
    cls=SectionedCommand,
    context_settings={
        "allow_interspersed_args": False,
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
    },
)
def command(**values: Any) -> int:
    """Run COMMAND, and keep it running.

    It is started again when it ends or fails, with a growing wait between instances that end soon.  SIGTERM and SIGINT
    end it and everything it has started, and sam-run with it.  Times are milliseconds, unless S (seconds) stands there.

    \b
    sam-run -- ./server
    sam-run --name web --health http://localhost:8080/health --ready probe -- ./server
    sam-run --name job --log job.log --max-rss 200M --detach -- ./worker --fast

    Exit code: that of COMMAND (128+N if signal N killed it); 124 it failed too often; 125 sam-run failed; 126 COMMAND
    cannot be run; 127 COMMAND not found.
    """
    return run(run_options(values))


for _option in OPTIONS:
    command = _option(command)
command = click.version_option(VERSION, prog_name="sam-run", message="%(prog)s %(version)s")(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: exits with the code that the module's docstring promises."""
    try:
        code = command.main(args=arguments, prog_name="sam-run", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        code = EXIT_FAILED
    except (TotemdError, OSError) as error:
        say(str(error))
        code = EXIT_FAILED
    sys.exit(code)


if __name__ == "__main__":
    main()
