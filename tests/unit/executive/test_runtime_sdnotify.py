"""The service manager hears what it has to, and is never waited for."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from totemd.executive.runtime.sdnotify import ServiceManager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        yield listener


def test_what_is_said(manager: socket.socket) -> None:
    service = ServiceManager({"NOTIFY_SOCKET": manager.getsockname()})
    service.ready("node 1")
    service.reloading()
    service.status("working")
    service.alive()
    service.stopping("asked to")
    service.still_stopping()
    said = [manager.recv(1000).decode() for _ in range(6)]
    assert said[0] == "READY=1\nSTATUS=node 1"
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", said[1])
    assert said[2:] == ["STATUS=working", "WATCHDOG=1", "STOPPING=1\nSTATUS=asked to", "EXTEND_TIMEOUT_USEC=30000000"]
    service.close()
    service.alive()


def test_abstract_addresses() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        name = f"totemd-test-{os.getpid()}"
        listener.bind(f"\0{name}")
        listener.settimeout(5)
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).alive()
        assert listener.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
def test_nobody_listens(address: str) -> None:
    service = ServiceManager({"NOTIFY_SOCKET": address})
    service.ready("x")
    service.close()


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}, 1),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog(variables: dict[str, str], seconds: float | None) -> None:
    assert ServiceManager(variables).watchdog_seconds == seconds
