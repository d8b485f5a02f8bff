"""What goes on until Ctrl-C: at a terminal, in a pipe, and how it ends."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from executivekit import WAIT_SECONDS, FakeNode
from totemd.executive.control import quorum
from totemd.executive.control.main import main
from totemd.ipc.messages.quorum import Count


class Watch:
    """A command that goes on, and what it has printed."""

    def __init__(self, process: subprocess.Popen[bytes], output: int) -> None:
        self.process = process
        self._output = output
        self.printed = b""

    def read_until(self, words: bytes, times: int) -> None:
        """Go on reading until *words* have come so many times."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.printed.count(words) < times:
            ready, _, _ = select.select([self._output], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"only this came: {self.printed!r}"
            more = os.read(self._output, 65536)
            assert more, f"it has ended: {self.printed!r}"
            self.printed += more

    def end(self) -> tuple[int, bytes]:
        """Ctrl-C: the exit code, and what is on stderr."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.stderr is not None
        # What comes until the end must be read, or the command would wait for that.
        reader = subprocess.Popen(["cat"], stdin=self._output, stdout=subprocess.DEVNULL)
        try:
            return self.process.wait(WAIT_SECONDS), self.process.stderr.read()
        finally:
            reader.kill()
            reader.wait()


@contextmanager
def watching(run_dir: Path, command: str, output: tuple[int, int]) -> Iterator[Watch]:
    read_end, write_end = output
    options = [sys.executable, "-m", "totemd.executive.control", "--run-dir", str(run_dir), *command.split()]
    process = subprocess.Popen(options, stdout=write_end, stderr=subprocess.PIPE, env={**os.environ, "TERM": "xterm"})
    os.close(write_end)
    with process:
        try:
            yield Watch(process, read_end)
        finally:
            process.kill()  # before it is waited for: a test that fails is not to hang
            os.close(read_end)


@pytest.mark.parametrize(("command", "words"), [("top", b"PROCESS"), ("apps --watch", b"1 applications")])
def test_in_a_pipe_one_picture_follows_the_other(running_node: FakeNode, command: str, words: bytes) -> None:
    with watching(running_node.run_dir, command, os.pipe()) as watch:
        watch.read_until(words, 3)
        assert b"\x1b" not in watch.printed
        assert watch.end() == (0, b"")


@pytest.mark.parametrize(("command", "words"), [("top", b"PROCESS"), ("apps --watch", b"1 applications")])
def test_a_terminal_is_filled_and_given_back(running_node: FakeNode, command: str, words: bytes) -> None:
    with watching(running_node.run_dir, command, pty.openpty()) as watch:
        watch.read_until(words, 2)
        assert b"\x1b[?1049h" in watch.printed
        assert watch.end() == (0, b"")


def test_in_a_pipe_a_node_that_goes_away_is_said_once(node: FakeNode) -> None:
    node.start()
    with watching(node.run_dir, "apps --watch", os.pipe()) as watch:
        watch.read_until(b"1 applications", 1)
        node.signal(signal.SIGTERM)
        assert node.exit_code() == 0
        assert watch.process.stderr is not None
        first = watch.process.stderr.readline()
        code, rest = watch.end()
        assert code == 0
        lines = [first, *rest.splitlines(keepends=True)]
        assert lines == list(dict.fromkeys(lines)), "other words for it, maybe, as it goes down; none twice"


def test_a_monitor_that_is_ended_has_done_what_it_should(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Service:
        def __init__(self, options: Any) -> None: ...

        def __enter__(self) -> Service:
            return self

        def __exit__(self, *_: object) -> None: ...

        def changes(self) -> Iterator[Count | None]:
            yield None
            raise KeyboardInterrupt

    monkeypatch.setattr(quorum, "_Service", Service)
    assert main(["quorum", "--monitor"]) == 0
    assert capsys.readouterr() == ("The quorum service is away: not quorate\n", "")
