"""A machine that cannot do it says why, in words."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from totemd.testing import namespaces

RUN = Path(__file__).with_name("run.py")


def test_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "root" in namespaces.obstacle.__wrapped__()


def test_without_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool in ("nft", "ip") else f"/usr/sbin/{tool}")
    assert namespaces.obstacle.__wrapped__() == (
        "network namespaces need ip, nft; Debian: apt-get install iproute2 nftables"
    )


def test_without_the_kernels_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda tool: f"/usr/sbin/{tool}")
    refused = subprocess.CompletedProcess([], 1, "", "Operation not permitted\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: refused)
    assert namespaces.obstacle.__wrapped__().endswith("of the kernel: Operation not permitted")


def test_the_command_refuses_with_a_code_of_its_own() -> None:
    environment = {**os.environ, "PATH": "/nonexistent"}
    done = subprocess.run([sys.executable, str(RUN)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("network namespaces need ")
