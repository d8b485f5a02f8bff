"""Reading the configuration again, and values set by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from totemd.executive.supervisor.reload import Reloader
from totemd.ipc.errors import AccessDenied, ConfigurationError, InvalidArgument, NotFound

FILE = """\
totem {
    version: 2
    token: 1000
    transport: udpu
}
nodelist {
    node {
        ring0_addr: 127.0.0.1
        nodeid: 1
    }
}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "corosync.conf"
    path.write_text(FILE)
    return path


@pytest.fixture
def reloader(file: Path, tmp_path: Path) -> Reloader:
    return Reloader(file, tmp_path)


def test_a_reload_reads_the_file_again(file: Path, reloader: Reloader) -> None:
    old = reloader.load()
    file.write_text(FILE.replace("1000", "2000"))
    done = reloader.reload(old)
    assert done.configuration.totem.token == 2000
    assert [str(change) for change in done.applied] == ["totem.token: 1000 -> 2000"]


def test_a_value_set_by_hand_holds_until_the_reload(reloader: Reloader) -> None:
    old = reloader.load()
    first = reloader.set(old, "totem.token", "1500").configuration
    assert (first.totem.token, first.totem.consensus) == (1500, 1800)
    second = reloader.set(first, "logging.debug", "on").configuration
    assert (second.totem.token, second.logging.debug) == (1500, "on")
    third = reloader.reload(second).configuration
    assert (third.totem.token, third.logging.debug) == (1000, "off")


def test_a_value_is_checked_as_in_the_file(reloader: Reloader) -> None:
    old = reloader.load()
    with pytest.raises(InvalidArgument, match=r"^totem\.token: .*may not be less than \(30 ms\)"):
        reloader.set(old, "totem.token", "29")
    with pytest.raises(InvalidArgument, match=r"^totem\.token: .*integer"):
        reloader.set(old, "totem.token", "soon")
    assert reloader.set(old, "totem.join", "60").configuration.totem.token == 1000


def test_relations_are_checked_too(reloader: Reloader) -> None:
    with pytest.raises(InvalidArgument, match="consensus"):
        reloader.set(reloader.load(), "totem.join", "5000")


@pytest.mark.parametrize("value", ["1 }\nquorum {", "1\n", "{"])
def test_a_value_is_no_file(reloader: Reloader, value: str) -> None:
    with pytest.raises(InvalidArgument, match="neither braces nor line breaks"):
        reloader.set(reloader.load(), "totem.token", value)


@pytest.mark.parametrize("key", ["totem.transport", "totem.version", "nodelist.node.name", "totem.crypto_cipher"])
def test_what_cannot_change_is_refused(reloader: Reloader, key: str) -> None:
    with pytest.raises(AccessDenied, match=rf"{key} cannot be changed while the node runs"):
        reloader.set(reloader.load(), key, "x")


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("totem.tokn", "did you mean 'token'"),
        ("nonsense", "totem.token"),
        ("", "totem.token"),
        ("a.b.c", "totem.token"),
    ],
)
def test_what_does_not_exist_is_refused(reloader: Reloader, key: str, hint: str) -> None:
    with pytest.raises(NotFound, match=hint):
        reloader.set(reloader.load(), key, "x")


def test_a_broken_file_is_not_the_values_fault(file: Path, reloader: Reloader) -> None:
    old = reloader.load()
    file.write_text(FILE + "}\n")
    with pytest.raises(ConfigurationError, match=r"corosync\.conf:12: "):
        reloader.set(old, "totem.token", "1500")
