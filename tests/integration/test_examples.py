"""The examples do what they say.  `make demo` runs examples/demo.py by itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kit.command import environment
from totemd.testing import Cluster

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Program:
    """An example on a node, with its keyboard and its screen."""

    def __init__(self, name: str, cluster: Cluster, node_id: int, *options: str) -> None:
        command = [sys.executable, str(EXAMPLES / name), *options]
        variables = environment(COROSYNC_RUN_DIR=str(cluster[node_id].run_dir), PYTHONUNBUFFERED="1")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=variables
        )

    def type(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")

    def expect(self, text: str) -> str:
        """Read lines until one holds *text*."""
        assert self._process.stdout is not None
        seen = []
        while text not in (line := self._process.stdout.readline()):
            assert line, f"it ended without saying {text!r}; it said {seen}"
            seen.append(line)
        return line

    def close(self) -> int:
        """End of input; the exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(timeout=20)

    def kill(self) -> None:
        with self._process:
            self._process.kill()


@pytest.fixture
def programs() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(programs: ExitStack, name: str, cluster: Cluster, node_id: int, *options: str) -> Program:
    program = Program(name, cluster, node_id, *options)
    programs.callback(program.kill)
    return program


def test_chat(trio: Cluster, programs: ExitStack) -> None:
    one = start(programs, "chat.py", trio, 1)
    one.expect("1 here")
    two = start(programs, "chat.py", trio, 2)
    one.expect("2 here")
    two.type("hello over there")
    assert one.expect("hello over there").startswith("2/")
    assert two.expect("hello over there").startswith("2/")
    assert two.close() == 0
    one.expect("1 here")


def test_counter(trio: Cluster, programs: ExitStack) -> None:
    one = start(programs, "counter.py", trio, 1, "--add", "5")
    one.expect("= 5")
    two = start(programs, "counter.py", trio, 2)
    two.expect("have the state: 5")
    three = start(programs, "counter.py", trio, 3, "--add", "-7")
    for program in (one, two, three):
        program.expect("= -2")


def test_the_chat_is_as_short_as_promised() -> None:
    assert len((EXAMPLES / "chat.py").read_text().splitlines()) <= 40
