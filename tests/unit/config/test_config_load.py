"""Files, environment and the real machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from totemd.executive.config import load as loading
from totemd.executive.config.host import IP_VERSIONS, Unresolved
from totemd.executive.config.load import FILE_BYTES_MAX, Machine, load
from totemd.executive.config.model import Configuration, NodeEntry
from totemd.ipc.errors import ConfigurationError

Host = Callable[..., Any]

LOOPBACK = "totem {\n version: 2\n}\nnodelist {\n node {\n ring0_addr: 127.0.0.5\n nodeid: 5\n }\n}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "corosync.conf"
    path.write_text(LOOPBACK)
    return path


@pytest.fixture
def no_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A default path that does not exist."""
    missing = tmp_path / "etc" / "corosync.conf"
    monkeypatch.setattr(loading, "DEFAULT_CONFIG_FILE", missing)
    return missing


def test_a_file_by_path_and_by_environment(file: Path, tmp_path: Path) -> None:
    by_path = load(file, environ={"COROSYNC_MAIN_CONFIG_FILE": str(tmp_path / "nowhere")})
    by_environment = load(environ={"COROSYNC_MAIN_CONFIG_FILE": str(file)})
    assert by_path == by_environment
    assert by_path.sources == (str(file),)
    assert by_path.nodes == (NodeEntry(5, "", ("127.0.0.5",)),)


def test_without_any_file_a_lone_node_on_loopback(no_default: Path, scripted_host: Host) -> None:
    configuration = load(environ={}, host=scripted_host())
    assert configuration.nodes == (NodeEntry(1, "", ("127.0.0.1",)),)
    assert configuration.local_node_id == 1
    assert configuration.sources == ()
    assert len(configuration.notices) == 1
    for fact in (str(no_default), "node id 1", "127.0.0.1", "5405", "3000 ms", "not encrypted"):
        assert fact in configuration.notices[0]


def test_the_default_file_is_read_if_it_is_there(no_default: Path) -> None:
    no_default.parent.mkdir()
    no_default.write_text(LOOPBACK)
    assert load(environ={}).local_node_id == 5


@pytest.mark.parametrize("by_environment", [False, True])
def test_a_named_file_must_be_there(tmp_path: Path, no_default: Path, by_environment: bool) -> None:
    missing = tmp_path / "missing.conf"
    with pytest.raises(ConfigurationError, match=r"Can't read file .*missing\.conf: No such file or directory"):
        if by_environment:
            load(environ={"COROSYNC_MAIN_CONFIG_FILE": str(missing)})
        else:
            load(missing, environ={})


def test_what_is_no_file_or_too_long(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Can't read file"):
        load(tmp_path, environ={})
    endless = tmp_path / "endless"
    with endless.open("wb") as stream:
        stream.truncate(FILE_BYTES_MAX + 1)
    with pytest.raises(ConfigurationError, match="more than"):
        load(endless, environ={})


def test_bytes_that_are_no_text(file: Path) -> None:
    file.write_bytes(b"# caf\xe9\n" + LOOPBACK.encode() + b"x: \xff\n")
    with pytest.raises(ConfigurationError) as caught:
        load(file, environ={})
    assert caught.value.problems == (f"{file}:11: byte 0xff at column 4 is not UTF-8; save the file as UTF-8",)


def test_a_byte_order_mark_and_crlf(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + LOOPBACK.replace("\n", "\r\n").encode())
    assert load(file, environ={}).local_node_id == 5


def test_drop_ins_in_order_of_their_names(file: Path, tmp_path: Path) -> None:
    directory = tmp_path / "uidgid.d"
    directory.mkdir()
    (directory / "b").write_text("uidgid {\n uid: 5\n}")
    (directory / "a").write_text("uidgid {\n gid: 6\n}")
    (directory / ".hidden").write_text("nonsense")
    (directory / "deeper").mkdir()
    configuration = load(file, environ={})
    assert configuration.access.uids == (5,)
    assert configuration.access.gids == (6,)
    assert configuration.sources == (str(file), str(directory / "a"), str(directory / "b"))


def test_mistakes_of_all_files_at_once(file: Path, tmp_path: Path) -> None:
    file.write_text("totem {\n version: 2\n token: x\n}\n" + LOOPBACK)
    directory = tmp_path / "uidgid.d"
    directory.mkdir()
    (directory / "a").write_text("totem {\n}")
    with pytest.raises(ConfigurationError) as caught:
        load(file, environ={})
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == [f"{file}:3", f"{directory / 'a'}:1"]


def test_strict(file: Path) -> None:
    file.write_text(LOOPBACK + "foo: bar\n")
    assert load(file, environ={}).cmap["foo"] == "bar"
    with pytest.raises(ConfigurationError, match="unknown option 'foo'"):
        load(file, environ={}, strict=True)


def test_text_at_the_end_of_the_file(file: Path) -> None:
    assert load(file, environ={}, more="totem {\n token: 5000\n}").totem.token == 5000


def test_key_file(file: Path) -> None:
    assert load(file, environ={}).totem.keyfile == "/etc/corosync/authkey"
    assert load(file, environ={"COROSYNC_TOTEM_AUTHKEY_FILE": "/k"}).totem.keyfile == "/k"
    file.write_text(LOOPBACK + "totem {\n keyfile: mine\n}")
    named = load(file, environ={"COROSYNC_TOTEM_AUTHKEY_FILE": "/k"})
    assert named.totem.keyfile == str(file.parent / "mine")


def test_a_key_in_a_file_that_everybody_can_read(file: Path) -> None:
    file.write_text(LOOPBACK + f"totem {{\n secauth: on\n key: {'k' * 200}\n}}")
    file.chmod(0o644)
    assert any("the cluster key can be read by every user" in notice for notice in load(file, environ={}).notices)
    file.chmod(0o600)
    assert not any("every user" in notice for notice in load(file, environ={}).notices)


@pytest.mark.parametrize(
    ("euid", "run_dir", "environ", "expected"),
    [
        (0, None, {}, "/var/lib/corosync"),
        (0, None, {"STATE_DIRECTORY": "/a:/b"}, "/a"),
        (0, "/r", {"STATE_DIRECTORY": "/a"}, "/r/state"),
        (0, None, {"COROSYNC_RUN_DIR": "/r"}, "/r/state"),
        (0, "/q", {"COROSYNC_RUN_DIR": "/r"}, "/q/state"),
        (1000, None, {"XDG_RUNTIME_DIR": "/run/user/1000"}, "/run/user/1000/totemd/state"),
        (1000, None, {"XDG_RUNTIME_DIR": "/run/user/1000", "STATE_DIRECTORY": "/a"}, "/a"),
        (1000, "/r", {}, "/r/state"),
    ],
)
def test_state_directory(  # noqa: PLR0917
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    euid: int,
    run_dir: str | None,
    environ: dict[str, str],
    expected: str,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    assert load(file, run_dir=run_dir, environ=environ).system.state_dir == expected
    file.write_text(LOOPBACK + "system {\n state_dir: /given\n}")
    assert load(file, run_dir=run_dir, environ=environ).system.state_dir == "/given"


def test_the_real_machine() -> None:
    machine = Machine()
    assert machine.host_name() == os.uname().nodename
    assert any(str(own.ip) == "127.0.0.1" and own.network.prefixlen == 8 for own in machine.local_addresses())
    assert machine.resolve("127.0.0.1", IP_VERSIONS["ipv6-4"]) == "127.0.0.1"
    assert machine.resolve("::1", IP_VERSIONS["ipv4-6"]) == "::1"
    assert machine.user_id("root") == 0
    assert machine.group_id("root") == 0
    assert machine.user_id("no such user") is None
    assert machine.group_id("no such group") is None


@pytest.mark.parametrize("name", ["::1", "a" * 300, "x" * 64 + ".y", "..", "256.256.256.256"])
def test_what_does_not_resolve(name: str) -> None:
    with pytest.raises(Unresolved):
        Machine().resolve(name, (4,))


MINIMAL_3X = """\
totem {
    version: 2
    cluster_name: my-cluster
    transport: knet
    crypto_cipher: aes256
    crypto_hash: sha256
}

nodelist {
    node {
        ring0_addr: 192.0.2.11
        name: alpha
        nodeid: 1
    }
    node {
        ring0_addr: 192.0.2.12
        name: beta
        nodeid: 2
    }
}

quorum {
    provider: corosync_votequorum
    two_node: 1
}

logging {
    to_logfile: yes
    logfile: /var/log/corosync/corosync.log
    to_syslog: yes
}
"""

MINIMAL_2X = """\
totem {
    version: 2
    secauth: off
    cluster_name: my-cluster
    transport: udpu
}

nodelist {
    node {
        ring0_addr: 192.0.2.11
        nodeid: 1
    }
    node {
        ring0_addr: 192.0.2.12
        nodeid: 2
    }
}

quorum {
    provider: corosync_votequorum
    two_node: 1
}

logging {
    to_syslog: yes
}
"""

MINIMAL_MULTICAST = """\
totem {
    version: 2
    secauth: off
    interface {
        ringnumber: 0
        bindnetaddr: 192.0.2.0
        mcastaddr: 239.255.1.1
        mcastport: 5405
        ttl: 1
    }
}
"""


@pytest.mark.parametrize("text", [MINIMAL_3X, MINIMAL_2X, MINIMAL_MULTICAST])
@pytest.mark.parametrize("strict", [False, True])
def test_the_smallest_files_people_use_start_unchanged(
    tmp_path: Path, scripted_host: Host, text: str, strict: bool
) -> None:
    path = tmp_path / "corosync.conf"
    path.write_text(text)
    configuration = load(path, environ={}, host=scripted_host(), strict=strict)
    assert configuration.local_node.addresses == ("192.0.2.11",)
    assert configuration.interfaces[0].port == 5405
    assert configuration.totem.cipher == ("aes256" if text is MINIMAL_3X else "none")
    raw = msgspec.msgpack.encode(configuration)
    assert msgspec.msgpack.decode(raw, type=Configuration) == configuration
