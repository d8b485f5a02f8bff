"""totemctl against a real executive with fake children: words, JSON, exit codes."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from executivekit import FakeNode
from totemd.executive.control.main import main
from totemd.executive.control.main import totemctl as main_group
from totemd.ipc.paths import EXECUTIVE_SOCKET


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def cells(self) -> list[list[str]]:
        return [line.split() for line in self.out.splitlines()]


class Totemctl:
    """Runs commands as they would be typed."""

    def __init__(self, run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._run_dir = run_dir
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Done:
        self._capsys.readouterr()
        code = main(["--run-dir", str(self._run_dir), *arguments])
        return Done(code, *self._capsys.readouterr())


@pytest.fixture
def totemctl(running_node: FakeNode, capsys: pytest.CaptureFixture[str]) -> Totemctl:
    """For the node that is only looked at."""
    return Totemctl(running_node.run_dir, capsys)


def test_status_for_programs(totemctl: Totemctl, running_node: FakeNode) -> None:
    for done in (totemctl("--json", "status"), totemctl("status", "--json")):
        assert (done.code, done.err) == (0, "")
        status = done.json
        assert running_node.process is not None
        assert {key: status[key] for key in status if key not in ("processes", "uptime_seconds", "version")} == {
            "node_id": 1,
            "name": "alpha",
            "cluster_name": "fake",
            "state": "operational",
            "ring_id": {"representative": 1, "sequence": 8},
            "members": [1, 2],
            "quorate": None,
            "pid": running_node.process.pid,
            "transport": "udpu",
            "cipher": "aes256",
            "token_ms": 1650,
            "consensus_ms": 1980,
            "config_version": 0,
            "configuration_files": [str(running_node.configuration)],
            "run_dir": str(running_node.run_dir),
        }
        assert list(status["processes"]) == ["totem", "cpg", "sam"]
        assert status["processes"]["totem"].keys() == {"pid", "restarts", "state", "last_exit"}
        assert status["processes"]["totem"]["state"] == "running"


def test_status_for_people(totemctl: Totemctl) -> None:
    done = totemctl("status")
    assert done.code == 0
    assert ["Ring", "1.8"] in done.cells
    assert ["State", "operational"] in done.cells
    assert ["Members", "1", "2"] in done.cells
    assert ["PROCESS", "PID", "STATE", "RESTARTS", "LAST", "EXIT"] in done.cells
    assert not [line for line in done.out.splitlines() if line.endswith(" ")]


def test_members(totemctl: Totemctl) -> None:
    assert totemctl("--json", "members").json == [
        {"node_id": 1, "name": "alpha", "addresses": ["127.0.0.1"], "state": "joined", "local": True},
        {"node_id": 2, "name": "beta", "addresses": ["127.0.0.2"], "state": "joined", "local": False},
        {"node_id": 3, "name": "", "addresses": ["127.0.0.3"], "state": "absent", "local": False},
    ]
    assert totemctl("members").cells[1:] == [
        ["1", "(local)", "alpha", "127.0.0.1", "joined"],
        ["2", "beta", "127.0.0.2", "joined"],
        ["3", "-", "127.0.0.3", "absent"],
    ]


def test_groups(totemctl: Totemctl) -> None:
    assert totemctl("groups", "--json").json == [
        {"name": "chat", "members": [{"node_id": 1, "pid": 100}, {"node_id": 2, "pid": 200}]},
        {"name": "\udcff\\", "members": [{"node_id": 1, "pid": 7}]},
    ]
    assert totemctl("groups").cells == [
        ["GROUP", "NAME", "PID", "NODE", "ID"],
        ["chat", "100", "1"],
        ["200", "2"],
        [r"\udcff\\", "7", "1"],
    ]


def test_apps(totemctl: Totemctl) -> None:
    assert totemctl("--json", "apps").json == [
        {"name": "app", "node_id": 1, "pid": 0, "state": "backoff", "instance": 2, "policy": "restart"}
    ]
    assert totemctl("apps").cells[1] == ["app", "1", "-", "backoff", "2", "restart"]


def test_metrics(totemctl: Totemctl) -> None:
    text = totemctl("metrics").out
    assert 'totemd_child_restarts_total{child="cpg",process="executive"} 0.0\n' in text
    for name in ("totemd_child_restarts_total", "totemd_control_malformed_total"):
        assert f"# TYPE {name} counter\n" in text, "it only grows"
    for process in ("totem", "cpg", "sam"):
        assert f'totemd_fake{{process="{process}"}} 1.0\n' in text
    told = totemctl("metrics", "--json").json
    assert {
        "name": "totemd_fake",
        "kind": "gauge",
        "value": 1,
        "help": "A fake.",
        "labels": {"process": "sam"},
    } in told


def test_cmap_list_and_get(totemctl: Totemctl) -> None:
    listed = totemctl("cmap", "list").out.splitlines()
    assert listed == sorted(listed)
    assert "totem.token (u32) = 1000" in listed
    assert "runtime.config.totem.token (u32) = 1650" in listed
    assert "nodelist.node.0.name (str) = alpha" in listed
    assert totemctl("cmap", "list", "runtime.members.2.").out.splitlines() == [
        "runtime.members.2.ip (str) = r(0) ip(127.0.0.2)",
        "runtime.members.2.status (str) = joined",
    ]
    assert totemctl("cmap", "get", "--json", "totem.token", "totem.transport").json == {
        "totem.token": 1000,
        "totem.transport": "udpu",
    }


def test_cmap_get_of_what_is_not_there(totemctl: Totemctl) -> None:
    done = totemctl("cmap", "get", "totem.token", "no.such", "key")
    assert done == Done(1, "totem.token (u32) = 1000\n", "totemctl: Can't get key no.such, key: there is no such key\n")
    told = totemctl("cmap", "get", "totem.hold").err
    assert told.endswith("there is no such key; the value that holds is that of runtime.config.totem.hold\n")


def test_top_once(totemctl: Totemctl) -> None:
    done = totemctl("top", "--once")
    assert done.code == 0
    for words in (["State", "operational"], ["2", "beta", "127.0.0.2", "joined"]):
        assert words in done.cells
    assert totemctl("--json", "top").json.keys() == {"status", "members"}


@pytest.mark.parametrize(
    "arguments", [["frobnicate"], ["status", "surplus"], ["cmap", "get"], ["cmap", "set", "totem.token"], ["--bad"], []]
)
def test_usage(totemctl: Totemctl, arguments: list[str]) -> None:
    done = totemctl(*arguments)
    assert done.code == 2
    assert "Usage: totemctl" in done.err


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["cmap", "--help"], ["keygen", "-h"]])
def test_help(totemctl: Totemctl, arguments: list[str]) -> None:
    done = totemctl(*arguments)
    assert (done.code, done.err) == (0, "")
    assert done.out


def test_the_tab_key_works_as_the_page_says(
    totemctl: Totemctl, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "operations.md").read_text()
    assert "_TOTEMCTL_COMPLETE=bash_source totemctl" in page
    monkeypatch.setenv("_TOTEMCTL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "totemctl memb")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit):
        totemctl()
    assert capsys.readouterr().out == "plain,members\n"


def _groups(command: click.Command, *words: str) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        yield words
        for name, each in command.commands.items():
            yield from _groups(each, *words, name)


@pytest.mark.parametrize("group", [*_groups(main_group)], ids=" ".join)
def test_lists_of_commands_are_not_cut(totemctl: Totemctl, group: tuple[str, ...]) -> None:
    lines = totemctl(*group, "--help").out.splitlines()
    commands = lines[lines.index("Commands:") + 1 :]
    assert commands
    assert not [line for line in commands if line.endswith("...")], "begin with a shorter sentence"


def test_nobody_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    totemctl = Totemctl(tmp_path, capsys)
    for command in ("status", "members", "groups", "apps", "metrics", "reload", "shutdown", "top"):
        done = totemctl(command)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("totemctl: totemd is not running here: ")
        assert done.err.count("\n") == 1
        assert str(tmp_path) in done.err


def test_a_path_that_is_too_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = Totemctl(tmp_path / ("x" * 100), capsys)("status")
    assert done.code == 1
    assert "at most 107 bytes" in done.err


def test_what_changes_a_node(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    """One node for all of it, since starting one takes a while."""
    node.start()
    totemctl = Totemctl(node.run_dir, capsys)

    assert totemctl("cmap", "set", "totem.token", "1500") == Done(0, "totem.token (u32) = 1500\n", "")
    assert totemctl("--json", "status").json["token_ms"] == 2150
    node.wait(lambda: "totem token 2150" in node.events, "children know")
    refused = totemctl("cmap", "set", "totem.join", "1")
    assert refused.code == 1
    assert refused.err.startswith("totemctl: totem.join: ")
    assert "may not be less than" in refused.err
    assert totemctl("cmap", "set", "totem.transport", "udp").err == (
        "totemctl: totem.transport cannot be changed while the node runs; change the file and restart\n"
    )

    assert totemctl("reload", "--json").json == {
        "changed": ["totem.token: 1500 -> 1000"],
        "refused": [],
        "warnings": [],
    }
    assert totemctl("reload").out == "nothing has changed\n"
    node.configuration.write_text(node.configuration.read_text().replace("cluster_name: fake", "cluster_name: other"))
    assert totemctl("reload").out == "totem.cluster_name: fake -> other (not while the node runs; restart it)\n"
    node.configuration.write_text(node.configuration.read_text().replace("totem {", "totem {\n  tokn: 5\n", 1))
    mistyped = totemctl("reload")
    assert mistyped.code == 0 and "tokn" not in mistyped.out
    assert mistyped.err.startswith(f"warning: {node.configuration}:") and "'token'" in mistyped.err
    node.configure(extra="}\n{\n")
    broken = totemctl("reload")
    assert broken.code == 1
    assert broken.err.count(f"{node.configuration}:") >= 2
    assert broken.err.count("\n") == 1

    stopped = totemctl("--json", "shutdown")
    assert node.process is not None
    assert (stopped.code, stopped.json) == (0, {"stopped": True, "pid": node.process.pid})
    assert node.exit_code() == 0
    assert "Node was shut down by sysadmin" in node.log
    assert node.events[-3:] == ["sam stops", "cpg stops", "totem stops"]
    assert totemctl("status").code == 1


def test_a_socket_left_behind_is_recognised_at_once(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    node.start()
    node.signal(signal.SIGKILL)
    node.exit_code()
    assert (node.run_dir / EXECUTIVE_SOCKET).exists()
    done = Totemctl(node.run_dir, capsys)("status")
    assert (done.code, done.err) == (
        1,
        f"totemctl: totemd is not running here: nobody serves at {node.run_dir / EXECUTIVE_SOCKET}\n",
    )


def test_children_that_are_away(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    node.start()
    for name in ("cpg", "sam"):
        node.mode(name, "never ready")
        os.kill(node.pids()[name], signal.SIGKILL)
    node.wait(lambda: {"cpg starting", "sam starting"} <= {f"{k} {v}" for k, v in node.states().items()}, "away")
    totemctl = Totemctl(node.run_dir, capsys)
    for command, child in (("groups", "cpg"), ("apps", "sam")):
        done = totemctl(command)
        assert done.code == 1
        assert done.err.startswith(f"totemctl: {'the ' if 'process' in done.err else ''}{child} ")
    assert totemctl("status").code == 0
    assert "totemd_child_running" in totemctl("metrics").out


def test_members_while_the_ring_process_is_away(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    node.start()
    node.mode("totem", "never ready")
    os.kill(node.pids()["totem"], signal.SIGKILL)
    node.wait(lambda: node.states().get("totem") == "starting", "totem starts again")
    totemctl = Totemctl(node.run_dir, capsys)
    for command in (["members"], ["top", "--once"]):
        done = totemctl(*command)
        assert (done.code, done.err) == (0, "")
        assert ["1", "(local)", "alpha", "127.0.0.1", "unknown"] in done.cells
        assert "The totem process does not answer, so who is in the ring is not known" in done.out
        assert "absent" not in done.out
    assert {each["state"] for each in totemctl("--json", "members").json} == {"unknown"}


def test_keygen(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    totemctl = Totemctl(tmp_path, capsys)
    key = tmp_path / "authkey"
    assert totemctl("keygen", "-k", str(key)) == Done(
        0, f"wrote a key of 1024 bits to {key}; copy it to every node of the cluster\n", ""
    )
    first = key.read_bytes()
    assert (len(first), stat.S_IMODE(key.stat().st_mode)) == (128, 0o400)
    refused = totemctl("keygen", "-k", str(key))
    assert refused.code == 1
    assert "--force" in refused.err
    assert key.read_bytes() == first
    assert totemctl("--json", "keygen", "-k", str(key), "-s", "2048", "--force").json == {
        "path": str(key),
        "bits": 2048,
    }
    assert len(key.read_bytes()) == 256
    for bits in ("1000", "1025", "many"):
        assert totemctl("keygen", "-k", str(tmp_path / "other"), "-s", bits).code == 2
    monkeypatch.setenv("COROSYNC_TOTEM_AUTHKEY_FILE", str(tmp_path / "named"))
    assert totemctl("keygen").code == 0
    assert (tmp_path / "named").exists()
