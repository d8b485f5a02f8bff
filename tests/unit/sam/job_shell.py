"""The part of a shell that deals with one job in the foreground.  A test runs it as the leader of a session.

It makes standard input the session's terminal, reports on the descriptor that its first argument names (`job PID`,
`stopped SIGNAL`, `ended CODE`), and continues a stopped job when a line comes in on the one that its second names.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios


def report(text: str) -> None:
    os.write(int(sys.argv[1]), f"{text}\n".encode())


fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.posix_spawn(
    sys.argv[3], sys.argv[3:], os.environ, setpgroup=0, setsigdef=(signal.SIGTTOU, signal.SIGPIPE, signal.SIGXFSZ)
)
os.tcsetpgrp(0, job)
report(f"job {job}")
while True:
    _, status = os.waitpid(job, os.WUNTRACED)
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        report(f"ended {os.waitstatus_to_exitcode(status)}")
        break
    report(f"stopped {os.WSTOPSIG(status)}")
    os.read(int(sys.argv[2]), 100)
    os.tcsetpgrp(0, job)
    os.killpg(job, signal.SIGCONT)
