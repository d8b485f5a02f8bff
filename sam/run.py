"""`sam-run`: the parent of one application, which it starts, watches, restarts and ends.

Who decides is `machine.py`, here, in the process that the kernel tells first of an application's end; `supervised.py`
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
from typing import Any

import click

from ..ipc.errors import TotemdError
from ..ipc.messages.sam import Register
from ..ipc.paths import SAM_SOCKET
from .children import Children
from .launch import EXIT_FAILED
from .link import Link, refused_for_good
from .linux import SignalReader, become_subreaper, suspend_by
from .options import OPTIONS, RunOptions, run_options
from .probe import PsutilProbe
from .quorum import QuorumWatch
from .reception import Reception, abstract_address
from .signals import JOB_CONTROL, MEANINGFUL, meaning
from .supervised import Supervised
from .terminal import Terminal


def say(text: str) -> None:
    """A line on standard error; dropped if nobody takes it, because an application must not wait for a reader."""
    try:
        if select.select([], [2], [], 0)[1]:
            os.write(2, f"sam-run: {text}\n".encode(errors="replace"))
    except (OSError, ValueError):
        pass


class SamRun:
    """The owner of one supervised application: terminal, signals, the sam process, the exit code."""

    def __init__(self, options: RunOptions, reader: SignalReader) -> None:
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._reader = reader
        self._terminal = Terminal()
        self._finished: asyncio.Future[int] = self._loop.create_future()
        probe = PsutilProbe()
        self._children = Children(probe)
        self._reception = Reception(abstract_address(), probe)
        self._app = Supervised(
            options.spec(os.environ, reader.mask_before),
            run_dir=options.run_dir,
            children=self._children,
            probe=probe,
            reception=self._reception,
            quorum=QuorumWatch(options.run_dir),
            host=self,
            jitter=random.random,
        )
        self._link = Link(
            options.run_dir / SAM_SOCKET,
            Register(
                0,
                options.name,
                options.name_is_explicit,
                str(options.policy.words),
                options.interval_ms,
                self._app.progress,
            ),
            lambda: self._app.progress,
            lambda order: self._app.failed(order.instance, order.why),
            self.say,
        )
        self._loop.set_exception_handler(self._mishap)

    async def live(self) -> int:
        """Run the application until it is over; return the exit code."""
        try:
            if not await self._enlist():
                return EXIT_FAILED
            self._app.name = self._link.name
            self._loop.add_reader(self._reader.fileno(), self._take_signals)
            self._app.begin()
            code = await self._finished
            await self._app.settle()
            return code
        finally:
            self._loop.remove_reader(self._reader.fileno())
            self._app.close()
            self._reception.close()
            await self._link.close()

    async def _enlist(self) -> bool:
        try:
            await self._link.enlist()
        except TotemdError as error:
            if self._options.require_sam or refused_for_good(error):
                say(str(error))
                return False
            self.say(f"{error}; supervising alone")
        return True

    def _take_signals(self) -> None:
        for info in self._reader.read():
            if info.number == signal.SIGCHLD:
                self._children.reap()
            elif (meant := meaning(info)) is not None:
                self._app.happen(meant)

    # -- supervised.Host

    def say(self, text: str) -> None:
        """A line on standard error."""
        if not self._options.quiet:
            say(f"{self._options.name}: {text}")

    def turned(self) -> None:
        """Tell the sam process."""
        self._link.tell()

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
        """End with this code."""
        if not self._finished.done():
            self._finished.set_result(code)

    def _mishap(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A bug: nothing can be relied on any more, so end loudly rather than watch badly."""
        error = context.get("exception")
        say(f"a bug; please report it: {context.get('message', '')}")
        if error is not None:
            say("".join(traceback.format_exception(error)))
        self.finished(EXIT_FAILED)


async def _live(options: RunOptions, reader: SignalReader) -> int:
    return await SamRun(options, reader).live()


def run(options: RunOptions) -> int:
    """Run an application under supervision; return sam-run's exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a parent that ignores it would make the kernel reap for us
    ignored = {number for number in MEANINGFUL if signal.getsignal(number) is signal.SIG_IGN}
    reader = SignalReader({*MEANINGFUL, signal.SIGCHLD} - ignored)
    if not become_subreaper():
        say("this kernel has no subreapers: processes that leave the application's tree cannot be ended")
    return asyncio.run(_live(options, reader))


@click.command(context_settings={"allow_interspersed_args": False, "help_option_names": ["-h", "--help"]})
def command(**values: Any) -> int:
    """Run COMMAND, and keep it running.

    It is started again when it ends or fails, with a growing wait between instances that end soon.  SIGTERM and SIGINT
    end it and everything it has started, and sam-run with it.

    Exit code: that of COMMAND (128+N if signal N killed it); 124 it failed too often; 125 sam-run failed; 126 COMMAND
    cannot be run; 127 COMMAND not found.
    """
    return run(run_options(values))


for _option in OPTIONS:
    command = _option(command)


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
