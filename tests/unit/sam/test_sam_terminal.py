"""sam-run in a terminal: the application has it as it would have without sam-run."""

from __future__ import annotations

import os
import pty
import shlex
import signal
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest
from samkit import PATIENCE_SECONDS, STAMP, Screen, Workshop, let_pass, runs
from totemd.testing import wait_until

LOOP = "while :; do sleep 0.02; done"


@pytest.fixture
def screen(workshop: Workshop) -> Iterator[Callable[..., Screen]]:
    """Start a sam-run whose application is a shell script, in a terminal."""
    opened: list[Screen] = []

    def start(script: str, *options: str) -> Screen:
        opened.append(Screen(workshop, "--quiet", *options, "--", "sh", "-c", script))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def stopped(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


def python(program: str) -> str:
    """Shell text that runs a Python program."""
    return shlex.join([sys.executable, "-S", "-c", program])


def test_the_application_is_in_the_foreground_of_the_terminal(
    workshop: Workshop, screen: Callable[..., Screen]
) -> None:
    program = python("import os; print(*map(int, map(os.isatty, (0, 1, 2))), int(os.tcgetpgrp(0) == os.getpgrp()))")
    started = screen(f"{program} > seen; tty > name; {program}", "--policy", "quit")
    assert started.report("ended") == "0"
    assert (workshop.directory / "seen").read_text() == "1 0 1 1\n"
    assert (workshop.directory / "name").read_text().startswith("/dev/pts/")


def test_the_application_reads_the_keyboard(workshop: Workshop, screen: Callable[..., Screen]) -> None:
    started = screen(f"{STAMP}; read line; echo $line > line; exit 4", "--policy", "quit")
    workshop.started(1)
    started.type(b"hello\n")
    assert started.report("ended") == "4"
    assert (workshop.directory / "line").read_text() == "hello\n"


def test_end_of_file_reaches_the_application(workshop: Workshop, screen: Callable[..., Screen]) -> None:
    started = screen(f"{STAMP}; cat; exit 8", "--policy", "quit")
    workshop.started(1)
    started.type(b"\x04")
    assert started.report("ended") == "8"


@pytest.mark.parametrize(("key", "code"), [(b"\x03", 130), (b"\x1c", 131)])
def test_ctrl_c_ends_the_application_for_good(
    workshop: Workshop, screen: Callable[..., Screen], key: bytes, code: int
) -> None:
    started = screen(f"{STAMP}; exec sleep 1000")
    workshop.started(1)
    started.type(key)
    assert int(started.report("ended")) == code
    assert len(workshop.stamps()) == 1


def test_ctrl_c_reaches_the_application_once_and_is_its_own_affair(
    workshop: Workshop, screen: Callable[..., Screen]
) -> None:
    started = screen(f"trap 'echo 0 0 >> got' INT; trap 'echo 0 0 >> other' USR1; {STAMP}; {LOOP}")
    workshop.started(1)
    started.type(b"\x03")
    workshop.until_stamps("got")
    os.kill(
        started.job, signal.SIGUSR1
    )  # read by sam-run after SIGINT: had it passed that on, it would be there before
    workshop.until_stamps("other")
    assert len(workshop.stamps("got")) == 1
    assert runs(started.job)


def test_ctrl_c_between_instances_ends_sam_run(workshop: Workshop, screen: Callable[..., Screen]) -> None:
    started = screen(f"{STAMP}; exit 1", "--backoff", "60000", "--backoff-max", "60000")
    pid = workshop.started(1).pid
    workshop.until_gone([pid])
    wait_until(lambda: not psutil.Process(started.job).children(), PATIENCE_SECONDS, "sam-run has noticed")
    started.type(b"\x03")
    assert started.report("ended") == "130"


# Not a shell with children: one that is stopped between its child's vfork and exec waits for ever, sam-run or not.
BEATS = """
import os, time
print(1, os.getpid(), file=open("stamps", "a", 1))
while True:
    time.sleep(0.02)
    print(0, 0, file=open("beats", "a", 1))
"""


def test_ctrl_z_stops_the_job_and_fg_continues_it(workshop: Workshop, screen: Callable[..., Screen]) -> None:
    interval = 0.1
    started = screen(f"exec {python(BEATS)}", "--interval", f"{1000 * interval:g}")
    pid = workshop.started(1).pid
    for _ in range(2):
        started.type(b"\x1a")
        assert int(started.report("stopped")) == signal.SIGTSTP
        assert stopped(pid) and stopped(started.job)
        let_pass(3 * interval)
        beats = len(workshop.stamps("beats"))
        started.continue_job()
        workshop.until_stamps("beats", beats + 1)
    assert [stamp.pid for stamp in workshop.stamps()] == [pid]


CATCHES_CTRL_Z = """
import os, signal
def tidy(*_):
    print(0, 0, file=open("tidied", "a", 1))
    {then}
signal.signal(signal.SIGTSTP, tidy)
print(1, os.getpid(), file=open("stamps", "a", 1))
while True:
    signal.pause()
"""


def test_sam_run_waits_for_an_application_that_tidies_up_first(
    workshop: Workshop, screen: Callable[..., Screen]
) -> None:
    """As full-screen programs do: they catch SIGTSTP, give the terminal back, then stop themselves."""
    started = screen(f"exec {python(CATCHES_CTRL_Z.format(then='os.kill(os.getpid(), signal.SIGSTOP)'))}")
    workshop.started(1)
    started.type(b"\x1a")
    assert int(started.report("stopped")) == signal.SIGTSTP
    assert workshop.stamps("tidied")


def test_an_application_that_ignores_ctrl_z_is_not_stopped(workshop: Workshop, screen: Callable[..., Screen]) -> None:
    started = screen(f"exec {python(CATCHES_CTRL_Z.format(then='pass'))}")
    workshop.started(1)
    for times in (1, 2):
        started.type(b"\x1a")
        workshop.until_stamps("tidied", times)
    assert not stopped(started.job)


def test_sigtstp_for_sam_run_alone_stops_the_application_too(workshop: Workshop, screen: Callable[..., Screen]) -> None:
    started = screen(f"{STAMP}; {LOOP}")
    pid = workshop.started(1).pid
    os.kill(started.job, signal.SIGTSTP)
    started.report("stopped")
    assert stopped(pid)
    started.continue_job()
    wait_until(lambda: not stopped(pid), PATIENCE_SECONDS, "both go on")


def test_a_new_window_size_reaches_the_application_once(workshop: Workshop, screen: Callable[..., Screen]) -> None:
    started = screen(f"trap 'echo 0 0 >> got' WINCH; trap 'echo 0 0 >> other' USR1; {STAMP}; {LOOP}")
    workshop.started(1)
    started.resize(30, 90)
    workshop.until_stamps("got")
    os.kill(started.job, signal.SIGUSR1)
    workshop.until_stamps("other")
    assert len(workshop.stamps("got")) == 1


def test_the_next_instance_finds_the_terminal_as_the_first_did(
    workshop: Workshop, screen: Callable[..., Screen]
) -> None:
    spoil = f"stty -g > modes.$TOTEMD_SAM_INSTANCE; stty raw -echo; {STAMP}"
    screen(f"{spoil}; [ $TOTEMD_SAM_INSTANCE = 1 ] && kill -9 $$; {LOOP}")
    workshop.started(2)
    first, second = ((workshop.directory / f"modes.{instance}").read_text() for instance in (1, 2))
    assert first == second


TAKES_THE_FOREGROUND = """
import os, signal
instance, has_it = os.environ["TOTEMD_SAM_INSTANCE"], os.tcgetpgrp(0) == os.getpgrp()
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
os.setpgid(0, 0)
os.tcsetpgrp(0, os.getpid())
print(instance, int(has_it), file=open("stamps", "a", 1))
if instance == "1":
    os.kill(os.getpid(), signal.SIGKILL)
signal.pause()
"""


def test_the_next_instance_gets_the_foreground_back(workshop: Workshop, screen: Callable[..., Screen]) -> None:
    """Interactive shells have a process group of their own; when they crash, nobody gives the terminal back."""
    screen(f"exec {python(TAKES_THE_FOREGROUND)}")
    workshop.started(2)
    assert [mine for _, mine in workshop.stamps()] == [1, 1]


def test_when_the_terminal_is_gone_everything_ends(workshop: Workshop, screen: Callable[..., Screen]) -> None:
    started = screen(f"{STAMP}; exec sleep 1000")
    pid = workshop.started(1).pid
    started.hang_up()
    workshop.until_gone([pid, started.job])
    assert len(workshop.stamps()) == 1


def test_sam_run_as_the_terminals_only_program_passes_the_hangup_on(workshop: Workshop) -> None:
    """As in `xterm -e sam-run …`: the kernel tells the leader of the session alone."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(workshop.directory)
        script = f"trap 'echo 0 0 >> got; exit 3' HUP; {STAMP}; {LOOP}"
        os.execv(sys.executable, workshop.command("--quiet", "--", "sh", "-c", script))
    app = workshop.started(1).pid
    os.close(master)
    workshop.until_gone([app])
    assert workshop.stamps("got")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
