"""totemd.testing itself: what it promises to those who test with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from kit.command import alive, environment
from totemd.ipc.errors import OperationFailed
from totemd.testing import Cluster, NotInTime, wait_until

ABANDONED = """
import os, signal
from totemd.testing import Cluster
cluster = Cluster(2, token=500).__enter__()
print(cluster.directory, *(process.pid for node in cluster for process in node.processes()), flush=True)
cluster[2].pause()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_is_left_when_the_tests_are_killed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ABANDONED], capture_output=True, text=True, env=environment(), check=False, timeout=90
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    directory, *pids = done.stdout.split()
    wait_until(lambda: not any(alive(int(pid)) for pid in pids), 30, "all processes are gone")
    wait_until(lambda: not Path(directory).exists(), 30, "the directory is gone")


ABANDONED_APPLICATIONS = """
import os, signal, subprocess, sys
sys.path.insert(0, sys.argv[1])
from kit.command import SAM_RUN
from kit.declared import Declared
from totemd.testing import Cluster
declared = Declared(Cluster(1, start=False, faults=False).__enter__()[1])
declared.declare(declared.app("kept"), reload=False)
declared.node.start()
words = ["--run-dir", str(declared.node.run_dir), "--", "sh", "-c", "echo $PPID $$; exec setsid sleep 1000"]
alone = subprocess.Popen([*SAM_RUN, *words], stdout=subprocess.PIPE, text=True, start_new_session=True)
print(declared.node.run_dir.parent.parent, declared.started("kept").pid, declared.keeper, alone.stdout.readline())
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_applications_and_who_keeps_them_are_not_left_either() -> None:
    command = [sys.executable, "-c", ABANDONED_APPLICATIONS, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False, timeout=90)
    assert done.returncode == -signal.SIGKILL, done.stderr
    directory, *pids = done.stdout.split()
    assert len(pids) == 4 and "0" not in pids
    wait_until(lambda: not any(alive(int(pid)) for pid in pids), 30, "all processes are gone")
    wait_until(lambda: not Path(directory).exists(), 30, "the directory is gone")


def test_nothing_is_left_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), Cluster(1) as cluster:
        pids = [process.pid for process in cluster[1].processes()]
        cluster[1].pause()
        raise ZeroDivisionError
    assert not any(alive(pid) for pid in pids)
    assert not cluster.directory.exists()


def test_clusters_do_not_share_addresses() -> None:
    with Cluster(2, start=False) as one, Cluster(2, start=False) as other:
        assert not set(one.addresses.values()) & set(other.addresses.values())


def test_the_fixture_makes_clusters_and_ends_them(totemd_cluster: Callable[..., Cluster]) -> None:
    cluster = totemd_cluster(1)
    assert cluster[1].status().members == (1,)


def test_waiting_in_vain_says_where_everybody_stands(trio: Cluster) -> None:
    with pytest.raises(NotInTime, match="operational"):
        trio.wait_for_ring({1, 2}, timeout=0.1)


def test_a_node_that_cannot_start_says_why() -> None:
    with Cluster(1, start=False, token="soon") as cluster, pytest.raises(OperationFailed, match=r"conf:\d+: .*token"):
        cluster[1].start()


def test_one_process_can_be_killed_and_named(trio: Cluster) -> None:
    before = trio[1].pid("sam")
    assert trio[1].kill_process("sam") == before
    wait_until(lambda: trio[1].status().processes["sam"].pid not in (0, before), 60, "sam is back")
    assert trio[1].status().processes["sam"].restarts >= 1
    assert trio[1].pid() == os.getpgid(trio[1].pid())


def test_a_node_can_be_started_by_another_program() -> None:
    with Cluster(2, faults=False, port=5405, launchers={2: ["env", "LAUNCHED=yes"]}) as cluster:
        environments = [psutil.Process(node.pid()).environ() for node in cluster]
        assert ["LAUNCHED" in each for each in environments] == [False, True]
        assert cluster.port == 5405
