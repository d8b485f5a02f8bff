"""What the signals that sam-run gets mean for the application.  Pure.

The application is in sam-run's own process group, so that a terminal treats both as one job: Ctrl-C, Ctrl-\\, Ctrl-Z,
a new window size, a read from the background reach the application from the kernel, as without sam-run.  Such a
signal is recognised by its sender and not sent a second time.  What somebody sends to sam-run alone is passed on.

| signal | from the terminal | from a process |
| --- | --- | --- |
| SIGTERM | | stop |
| SIGINT | the application's affair; if it ends, that is final | passed on; stop |
| SIGQUIT | the application's affair; if it ends, that is final | passed on; if it ends, that is final |
| SIGHUP | the terminal is gone: passed on; stop | passed on; final if it dies of it |
| SIGTSTP, SIGTTIN, SIGTTOU | sam-run stops when the application has | passed on; likewise |
| SIGCONT | | passed on |
| SIGWINCH | (the application has got it) | passed on |
| SIGUSR1, SIGUSR2, SIGALRM, real-time signals | | passed on |
"""

from __future__ import annotations

import signal

from .events import Event, Parting, Passing, Resumed, StopAsked, SuspendAsked
from .linux import SignalInfo

JOB_CONTROL = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
"""The signals by which a terminal stops a job."""

_PASSED_ON = frozenset(
    {signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGWINCH, *range(signal.SIGRTMIN, signal.SIGRTMAX + 1)}
)

MEANINGFUL = frozenset(
    {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCONT, *JOB_CONTROL, *_PASSED_ON}
)
"""The signals that have a meaning here; all others do to sam-run what they do to any program."""


def meaning(info: SignalInfo) -> Event | None:
    """What the application's life has to make of a signal; None: nothing."""
    number = info.number
    match number:
        case signal.SIGTERM:
            return StopAsked(number)
        case signal.SIGINT:
            return Parting(number, pass_on=False, only_if_killed=False) if info.from_kernel else StopAsked(number)
        case signal.SIGQUIT:
            return Parting(number, pass_on=not info.from_kernel, only_if_killed=False)
        case signal.SIGHUP:
            return StopAsked(number) if info.from_kernel else Parting(number, pass_on=True, only_if_killed=True)
        case signal.SIGCONT:
            return Resumed()
        case _ if number in JOB_CONTROL:
            return SuspendAsked(number, pass_on=not info.from_kernel)
        case _ if info.from_kernel:
            return None
        case _:
            return Passing(number)
