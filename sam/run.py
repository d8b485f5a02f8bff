"""`sam-run`: the parent of one application, which it starts, watches, restarts and ends.

Who decides is `machine.py`, here, in the process that the kernel tells first of an application's end; the sam process
watches from outside and may say that the application has failed, no more.  Without it everything goes on.

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
from collections.abc import Callable, Sequence
from typing import Any, assert_never

import click

from ..ipc.errors import TotemdError
from ..ipc.messages.sam import DETAIL_LENGTH_MAX, Progress, Recover, Register
from ..ipc.paths import SAM_SOCKET
from . import environment
from .events import Begin, Continue, Event, Failed, Finish, Kill, Report, Resumed, Scope, Signal, Start, Suspend
from .family import EXIT_FAILED, Family
from .link import Link, refused_for_good
from .linux import SignalReader, become_subreaper, suspend_by
from .machine import Machine
from .options import OPTIONS, RunOptions, run_options
from .probe import PsutilProbe
from .signals import JOB_CONTROL, MEANINGFUL, meaning
from .terminal import Terminal
from .wording import report_text, signal_name


def say(text: str) -> None:
    """A line on standard error; dropped if nobody takes it, because an application must not wait for a reader."""
    try:
        if select.select([], [2], [], 0)[1]:
            os.write(2, f"sam-run: {text}\n".encode(errors="replace"))
    except (OSError, ValueError):
        pass


class SamRun:
    """The shell: carries out what the machine decides, and tells it what has happened."""

    def __init__(self, options: RunOptions, reader: SignalReader) -> None:
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._reader = reader
        self._machine = Machine(options.policy, random.random)
        self._family = Family(options.command, PsutilProbe(), reader.mask_before)
        self._terminal = Terminal()
        self._say: Callable[[str], None] = self._keep_quiet if options.quiet else self._speak
        self._environment = environment.of_every_instance(
            os.environ,
            policy=options.policy.recovery.value,
            interval_ms=options.interval_ms,
            run_dir=options.run_dir,
        )
        self._detail = ""
        self._timer: asyncio.TimerHandle | None = None
        self._finished: asyncio.Future[int] = self._loop.create_future()
        life, policy = self._machine.life, options.policy
        self._link = Link(
            options.run_dir / SAM_SOCKET,
            Register(
                0,
                options.name,
                options.name_is_explicit,
                policy.recovery.value,
                options.interval_ms,
                Progress(life.state, 0, 0),
            ),
            self._progress,
            self._recover,
            self._say,
        )
        self._loop.set_exception_handler(self._mishap)

    async def live(self) -> int:
        """Run the application until it is over; return the exit code."""
        try:
            if not await self._enlist():
                return EXIT_FAILED
            self._loop.add_reader(self._reader.fileno(), self._take_signals)
            self._happen(Begin())
            return await self._finished
        finally:
            self._loop.remove_reader(self._reader.fileno())
            if self._family.exists:
                self._family.kill()  # only a bug leads here, or the kernel holds a process for ever
            await self._link.close()

    async def _enlist(self) -> bool:
        try:
            await self._link.enlist()
        except TotemdError as error:
            if self._options.require_sam or refused_for_good(error):
                say(str(error))
                return False
            self._say(f"{error}; supervising alone")
        return True

    # -- what happens

    def _take_signals(self) -> None:
        for info in self._reader.read():
            if info.number == signal.SIGCHLD:
                for event in self._family.reap():
                    self._happen(event)
            elif (meant := meaning(info)) is not None:
                self._happen(meant)

    def _recover(self, order: Recover) -> None:
        self._happen(Failed(order.instance, order.why))

    def _expire(self) -> None:
        self._machine.expire(self._loop.time())
        self._carry_out()

    def _happen(self, event: Event) -> None:
        self._machine.happen(event, self._loop.time())
        self._carry_out()

    # -- what is done

    def _carry_out(self) -> None:
        """Do what the machine decided.  Words come after deeds: the next instance does not wait for them."""
        reports: list[Report] = []
        while effects := self._machine.take_effects():
            for effect in effects:
                match effect:
                    case Report():
                        reports.append(effect)
                    case Start(instance):
                        self._start(instance)
                    case Signal(number, scope):
                        self._signal(number, scope)
                    case Continue():
                        self._continue()
                    case Kill():
                        self._family.kill()
                    case Suspend(number):
                        self._suspend(number)
                    case Finish(code):
                        self._finish(code)
                    case _:
                        assert_never(effect)
        self._rearm()
        self._tell(reports)

    def _start(self, instance: int) -> None:
        if instance > 1:
            self._terminal.restore()
        variables = environment.of_instance(self._environment, self._link.name, instance)
        self._machine.happen(self._family.start(variables), self._loop.time())

    def _signal(self, number: int, scope: Scope) -> None:
        if scope is Scope.REST:
            self._family.signal_rest(number)
        elif not self._family.signal_main(number):
            self._say(f"not permitted to send {signal_name(number)} to process {self._family.main}")

    def _continue(self) -> None:
        # A job that was continued may have been stopped again meanwhile; the kernel drops SIGCONT then.
        if not signal.sigpending() & JOB_CONTROL:
            self._signal(signal.SIGCONT, Scope.MAIN)

    def _suspend(self, number: int) -> None:
        self._link.tell()
        suspend_by(number)
        if not signal.sigpending() & {signal.SIGCONT, *JOB_CONTROL}:  # else what is read next says how it goes on
            self._machine.happen(Resumed(), self._loop.time())

    def _finish(self, code: int) -> None:
        if not self._finished.done():
            self._finished.set_result(code)

    def _rearm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._machine.next_deadline()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._expire)

    # -- what is said

    def _tell(self, reports: Sequence[Report]) -> None:
        for report in reports:
            if text := report_text(report):
                self._detail = text[:DETAIL_LENGTH_MAX]
                self._say(text)
        self._link.tell()

    def _progress(self) -> Progress:
        life = self._machine.life
        return Progress(life.state, life.instance, life.pid, self._detail)

    def _speak(self, text: str) -> None:
        say(f"{self._options.name}: {text}")

    def _keep_quiet(self, text: str) -> None:
        """What --quiet does with words."""

    def _mishap(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A bug: nothing can be relied on any more, so end loudly rather than watch badly."""
        error = context.get("exception")
        say(f"a bug; please report it: {context.get('message', '')}")
        if error is not None:
            say("".join(traceback.format_exception(error)))
        self._finish(EXIT_FAILED)


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
