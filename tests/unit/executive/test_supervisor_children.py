"""Starting processes: what they inherit, and how their end is told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from totemd.executive.runtime.child import LIFELINE_VARIABLE
from totemd.executive.runtime.last_words import LAST_WORDS_BYTES_MAX, LAST_WORDS_VARIABLE
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


SAY = f"import os; os.write(int(os.environ['{LAST_WORDS_VARIABLE}'])"


@pytest.mark.parametrize(
    ("program", "how"),
    [
        (f"{SAY}, b'no such address'); raise SystemExit(1)", Exit(code=1, last_words="no such address")),
        (f"{SAY}, b'x' * 60000); os.abort()", Exit(signal=signal.SIGABRT, last_words="x" * LAST_WORDS_BYTES_MAX)),
        # A process of its own has the pipe, and lives on: nobody waits for what it may say.
        ("import os; os.fork() or (os.close(1), os.close(2), __import__('time').sleep(1))", Exit()),
    ],
)
def test_its_last_words_are_told(tmp_path: Path, program: str, how: Exit) -> None:
    assert asyncio.run(run(tmp_path, program)) == ("cpg", how)


def test_an_end_is_told_with_the_reason() -> None:
    assert str(Exit(code=1, last_words="cannot bind")) == "exit code 1: cannot bind"
    assert str(Exit(signal=9)) == "signal 9 (SIGKILL)"


def test_what_it_inherits(tmp_path: Path) -> None:
    program = (
        "import json, os, sys; fds = [int(fd) for fd in os.listdir('/proc/self/fd')];"
        "real = [fd for fd in fds if os.path.exists(f'/proc/self/fd/{fd}')];"
        "json.dump({'arguments': sys.argv[1:], 'own_group': os.getpgid(0) == os.getpid(), 'session': os.getsid(0),"
        "'stdin': os.readlink('/proc/self/fd/0'), 'fds': real, 'safe': sys.flags.safe_path,"
        f"'pipes': [int(os.environ[name]) for name in ('{LIFELINE_VARIABLE}', '{LAST_WORDS_VARIABLE}')]}},"
        "open(sys.argv[2] + '/told', 'w'))"
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
    assert set(told["fds"]) <= {0, 1, 2, *told["pipes"]}


def test_its_environment() -> None:
    variables = child_environment(
        {"PATH": "/bin", "NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1", "PYTHONPATH": "/x"}, {"A_FD": 9}
    )
    assert variables["PATH"] == "/bin"
    assert variables["A_FD"] == "9"
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
