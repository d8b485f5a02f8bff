"""Starting processes: what they inherit, and how their end is told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from totemd.executive.runtime.child import LIFELINE_VARIABLE
from totemd.executive.supervisor.actions import Exit
from totemd.executive.supervisor.children import ChildProcess, child_environment
from totemd.executive.supervisor.specs import ChildSpec

WAIT_SECONDS = 20.0


async def run(directory: Path, program: str, act: str = "") -> tuple[str, Exit]:
    """Run a program as a child until it ends."""
    ended: asyncio.Future[tuple[str, Exit]] = asyncio.get_running_loop().create_future()
    child = ChildProcess(ChildSpec("cpg", ("-c", program)), directory, lambda name, how: ended.set_result((name, how)))
    match act:
        case "kill":
            child.kill()
        case "cut":
            child.cut_lifeline()
    result = await asyncio.wait_for(ended, WAIT_SECONDS)
    child.kill()  # harmless now
    child.cut_lifeline()
    return result


@pytest.mark.parametrize(
    ("program", "act", "how"),
    [
        ("pass", "", Exit(code=0)),
        ("raise SystemExit(7)", "", Exit(code=7)),
        ("import os; os.abort()", "", Exit(signal=signal.SIGABRT)),
        ("import time; time.sleep(60)", "kill", Exit(signal=signal.SIGKILL)),
        (f"import os; os.read(int(os.environ['{LIFELINE_VARIABLE}']), 1)", "cut", Exit(code=0)),
    ],
)
def test_the_end_is_told(tmp_path: Path, program: str, act: str, how: Exit) -> None:
    assert asyncio.run(run(tmp_path, program, act)) == ("cpg", how)


def test_what_it_inherits(tmp_path: Path) -> None:
    program = (
        "import json, os, sys; fds = [int(fd) for fd in os.listdir('/proc/self/fd')];"
        "real = [fd for fd in fds if os.path.exists(f'/proc/self/fd/{fd}')];"
        "json.dump({'arguments': sys.argv[1:], 'own_group': os.getpgid(0) == os.getpid(), 'session': os.getsid(0),"
        "'stdin': os.readlink('/proc/self/fd/0'), 'fds': real, 'safe': sys.flags.safe_path,"
        f"'lifeline': int(os.environ['{LIFELINE_VARIABLE}'])}}, open(sys.argv[2] + '/told', 'w'))"
    )
    leaked = os.open(os.devnull, os.O_RDONLY)
    try:
        assert asyncio.run(run(tmp_path, program))[1] == Exit()
    finally:
        os.close(leaked)
    told = json.loads((tmp_path / "told").read_text())
    assert told["arguments"] == ["--run-dir", str(tmp_path)]
    assert told["own_group"]
    assert told["session"] == os.getsid(0)
    assert told["stdin"] == os.devnull
    assert told["safe"]
    assert set(told["fds"]) <= {0, 1, 2, told["lifeline"]}


def test_its_environment() -> None:
    variables = child_environment({"PATH": "/bin", "NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1", "PYTHONPATH": "/x"}, 9)
    assert variables["PATH"] == "/bin"
    assert variables[LIFELINE_VARIABLE] == "9"
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & variables.keys()
    assert variables["PYTHONPATH"].split(os.pathsep)[0] == "/x"


def test_a_program_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        before = set(os.listdir("/proc/self/fd"))
        with pytest.raises(FileNotFoundError):
            ChildProcess(ChildSpec("cpg", ("-c", "")), tmp_path, lambda name, how: None)
        assert set(os.listdir("/proc/self/fd")) == before

    monkeypatch.setattr("sys.executable", "/nowhere/python")
    asyncio.run(story())
