"""Real small processes seen from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from samkit import PATIENCE_SECONDS
from totemd.sam.probe import Finding, Process, PsutilProbe, kill_all
from totemd.testing import wait_until

PROBE = PsutilProbe()
Children = list[subprocess.Popen[bytes]]


def sleeper(children: Children) -> subprocess.Popen[bytes]:
    children.append(subprocess.Popen(["sleep", "1000"]))
    return children[-1]


def until(process: Process, finding: Finding) -> None:
    wait_until(lambda: process.look() is finding, PATIENCE_SECONDS, lambda: f"{finding}, not {process.look()}")


def test_alive_stopped_alive_zombie_gone(children: Children) -> None:
    child = sleeper(children)
    seen = PROBE.find(child.pid)
    assert seen is not None and seen.pid == child.pid
    until(seen, Finding.ALIVE)
    assert seen.send(signal.SIGSTOP)
    until(seen, Finding.STOPPED)
    assert seen.send(signal.SIGCONT)
    until(seen, Finding.ALIVE)
    assert seen.send(signal.SIGKILL)
    until(seen, Finding.ZOMBIE)
    child.wait()
    until(seen, Finding.GONE)
    assert not seen.send(signal.SIGTERM)


def test_a_pid_that_nobody_has(children: Children) -> None:
    child = sleeper(children)
    child.kill()
    child.wait()
    assert PROBE.find(child.pid) is None
    assert PROBE.descendants(child.pid) == []


def test_a_process_is_its_pid_and_its_time_of_creation(children: Children) -> None:
    child = sleeper(children)
    one, same, other = PROBE.find(child.pid), PROBE.find(child.pid), PROBE.find(os.getpid())
    assert one == same and hash(one) == hash(same)
    assert one != other


def test_only_a_child_of_the_named_parent_is_found(children: Children) -> None:
    child = sleeper(children)
    assert PROBE.find(child.pid, parent=os.getpid()) is not None
    assert PROBE.find(child.pid, parent=1) is None


def test_a_program_whose_first_thread_has_ended_lives(children: Children) -> None:
    """Its state is Z, as that of a zombie; the other threads go on."""
    program = (
        "import ctypes, threading, time\n"
        "threading.Thread(target=time.sleep, args=(1000,)).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    children.append(subprocess.Popen([sys.executable, "-S", "-c", program]))
    pid = children[-1].pid

    def first_thread_has_ended() -> bool:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"

    wait_until(first_thread_has_ended, PATIENCE_SECONDS, "the first thread ends")
    seen = PROBE.find(pid)
    assert seen is not None and seen.look() is Finding.ALIVE


def test_a_family_is_found_and_killed_whole(children: Children) -> None:
    children.append(subprocess.Popen(["sh", "-c", "(sleep 1000 & sleep 1000; true) & sleep 1000 & sleep 1000; true"]))
    parent = children[-1].pid
    wait_until(lambda: len(PROBE.descendants(parent)) == 5, PATIENCE_SECONDS, lambda: f"{PROBE.descendants(parent)}")
    family = PROBE.descendants(parent)
    assert kill_all(lambda: PROBE.descendants(parent)) == 5
    # Those whose parent waits for them are gone; a zombie may be left with whoever inherits it.
    wait_until(
        lambda: all(each.look() in (Finding.GONE, Finding.ZOMBIE) for each in family), PATIENCE_SECONDS, "all end"
    )


class Made:
    """A process that notes the signals it gets."""

    def __init__(self, pid: int) -> None:
        self.pid, self.got = pid, list[int]()

    def look(self) -> Finding:
        return Finding.ALIVE

    def send(self, number: int) -> bool:
        self.got.append(number)
        return True


class Forking:
    """A family that has one member more at each of the first looks."""

    def __init__(self, looks: int) -> None:
        self.members: list[Process] = []
        self.left = looks

    def find(self, pid: int, parent: int = 0) -> Process | None:
        return None

    def descendants(self, pid: int) -> list[Process]:
        if self.left:
            self.left -= 1
            self.members.append(Made(len(self.members)))
        return list(self.members)


def test_a_family_that_forks_while_it_is_killed_is_stopped_first() -> None:
    forking = Forking(3)
    assert kill_all(lambda: forking.descendants(1)) == 3
    assert all(each.got == [signal.SIGSTOP, signal.SIGKILL] for each in forking.members if isinstance(each, Made))
