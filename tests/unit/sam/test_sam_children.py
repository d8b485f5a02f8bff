"""Several applications in one process: whose a process is that has lost its parent.  Real processes.

The keeper under test is a process apart, because it takes every child of the process that it is in.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from samkit import PATIENCE_SECONDS
from totemd.sam.children import REAPED_AT_ONCE, Children
from totemd.sam.events import Ending
from totemd.sam.probe import PsutilProbe

KEEPER = """
import json, os, select, signal, sys
from totemd.sam import environment
from totemd.sam.children import Children
from totemd.sam.events import Exited, TreeGone
from totemd.sam.family import Family
from totemd.sam.launch import Launch
from totemd.sam.linux import SignalReader, become_subreaper
from totemd.sam.probe import PsutilProbe

become_subreaper()
reader = SignalReader({signal.SIGCHLD})
probe = PsutilProbe()
children = Children(probe)
said = []

def family(name, script):
    launch = Launch(("sh", "-c", script), reader.mask_before, own_session=True)
    made = Family(name, launch, children, probe, lambda event: said.append((name, type(event).__name__,
        getattr(event, "left_behind", None))))
    variables = environment.of_instance({**os.environb, b"TOTEMD_SAM_PID": b"%d" % os.getpid()}, name, 1)
    made.start(variables)
    return made

def until(condition):
    while not condition():
        select.select([reader.fileno()], [], [], 0.05)
        for _ in reader.read():
            pass
        children.reap()

# `same` leaves a process in its session; `other` one in another session, known by its environment; `none` nothing.
same = family("same", "sleep 1000 & exit 1")
other = family("other", "setsid sleep 1000 & sleep 0.2; exit 2")
none = family("none", "exit 3")
stays = family("stays", "exec sleep 1000")
until(lambda: sum(kind == "Exited" for _, kind, _ in said) == 3)
strays = {each.name: len(children.strays(each)) for each in (same, other, none, stays)}
other.kill()
until(lambda: ("other", "TreeGone", None) in said)
still = {each.name: len(children.strays(each)) for each in (same, other, none, stays)}
same.kill()
until(lambda: ("same", "TreeGone", None) in said)
lives = stays.main != 0 and stays.exists
helped = []
pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 7"], {})
children.help(pid, lambda ending: helped.append(ending.code))
until(lambda: helped)
stays.kill()
until(lambda: not stays.exists)
print(json.dumps({"said": said, "strays": strays, "still": still, "lives": lives, "helped": helped,
    "unknown": children.unknown()}))
"""


def test_each_stray_is_given_to_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", KEEPER], capture_output=True, timeout=PATIENCE_SECONDS, check=True)
    told = json.loads(done.stdout)
    assert told["strays"] == {"same": 1, "other": 1, "none": 0, "stays": 0}
    assert told["still"] == {"same": 1, "other": 0, "none": 0, "stays": 0}
    assert told["lives"] and told["helped"] == [7] and told["unknown"] == []
    said = [tuple(each) for each in told["said"]]
    assert {("same", "Exited", True), ("other", "Exited", True), ("none", "Exited", False)} <= {*said}
    assert [each for each in said if each[1] == "TreeGone"] == [("other", "TreeGone", None), ("same", "TreeGone", None)]


def test_ends_are_dealt_with_a_few_at_a_time_however_many_signals_tell_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else those that end as soon as they are started have all of the loop's time."""
    ends = iter([SimpleNamespace(si_pid=pid, si_code=os.CLD_EXITED, si_status=0) for pid in range(1, 101)])
    monkeypatch.setattr("totemd.sam.children._next_status", lambda: next(ends, None))
    children, ended = Children(PsutilProbe()), list[Ending]()
    for pid in range(1, 101):
        children.help(pid, ended.append)

    async def live() -> None:
        while len(ended) < 100:
            before = len(ended)
            for _ in range(3):
                children.reap()
            by_signals = len(ended)
            await asyncio.sleep(0)
            assert max(by_signals - before, len(ended) - by_signals) <= REAPED_AT_ONCE

    asyncio.run(live())
