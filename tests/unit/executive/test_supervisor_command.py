"""The command line of totemd: checks, words, exit codes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from executivekit import FakeNode
from totemd.executive import __main__ as command
from totemd.executive.runtime.version import VERSION
from totemd.executive.supervisor.detach import Announcement
from totemd.executive.supervisor.exits import ExitCode
from totemd.ipc.paths import RUN_DIR_VARIABLE

Words = pytest.CaptureFixture[str]

OPERATIONS = Path(__file__).resolve().parents[3] / "docs" / "operations.md"


def test_version(capsys: Words) -> None:
    assert command.main(["-v"]) == 0
    assert capsys.readouterr().out.startswith(f"totemd {VERSION} ")


def test_help_lists_the_exit_codes(capsys: Words) -> None:
    assert command.main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for code in ExitCode:
        assert f"{code.value} {code.meaning}" in text


def test_the_page_lists_the_exit_codes() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", OPERATIONS.read_text(), re.MULTILINE)
    assert [int(code) for code, _ in rows] == [code.value for code in ExitCode]


def test_help_and_page_name_every_run_directory(capsys: Words) -> None:
    """In the order in which they are looked for: `ipc.paths.run_dir`."""
    assert command.main(["--help"]) == 0
    (row,) = (line for line in OPERATIONS.read_text().splitlines() if line.startswith("| `/run/totemd/`"))
    for text in (capsys.readouterr().out, row):
        assert all(name in text for name in (RUN_DIR_VARIABLE, "/run/totemd", "XDG_RUNTIME_DIR", "totemd-UID"))


@pytest.mark.parametrize("arguments", [["--frobnicate"], ["-f", "-d"], ["surplus"]])
def test_usage(capsys: Words, arguments: list[str]) -> None:
    assert command.main(arguments) == 2
    assert "Usage: totemd" in capsys.readouterr().err


def test_a_good_configuration(node: FakeNode, capsys: Words) -> None:
    assert command.main(["-t", "-c", str(node.configuration)]) == 0
    assert "configuration is good: node=1 cluster=fake" in capsys.readouterr().out


def test_a_good_configuration_without_its_key_is_a_warning(node: FakeNode, capsys: Words) -> None:
    node.key.unlink()
    assert command.main(["-t", "-c", str(node.configuration)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("configuration is good: ")
    assert said.err.startswith(f"warning: Could not open {node.key}: there is no such key")


def test_all_mistakes_with_their_places(node: FakeNode, capsys: Words) -> None:
    node.configure(extra="totem {\n token: soon\n join: -1\n}\n")
    lines = len(node.configuration.read_text().splitlines())
    assert command.main(["-t", "-c", str(node.configuration)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in said] == [
        f"{node.configuration}:{lines - 2}",
        f"{node.configuration}:{lines - 1}",
    ]


def test_unknown_names_are_warnings_or_with_strict_errors(node: FakeNode, capsys: Words) -> None:
    node.configure(extra="totem {\n tokn: 5\n}\n")
    assert command.main(["-t", "-c", str(node.configuration)]) == 0
    assert "did you mean 'token'" in capsys.readouterr().err
    assert command.main(["-t", "--strict", "-c", str(node.configuration)]) == 2
    assert "did you mean 'token'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("user", "group", "word"),
    [((1, 0, 0), (1, 1, 1), "setuid"), ((1, 1, 0), (1, 1, 1), "setuid"), ((1, 1, 1), (1, 2, 2), "setgid")],
)
def test_foreign_privileges(user: tuple[int, int, int], group: tuple[int, int, int], word: str) -> None:
    with pytest.raises(command.StartRefused, match=f"totemd does not run {word}") as refused:
        command.refuse_foreign_privileges(user, group)
    assert refused.value.code is ExitCode.PRIVILEGES


def test_own_privileges() -> None:
    command.refuse_foreign_privileges((5, 5, 5), (6, 6, 6))


def test_foreign_privileges_end_the_command(monkeypatch: pytest.MonkeyPatch, capsys: Words) -> None:
    monkeypatch.setattr(os, "getresuid", lambda: (1000, 0, 0))
    assert command.main(["-t"]) == 3
    assert "setuid" in capsys.readouterr().err


def test_a_missing_file(tmp_path: Path, capsys: Words) -> None:
    assert command.main(["-c", str(tmp_path / "nowhere.conf"), "--run-dir", str(tmp_path)]) == 2
    assert str(tmp_path / "nowhere.conf") in capsys.readouterr().err


def test_a_key_that_others_can_read(node: FakeNode, capsys: Words) -> None:
    node.key.chmod(0o444)
    assert command.main(["-c", str(node.configuration), "--run-dir", str(node.run_dir)]) == 2
    assert f"chmod 0400 {node.key}" in capsys.readouterr().err
    assert list(node.run_dir.iterdir()) == []


def test_a_run_directory_that_is_open_to_everybody(node: FakeNode, capsys: Words) -> None:
    node.run_dir.chmod(0o777)
    assert command.main(["-c", str(node.configuration), "--run-dir", str(node.run_dir)]) == 16
    assert "chmod o-w" in capsys.readouterr().err


def test_a_run_directory_with_a_name_that_is_too_long(node: FakeNode, tmp_path: Path, capsys: Words) -> None:
    assert command.main(["-c", str(node.configuration), "--run-dir", str(tmp_path / ("x" * 100))]) == 16
    assert "too long for a socket" in capsys.readouterr().err


def test_a_log_file_that_cannot_be_opened(node: FakeNode, capsys: Words) -> None:
    node.configure(extra="logging {\n to_logfile: yes\n logfile: /nowhere/at/all\n}\n")
    assert command.main(["-c", str(node.configuration), "--run-dir", str(node.run_dir)]) == 7
    assert "logging.logfile /nowhere/at/all" in capsys.readouterr().err
    assert list(node.run_dir.iterdir()) == []


def test_a_pid_file_that_cannot_be_written(node: FakeNode, capsys: Words) -> None:
    (node.run_dir / "totemd.pid").mkdir()
    assert command.main(["-c", str(node.configuration), "--run-dir", str(node.run_dir)]) == 17
    assert "totemd.pid: Is a directory" in capsys.readouterr().err


def test_an_announcement_is_made_once() -> None:
    read_end, write_end = os.pipe()
    announcement = Announcement(write_end)
    announcement.make(ExitCode.CHILD_FAILED, "why")
    announcement.make(ExitCode.DONE)
    with os.fdopen(read_end, "rb") as pipe:
        assert pipe.read() == b"\x14why"
    Announcement().make(ExitCode.DONE)


def test_nobody_waits_for_the_announcement() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    Announcement(write_end).make(ExitCode.DONE, "x")
