"""`--detach`: sam-run in the background, or a reason why it is not there."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Iterator

import psutil
import pytest
from samkit import PATIENCE_SECONDS, STAMP, Workshop, runs
from totemd.testing import wait_until

STAY = f"{STAMP}; exec sleep 1000"


@pytest.fixture
def ended() -> Iterator[list[int]]:
    """Pids of sam-runs in the background, which are ended after the test."""
    pids: list[int] = []
    yield pids
    for pid in filter(runs, pids):
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not any(map(runs, pids)), PATIENCE_SECONDS, "all have ended")


def detached(workshop: Workshop, script: str, *options: str, **more: object) -> tuple[int, str]:
    """Exit code and output of what stays in the foreground."""
    process = workshop.shell(script, "--detach", *options, **more)
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    return workshop.finish(process), line


def test_the_supervisor_outlives_its_terminal(workshop: Workshop, ended: list[int]) -> None:
    code, line = detached(workshop, STAY, "--name", "web", "--log", "log")
    pid, name = line.split()
    ended.append(int(pid))
    assert (code, name) == (0, "web")
    first = workshop.started(1).pid
    supervisor = psutil.Process(int(pid))
    assert psutil.Process(first).ppid() == supervisor.pid
    assert os.getsid(supervisor.pid) == supervisor.pid and supervisor.terminal() is None
    os.kill(first, signal.SIGKILL)
    workshop.started(2)


@pytest.mark.parametrize("together", [False, True])
def test_who_reads_its_output_to_the_end_need_not_wait_for_the_application(
    workshop: Workshop, ended: list[int], together: bool
) -> None:
    """As `X=$(sam-run --detach …)` does, and `subprocess.run` with captured output."""
    process = subprocess.Popen(
        workshop.command("--name", "web", "-q", "--detach", "--log", f"{workshop.directory}/log", "--", "sleep", "999"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if together else subprocess.PIPE,
    )
    assert process.stdout is not None
    pid, name = process.stdout.readline().split()
    ended.append(int(pid))
    rest, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, name, rest) == (0, b"web", b"") and runs(int(pid))


def test_a_file_goes_on_taking_what_it_says(workshop: Workshop, ended: list[int]) -> None:
    _, line = detached(workshop, STAY, "--log", "log")
    ended.append(int(line.split()[0]))
    os.kill(workshop.started(1).pid, signal.SIGKILL)
    workshop.started(2)
    wait_until(lambda: "instance 2 starts" in workshop.errors, PATIENCE_SECONDS, lambda: workshop.errors)


def test_output_that_no_log_takes_stays_where_it_is(workshop: Workshop, ended: list[int]) -> None:
    process = workshop.shell(f"echo one; {STAMP}; exec sleep 1000", "--detach", "--log-stderr", "log")
    assert process.stdout is not None
    lines = sorted(process.stdout.readline() for _ in range(2))
    assert workshop.finish(process) == 0
    ended.append(int(lines[0].split()[0]))
    os.kill(workshop.started(1).pid, signal.SIGKILL)
    assert (lines[1], process.stdout.readline()) == (b"one\n", b"one\n")


def test_without_a_name_it_is_that_of_the_background(workshop: Workshop, ended: list[int]) -> None:
    _, line = detached(workshop, STAY, "--log", "log")
    pid, name = line.split()
    ended.append(int(pid))
    assert name == f"sh-{pid}"


def test_the_foreground_waits_until_it_is_ready(workshop: Workshop, ended: list[int]) -> None:
    process = workshop.shell(
        f"{STAMP}; while [ ! -e go ]; do sleep 0.02; done; echo >&3; exec sleep 1000",
        *("--detach", "--log", "log", "--ready", "fd"),
    )
    workshop.started(1)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    (workshop.directory / "go").touch()
    assert process.stdout is not None
    ended.append(int(process.stdout.readline().split()[0]))
    assert workshop.finish(process) == 0


@pytest.mark.parametrize(
    ("options", "command", "code", "says"),
    [
        (("--log", "log"), "./no-such-program", 127, "No such file"),
        (("--log", "log", "--require-sam"), "true", 125, "no sam process serves"),
        (("--log", "log", "--ready", "fd", "--max-restarts", "0"), "false", 124, "given up"),
        (("--log", "/no/such/folder/log"), "true", 125, "sam-run: log /no/such/folder/log: No such file"),
    ],
)
def test_what_cannot_start_says_so_where_it_was_started(
    workshop: Workshop, options: tuple[str, ...], command: str, code: int, says: str
) -> None:
    process = workshop.sam_run("--detach", *options, "--", command)
    assert workshop.finish(process) == code
    assert says in workshop.errors


def test_output_that_would_go_to_the_terminal_is_refused(workshop: Workshop) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        workshop.command("--detach", "--", "sleep", "1000"), stdin=slave, stdout=slave, stderr=subprocess.PIPE
    )
    os.close(slave)
    error = process.communicate(timeout=PATIENCE_SECONDS)[1].decode()
    os.close(master)
    assert process.returncode == 125 and "--log FILE" in error
