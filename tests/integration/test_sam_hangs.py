"""An application that hangs is found in time, however it hangs and by whatever it is watched.

The times are those that the application itself writes down: just before its last sign of life, and when the warning
reaches it.  So starting a process, the slowest thing on a busy machine, is no part of them.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import lateness
from kit.command import alive
from kit.supervised import FIRST, SAY, Start, sam_runs, words

INTERVAL = 1.0
GRACE = 1.0
"""A hang is found within the interval and this."""

HANGS = {
    "busy": "while True: pass",
    "deadlock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
}

PROGRAM = f"""
import os, signal, socket, sys, threading, time
print(os.environ["TOTEMD_SAM_INSTANCE"], os.getpid(), flush=True)
if not {FIRST}:
    signal.pause()
def note(word):
    print(word, time.monotonic(), flush=True)
def warned(*_):
    note("warned")
    os._exit(1)
signal.signal(signal.SIGTERM, warned)
"""

BY_HEALTH_CHECKS = """
from totemd import sam
sam.register()
sam.start()
note("last")
sam.health_check()
"""

BY_HEARTBEATS = """
address = os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1)
note("last")
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"WATCHDOG=1", address)
"""

BY_ITS_STATE = """
note("last")
os.kill(os.getpid(), signal.SIGSTOP)
"""

MILLISECONDS = f"{INTERVAL * 1000:g}"
HEARTBEATS = ("--health", "heartbeat", "--health-interval", MILLISECONDS, "--health-failures", "1")

CASES = {
    "stopped": (("--interval", MILLISECONDS), BY_ITS_STATE),
    **{f"{name}, health checks": (("--interval", MILLISECONDS), BY_HEALTH_CHECKS + how) for name, how in HANGS.items()},
    **{f"{name}, heartbeats": (HEARTBEATS, BY_HEARTBEATS + how) for name, how in HANGS.items()},
}


@pytest.fixture
def sam_run(tmp_path: Path) -> Iterator[Start]:
    """Without a node: whether an application lives is between it and its sam-run."""
    with (
        tempfile.TemporaryDirectory(prefix="hangs-", dir="/tmp") as run_dir,
        sam_runs(Path(run_dir), tmp_path) as start,
    ):
        yield start


@pytest.mark.parametrize("case", CASES)
def test_a_hang_is_found_in_time(sam_run: Start, case: str) -> None:
    options, program = CASES[case]
    with lateness.watched() as late:
        process = sam_run(*options, program=PROGRAM + program)
        assert words(process)[0] == "1"
        said = {}
        while (line := words(process))[0] != "2":
            said[line[0]] = float(line[1])
    took = said["warned"] - said["last"]
    assert INTERVAL <= took < INTERVAL + GRACE + late.between(said["last"], said["warned"])


def test_a_deadlock_is_found_by_a_command(sam_run: Start, tmp_path: Path) -> None:
    """A probe that is answered by a thread would not see it; one that asks for work does."""
    program = f"""{SAY}
while True:
    open('work', 'w').close()
    time.sleep(0.05)
    if {FIRST} and os.path.exists('hang'):
        signal.pause()
"""
    check = "exec:test -n \"$(find work -newermt '-1 second')\""
    options = ("--health", check, "--health-interval", "500", "--health-failures", "1", "--interval", "300")
    process = sam_run(*options, "--ready", "probe", program=program)
    words(process)
    (tmp_path / "hang").touch()
    assert words(process)[0] == "2"


def test_one_that_does_not_heed_sigterm_is_killed_with_its_grandchildren(sam_run: Start) -> None:
    program = f"""{SAY}
import subprocess
signal.signal(signal.SIGTERM, signal.SIG_IGN)
script = "trap '' TERM; (trap '' TERM; setsid sh -c 'echo $$; exec sleep 1001' & ); echo $$; exec sleep 1000"
child = subprocess.Popen(["sh", "-c", script])
signal.pause()
"""
    process = sam_run("--interval", "500", program=program)
    family = [int(words(process)[1]), int(words(process)[0]), int(words(process)[0])]
    os.kill(family[0], signal.SIGSTOP)
    assert words(process)[0] == "2"
    assert not any(alive(pid) for pid in family)
