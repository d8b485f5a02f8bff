"""Every file in conf/ does what it says."""

from __future__ import annotations

import configparser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from totemd.executive.config.load import load
from totemd.executive.config.model import Configuration
from totemd.executive.supervisor.exits import ExitCode

Host = Callable[..., Any]

CONF = Path(__file__).parents[3] / "conf"
EXAMPLES = sorted(path.relative_to(CONF).as_posix() for path in CONF.rglob("*.conf"))


def read(name: str, host: Any) -> Configuration:
    return load(CONF / name, environ={}, host=host, strict=True)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_loads(name: str, scripted_host: Host) -> None:
    host = scripted_host(local=("127.0.0.1/8", "192.0.2.11/24", "2001:db8::11/64"))
    configuration = read(name, host)
    surprises = [n for n in configuration.notices if "NEITHER ENCRYPTED" not in n and "effect yet" not in n]
    assert surprises == []


def test_the_examples_are_listed() -> None:
    assert len(EXAMPLES) == 9
    listed = (CONF / "README.md").read_text()
    assert all(f"]({Path(name).parts[0]})" in listed for name in [*EXAMPLES, "totemd.service"])


def test_three_nodes_on_one_machine(scripted_host: Host) -> None:
    nodes = [read(f"three-nodes/node{number}.conf", scripted_host()) for number in (1, 2, 3)]
    assert [node.local_node_id for node in nodes] == [1, 2, 3]
    assert [node.interfaces[0].bind_address for node in nodes] == ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    assert nodes[0].nodes == nodes[1].nodes == nodes[2].nodes
    assert nodes[0].totem.token == 3650


def test_encrypted_and_ipv6(scripted_host: Host) -> None:
    assert read("encrypted.conf", scripted_host()).totem.cipher == "aes256"
    host = scripted_host(local=("2001:db8::13/64",))
    assert read("ipv6.conf", host).local_node.name == "gamma"


def test_multicast_says_what_it_is_run_as(scripted_host: Host) -> None:
    configuration = read("multicast.conf", scripted_host())
    assert any("multicast transport has no effect yet" in notice for notice in configuration.notices)
    assert configuration.interfaces[0].mcast_address == "239.255.1.1"


def test_the_unit_file() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(CONF / "totemd.service")
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["RuntimeDirectory"] == "totemd"
    assert (service["KillMode"], service["RuntimeDirectoryPreserve"]) == ("process", "restart"), "applications live on"
    final = {ExitCode(int(code)) for code in service["RestartPreventExitStatus"].split()}
    assert {ExitCode.CONFIGURATION, ExitCode.CHILD_FAILED} <= final, "a restart cannot help"
    assert not {ExitCode.DONE, ExitCode.FAILED} & final
